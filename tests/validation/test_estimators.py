"""The bootstrap that the calibration study compares with: what is drawn, and that it is shared."""

import numpy as np
import pytest

from benchmarks.validation.estimators import bootstrap_means, two_level_means


def test_resamples_are_shared_so_that_differences_are_paired() -> None:
    losses = np.random.default_rng(2).exponential(size=1000)
    difference = bootstrap_means([losses + 0.5]) - bootstrap_means([losses])
    np.testing.assert_allclose(difference, 0.5, rtol=1e-9)


def test_the_two_level_bootstrap_draws_seeds_then_tasks() -> None:
    rng = np.random.default_rng(2)
    strata = [rng.normal(mean, 1.0, size=200) for mean in (0.0, 10.0)]
    replicates = two_level_means(strata)
    near = [np.mean(np.abs(replicates - centre) < 1) for centre in (0, 5, 10)]
    np.testing.assert_allclose(near, [0.25, 0.5, 0.25], atol=0.06)
    expected = np.var([0, 5, 5, 10]) + 1 / 400
    assert replicates.var() == pytest.approx(expected, rel=0.15)
