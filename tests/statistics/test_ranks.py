"""Average ranks, Friedman, Nemenyi, and groups of ties."""

import numpy as np
import pytest
from scipy import stats

from benchmarks.statistics import letters, rank_solvers, summarise, tie_groups


def test_ranks_and_friedman_are_those_of_scipy() -> None:
    rng = np.random.default_rng(0)
    losses = rng.normal(size=(5, 40)) + np.arange(5)[:, None] * 0.2
    ranking = rank_solvers(losses)
    assert ranking.friedman_p == pytest.approx(stats.friedmanchisquare(*losses).pvalue)
    losses = losses.round(0)  # with ties
    assert rank_solvers(losses).friedman_p == pytest.approx(stats.friedmanchisquare(*losses).pvalue)
    assert rank_solvers(losses).average.sum() == pytest.approx(15)


def test_the_critical_difference_of_demsar() -> None:
    """Demšar 2006, Table 5 and §3.2.2: q_0.05 = 2.569 for 4 classifiers; CD = 1.25 on 14 data sets."""
    ranking = rank_solvers(np.random.default_rng(1).normal(size=(4, 14)))
    assert ranking.critical_difference == pytest.approx(2.569 * np.sqrt(4 * 5 / (6 * 14)), abs=1e-3)


def test_solvers_that_agree_everywhere_share_a_rank() -> None:
    ranking = rank_solvers(np.ones((3, 10)))
    np.testing.assert_array_equal(ranking.average, [2, 2, 2])
    assert ranking.friedman_p == 1


def test_a_task_without_an_answer_is_the_worst() -> None:
    np.testing.assert_array_equal(rank_solvers(np.array([[np.nan, np.nan], [1.0, 2.0]])).average, [2, 1])


def test_groups_cover_every_tie_and_nothing_else() -> None:
    rng = np.random.default_rng(2)
    for _ in range(20):
        tied = np.triu(rng.random((8, 8)) < 0.5, 1)
        tied = tied | tied.T | np.eye(8, dtype=bool)
        groups = tie_groups(tied)
        joined = np.eye(8, dtype=bool)
        for group in groups:
            joined[np.ix_(group, group)] = True
        np.testing.assert_array_equal(joined, tied)
        assert not any(set(a) < set(b) for a in groups for b in groups)
        marks = letters(groups, 8)
        assert all(bool(set(marks[i]) & set(marks[j])) == tied[i, j] for i in range(8) for j in range(i))


def test_quantiles_count_missing_answers_as_infinite() -> None:
    losses = np.arange(100.0)
    whole = summarise([losses])
    assert (whole.q90, whole.q99) == (90, 99)
    losses[:2] = np.nan
    parted = summarise([losses[:50], losses[50:]])
    assert parted.q90 == 92
    assert np.isnan(parted.q99)
