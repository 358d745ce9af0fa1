"""Weighted statistics: a weight is as good as so many copies, and importance sampling leads back to the law."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.statistics import compare, summarise, thinned
from benchmarks.statistics.weighted import weighted_quantile, weighted_trimmed_mean


def test_whole_weights_are_copies() -> None:
    generator = np.random.default_rng(0)
    values, copies = np.sort(generator.exponential(size=501)), generator.integers(1, 5, 501)
    repeated = np.repeat(values, copies)
    for probability in (0.1, 0.5, 0.9, 0.99):
        expected = np.quantile(repeated, probability, method="inverted_cdf")
        assert weighted_quantile(values, copies.astype(float), probability) == expected
    cut = int(0.1 * len(repeated))
    share = cut / len(repeated)
    found = weighted_trimmed_mean(values, copies.astype(float), share)
    assert found == pytest.approx(repeated[cut : len(repeated) - cut].mean(), rel=1e-12)


def test_a_summary_of_weight_times_loss_is_that_of_the_law() -> None:
    generator, n = np.random.default_rng(1), 200_000
    drawn = generator.exponential(2.0, n)  # twice as wide as the law, whose density relative to it is the weight
    weights = 2 * np.exp(-drawn / 2)
    found = summarise(
        [weights[: n // 2] * drawn[: n // 2], weights[n // 2 :] * drawn[n // 2 :]],
        "tasks",
        [weights[: n // 2], weights[n // 2 :]],
    )
    assert found.log_low < 0 < found.log_high
    assert found.mean == pytest.approx(1.0, abs=0.01)
    assert found.median == pytest.approx(np.log(2), abs=0.01)
    assert found.q90 == pytest.approx(np.log(10), abs=0.03)
    assert found.q99 == pytest.approx(np.log(100), abs=0.1)
    assert found.trimmed_mean == pytest.approx(
        np.mean(np.sort(generator.exponential(size=n))[n // 100 : -n // 100]), abs=0.02
    )


def test_a_task_without_an_answer_leaves_the_mean_undefined_and_counts_as_infinite() -> None:
    losses = np.array([1.0, 2.0, 3.0, np.nan])
    found = summarise([losses], "tasks", [np.ones(4)])
    assert np.isnan(found.mean)
    assert found.median == 2.0
    assert np.isnan(found.q90)


def test_thinning_leaves_a_sample_of_the_law() -> None:
    generator = np.random.default_rng(2)
    drawn = generator.exponential(2.0, 200_000)
    kept = thinned(np.exp(-drawn / 2))
    assert kept.mean() == pytest.approx(0.5, abs=0.01)
    assert np.quantile(drawn[kept], [0.1, 0.5, 0.9]) == pytest.approx(-np.log([0.9, 0.5, 0.1]), rel=0.03)


def test_who_is_better_on_the_typical_task_is_asked_of_the_law() -> None:
    """The first solver is worse where tasks are large, which the law rarely has and the sample often."""
    drawn = np.random.default_rng(3).exponential(2.0, 20_000)
    weights = 2 * np.exp(-drawn / 2)
    a, b = weights * np.where(drawn < 1.2, 1.0, 3.0), weights * 2.0
    outcome = compare([a], [b], "tasks", [weights])
    assert outcome.share_better == pytest.approx(1 - np.exp(-1.2), abs=0.02)
    assert compare([a], [b]).share_better < 0.5
    assert outcome.log_ratio == compare([a], [b]).log_ratio
