"""Tests of a paired difference: exactness against enumeration, size on heavy tails, Holm."""

from itertools import product

import numpy as np
import pytest
from scipy import stats

from benchmarks.statistics import equal_means_bound, equal_means_test, holm, sign_flip_test, wilcoxon_log_test


@pytest.mark.parametrize("seed", range(5))
def test_the_saddlepoint_is_the_permutation_test(seed: int) -> None:
    """All 2^14 sign flips, enumerated."""
    d = np.random.default_rng(seed).normal(0.4, 1, size=14)
    flipped = np.abs(np.array(list(product([1.0, -1.0], repeat=14))) @ d)
    exact = float(np.mean(flipped >= abs(d.sum()) - 1e-12))
    assert sign_flip_test(d) == pytest.approx(exact, rel=0.06)


def test_far_tails_agree_with_the_normal_law_and_do_not_underflow() -> None:
    d = np.random.default_rng(0).normal(0.2, 1, size=4000)
    z = d.sum() / np.sqrt(d @ d)
    assert np.log(sign_flip_test(d)) == pytest.approx(np.log(2 * stats.norm.sf(z)), rel=0.02)
    assert sign_flip_test(np.full(20, 3.0)) == 2.0**-19
    assert 0 < sign_flip_test(np.full(5000, 3.0)) < 1e-300


def test_degenerate_differences() -> None:
    assert sign_flip_test(np.zeros(4)) == 1
    assert sign_flip_test(np.array([1.0, -1.0])) == 1
    assert equal_means_test(np.zeros(4)) == 1


def test_the_size_holds_on_heavy_symmetric_tails() -> None:
    """Student t with 1.5 degrees of freedom has no variance; the sign-flip test does not mind."""
    rng = np.random.default_rng(1)
    rejected = [equal_means_test(rng.standard_t(1.5, size=300)) <= 0.05 for _ in range(800)]
    assert np.mean(rejected) <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 800)


@pytest.mark.parametrize("shift", [0.0, 0.02, 0.05, 0.1, 0.3, 1.0, 1e6])
@pytest.mark.parametrize("freedom", [1.5, 3.0, 30.0])
def test_a_bound_decides_as_the_test_does(shift: float, freedom: float) -> None:
    """Within Holm's correction for up to a million tests: where it is not the p-value, it is on the same side."""
    rng = np.random.default_rng(3)
    for _ in range(20):
        d = rng.standard_t(freedom, size=500) + shift
        p, bound = equal_means_test(d), equal_means_bound(d)
        for level in (0.05, 0.05 / 40, 0.05 / 1e6):
            assert (bound <= level) == (p <= level)
        assert bound == p or bound > 0.05 or bound <= 1e-9
    assert equal_means_bound(np.zeros(4)) == 1
    assert equal_means_bound(np.full(100, 1e-170)) <= 1e-9


def test_wilcoxon_asks_about_the_typical_task() -> None:
    """A solver that is a little better on most tasks and ruins a few: typical better, mean worse."""
    rng = np.random.default_rng(2)
    b = rng.exponential(size=3000)
    a = np.where(rng.random(3000) < 0.02, 30 * b, 0.95 * b)
    assert wilcoxon_log_test(a, b) < 1e-6
    assert a.mean() > b.mean()
    assert equal_means_test(a - b) < 0.05


def test_holm_against_its_definition() -> None:
    p = np.random.default_rng(3).uniform(size=12) ** 4
    order = np.argsort(p)
    running, expected = 0.0, np.empty(12)
    for rank, index in enumerate(order):
        running = max(running, (12 - rank) * p[index])
        expected[index] = min(running, 1.0)
    np.testing.assert_allclose(holm(p), expected)
    assert (holm(p) >= p).all()


def test_holm_leaves_out_what_was_not_tested() -> None:
    np.testing.assert_allclose(holm([0.02, np.nan, 0.01]), [0.02, np.nan, 0.02])


def test_holm_keeps_the_family_wise_error() -> None:
    rng = np.random.default_rng(4)
    any_rejected = [(holm(rng.uniform(size=45)) <= 0.05).any() for _ in range(1000)]
    assert np.mean(any_rejected) <= 0.065
