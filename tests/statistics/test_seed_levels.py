"""Seeds and tasks: what two levels of chance do to an interval."""

import numpy as np
import pytest
from scipy import stats

from benchmarks.statistics import summarise, two_level, two_level_interval


def seeds(spread: float, rng: np.random.Generator, count: int = 3, tasks: int = 400) -> list[np.ndarray]:
    return [np.exp(spread * rng.standard_normal()) * rng.exponential(size=tasks) for _ in range(count)]


def test_seeds_that_differ_get_the_student_interval_of_their_means() -> None:
    estimates, errors = np.array([0.1, 0.5, 0.3]), np.full(3, 0.01)
    expected = stats.t.interval(0.95, 2, loc=0.3, scale=stats.sem(estimates))
    assert two_level(estimates, errors).interval() == pytest.approx(expected)
    assert two_level(estimates, errors).p_value() == pytest.approx(stats.ttest_1samp(estimates, 0).pvalue)


def test_a_seed_without_any_loss_leaves_no_interval() -> None:
    found = summarise([np.zeros(50), np.r_[np.zeros(49), 1.0]], "seeds_and_tasks")
    assert found.mean == pytest.approx(0.01)
    assert np.isnan([found.log_low, found.log_high]).all()


def test_seeds_that_agree_get_the_interval_over_tasks() -> None:
    combined = two_level(np.array([0.30, 0.31, 0.30]), np.full(3, 0.1))
    assert combined.interval() == pytest.approx((0.3033 - 0.1132, 0.3033 + 0.1132), abs=1e-3)


@pytest.mark.parametrize("spread", [0.0, 0.05, 0.5])
def test_coverage_over_seeds(spread: float) -> None:
    rng = np.random.default_rng(0)
    covered, alone = 0, 0
    for _ in range(400):
        strata = seeds(spread, rng)
        low, high = two_level_interval(strata)
        covered += low <= 0 <= high
        one = summarise(strata)
        alone += one.log_low <= 0 <= one.log_high
    assert covered / 400 >= 0.91
    if spread == 0.5:
        assert alone / 400 < 0.3, "the interval over tasks alone must be seen to fail here"


def test_summaries_of_learned_solvers_are_wider() -> None:
    strata = seeds(0.5, np.random.default_rng(1))
    tasks, both = summarise(strata), summarise(strata, "seeds_and_tasks")
    assert both.log_mean == tasks.log_mean
    assert both.log_low < tasks.log_low < tasks.log_high < both.log_high
    assert summarise(strata[:1], "seeds_and_tasks") == summarise(strata[:1])
