"""Student's intervals hold what they should, as often as they say."""

import numpy as np
from scipy import stats

from benchmarks.statistics import mean_interval_of_few, power_law_interval, student_interval


def test_an_exponent_has_an_interval_that_holds_it() -> None:
    generator, held = np.random.default_rng(0), 0
    x = np.array([1.0, 2.0, 4.0, 8.0, 16.0])
    for _ in range(200):
        slope, low, high = power_law_interval(x, x**2 * np.exp(0.1 * generator.normal(size=5)))
        assert low < slope < high
        held += low < 2 < high
    assert 0.9 < held / 200 < 1


def test_the_interval_of_a_mean_is_that_of_the_t_test() -> None:
    values = np.random.default_rng(3).normal(size=6)
    expected = stats.ttest_1samp(values, 0.0).confidence_interval(0.95)
    np.testing.assert_allclose(mean_interval_of_few(values)[1:], (expected.low, expected.high))


def test_without_limit_on_the_freedom_it_is_gaussian() -> None:
    np.testing.assert_allclose(student_interval(1.0, 2.0, np.inf)[1:], 1 + 2 * stats.norm.ppf([0.025, 0.975]))
