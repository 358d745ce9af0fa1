"""Sums that rows share are, digit for digit, those that each would take for itself."""

import numpy as np
import pytest

from benchmarks.statistics import log_ratio, log_ratio_interval, sign_flip_test, summarise, tail_limited
from benchmarks.statistics.intervals import moments
from benchmarks.statistics.sample import Sample

COUNTS = [2, 7, 130, 1009]


def losses(tasks: int, seeds: int, steps: int = 4) -> np.ndarray:
    """Heavy-tailed, `(steps, seeds, tasks)`, of scales that lie far apart."""
    rng = np.random.default_rng(tasks)
    return np.exp(1.5 * rng.standard_normal((steps, seeds, tasks))) * 10.0 ** -rng.integers(0, 9, (steps, seeds, 1))


def alone(strata: list[np.ndarray]) -> list[float]:
    """Mean, variance and third moment by their definitions."""
    count, centred = sum(map(len, strata)), [values - values.mean(axis=0) for values in strata]
    mean = np.sum([values.sum(axis=0) for values in strata], axis=0) / count
    squares = np.sum([np.sum(values * values, axis=0) for values in centred], axis=0)
    cubes = np.sum([np.sum(values * values * values, axis=0) for values in centred], axis=0)
    return [mean, squares / max(count - len(strata), 1), cubes / count]


@pytest.mark.parametrize("tasks", COUNTS)
@pytest.mark.parametrize("seeds", [1, 3, 9])
def test_statistics_of_rows_that_share_sums_are_those_of_each_alone(tasks: int, seeds: int) -> None:
    steps, best = losses(tasks, seeds), losses(tasks + 1, seeds)[0, :, :tasks]
    floors = [Sample([values]) for values in best]
    floor = Sample.joined(floors)
    for all_seeds in steps:
        parts = [Sample([values]) for values in all_seeds]
        rows = [*zip(parts, floors, strict=True), (Sample.joined(parts), floor)]
        for shared, of_floor in rows:
            plain, plain_floor = [values.copy() for values in shared], [values.copy() for values in of_floor]
            assert summarise(shared) == summarise(plain)
            assert [moments(shared).mean, moments(shared).variance, moments(shared).third] == alone(plain)
            assert log_ratio(shared, of_floor) == log_ratio(plain, plain_floor)
            assert log_ratio_interval(shared, of_floor) == log_ratio_interval(plain, plain_floor)
            less = [mine - theirs for mine, theirs in zip(plain, plain_floor, strict=True)]
            assert tail_limited(shared.less(of_floor)) == tail_limited(less)
            assert moments(shared.less(of_floor)).third == moments(less).third
            assert shared.mean == np.concatenate(plain).mean()


def test_moments_of_many_samples_at_once_are_those_of_each() -> None:
    strata = [np.moveaxis(values, -1, 0).copy() for values in losses(130, 2).swapaxes(0, 1)]
    many = moments(strata)
    for index in range(4):
        one = moments([values[:, index] for values in strata])
        np.testing.assert_allclose([many.mean[index], many.third[index]], [one.mean, one.third], rtol=1e-12)


def test_one_loss_that_is_not_finite_is_one_of_all() -> None:
    parts = [Sample([np.ones(3)]), Sample([np.array([1.0, np.nan, 2.0])])]
    assert [part.finite for part in (*parts, Sample.joined(parts))] == [True, False, False]
    assert np.isnan(summarise(Sample.joined(parts)).mean)
    assert summarise(Sample.joined(parts)).median == summarise([part[0] for part in parts]).median


def test_differences_of_one_sign_have_the_least_p_value() -> None:
    assert sign_flip_test(np.array([1.0, 0.0, 2.0])) == sign_flip_test(np.array([-1.0, 0.0, -2.0])) == 0.5
    assert sign_flip_test(np.zeros(3)) == 1.0
