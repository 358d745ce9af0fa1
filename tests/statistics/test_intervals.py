"""Intervals of the mean: against closed forms, against each other, and their coverage."""

import numpy as np
import pytest
from scipy import stats

from benchmarks.statistics import log_ratio_interval, mean_interval, summarise, tail_limited
from benchmarks.statistics.intervals import SampleMoments, cautious_z, cautious_z_of_one, hall_z, moments
from benchmarks.validation.estimators import METHODS


@pytest.fixture
def skewed() -> np.ndarray:
    return np.random.default_rng(0).lognormal(size=800)


def test_moments_are_those_of_scipy(skewed: np.ndarray) -> None:
    found = moments([skewed])
    assert found.variance == pytest.approx(skewed.var(ddof=1))
    # SciPy's skewness divides by the variance with n, ours with n - 1.
    expected = stats.skew(skewed) * ((800 - 1) / 800) ** 1.5 / 800**0.5
    assert found.skewness == pytest.approx(expected)


def test_differences_between_strata_are_no_spread() -> None:
    values = np.random.default_rng(0).normal(size=100)
    assert moments([values, values + 50]).variance == pytest.approx(moments([values, values]).variance)


@pytest.mark.parametrize("method", METHODS)
def test_intervals_agree_where_the_sample_is_large_and_tame(method: str) -> None:
    values = np.random.default_rng(1).gamma(50.0, size=4000)
    low, high = METHODS[method]([values])
    half = 1.96 * values.std() / 4000**0.5
    assert (values.mean() - low, high - values.mean()) == pytest.approx((half, half), rel=0.12)


@pytest.mark.parametrize("method", METHODS)
def test_intervals_scale_with_the_losses_and_treat_many_samples_as_one_by_one(method: str) -> None:
    samples = np.random.default_rng(2).lognormal(size=(300, 3))
    low, high = METHODS[method]([samples[:100], samples[100:]])
    for column in range(3):
        strata = [1e-9 * samples[:100, column], 1e-9 * samples[100:, column]]
        one = np.array(METHODS[method](strata))
        np.testing.assert_allclose(1e9 * one, [low[column], high[column]], rtol=1e-6)


def test_hall_inverts_its_own_statistic(skewed: np.ndarray) -> None:
    low, high = mean_interval([skewed], "hall")
    assert hall_z(moments([skewed]), low) == pytest.approx(1.96, abs=1e-3)
    assert hall_z(moments([skewed]), high) == pytest.approx(-1.96, abs=1e-3)
    assert high - skewed.mean() > skewed.mean() - low, "a right tail must reach further up than down"


def test_cautious_rejects_only_what_both_reject(skewed: np.ndarray) -> None:
    low, high = mean_interval([skewed], "cautious")
    assert low == min(mean_interval([skewed], name)[0] for name in ("hall", "normal"))
    assert high == max(mean_interval([skewed], name)[1] for name in ("hall", "normal"))
    assert abs(cautious_z(moments([skewed]), high)) == pytest.approx(1.96, abs=1e-3)


def test_the_plain_form_of_the_statistic_is_the_same_one() -> None:
    generator = np.random.default_rng(7)
    samples = [
        (int(n), *row) for n, row in zip(generator.integers(2, 99, 200), generator.normal(size=(200, 3)), strict=True)
    ]
    samples += [(9, 0.0, 0.0, 0.0), (9, -1.0, 0.0, 0.0), (9, 1.0, 1e-150, 0.0)]
    signs = set()
    for count, mean, variance, third in samples:
        expected = float(cautious_z(SampleMoments(count, mean, abs(variance), third)))
        assert cautious_z_of_one(count, mean, abs(variance), third) == pytest.approx(expected, rel=1e-12)
        signs.add(np.sign(expected))
    assert signs == {-1, 0, 1}, "both tails and the case between them must occur"


def test_a_sample_without_spread_is_certain() -> None:
    assert mean_interval([np.full(10, 3.0)]) == (3.0, 3.0)
    assert hall_z(SampleMoments(10, 3.0, 0.0, 0.0), 3.0) == 0
    assert hall_z(SampleMoments(10, 3.0, 0.0, 0.0), 4.0) == -np.inf


def test_the_default_covers_a_heavy_tail_better_than_the_percentiles() -> None:
    """Log-normal losses, n = 300: the percentile interval covers about 89 %, the default 92 %."""
    samples = np.random.default_rng(3).lognormal(sigma=1.5, size=(300, 2000))
    truth = np.exp(1.5**2 / 2)
    covered = {
        name: np.mean((low <= truth) & (truth <= high))
        for name in ("hall", "percentile")
        for low, high in [METHODS[name]([samples])]
    }
    assert covered["hall"] > covered["percentile"] + 0.015
    assert 0.90 <= covered["hall"] <= 0.97


def test_the_default_covers_ordinary_losses() -> None:
    low, high = METHODS["hall"]([np.random.default_rng(4).chisquare(5, size=(400, 4000))])
    assert 0.94 <= np.mean((low <= 5) & (high >= 5)) <= 0.96


def test_losses_at_the_edge_of_floating_point_have_intervals() -> None:
    losses = np.random.default_rng(5).lognormal(size=500)
    tiny, plain = summarise([1e-290 * losses]), summarise([losses])
    assert tiny.log_high - tiny.log_low == pytest.approx(plain.log_high - plain.log_low, rel=1e-9)


def test_a_mean_carried_by_one_task_is_marked() -> None:
    losses = np.random.default_rng(6).exponential(size=4000)
    assert not tail_limited([losses])
    losses[7] = 500.0
    assert tail_limited([losses])


@pytest.mark.parametrize(("count", "least"), [(2, 0.9), (4, 0.93), (10, 0.93)])
def test_few_values_get_students_interval(count: int, least: float) -> None:
    samples = np.random.default_rng(3).normal(1.0, 0.2, size=(2000, count))
    covered = np.mean([low <= 1 <= high for low, high in map(mean_interval, samples[:, None])])
    assert covered >= least


def test_a_task_for_each_seed_leaves_no_interval() -> None:
    few = [np.array([1.0]), np.array([3.0])]
    assert np.isnan(mean_interval(few)).all()
    estimate, low, high = log_ratio_interval(few, [np.array([2.0]), np.array([2.0])])
    assert (estimate, np.isnan(low), np.isnan(high)) == (0.0, True, True)
