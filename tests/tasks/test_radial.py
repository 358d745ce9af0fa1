"""Directions and radii of the sphere and Gamma laws."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from benchmarks.tasks.radial import Gamma, Sphere
from tests.tasks.variants import arrays, assert_mean, draw


@pytest.mark.parametrize("d", [1, 2, 5, 30])
def test_sphere_has_radius_one(d: int) -> None:
    a = arrays(draw(Sphere(d=d, N=7, num_queries=3), 200))
    for name in ("X", "x_query"):
        np.testing.assert_allclose(np.linalg.norm(a[name], axis=-1), 1.0, rtol=1e-12)


def test_directions_are_uniform() -> None:
    X = arrays(draw(Sphere(d=3, N=5), 5000))["X"].reshape(-1, 3)
    # Archimedes: each coordinate of a uniform point of the sphere in three dimensions is uniform.
    for coordinate in X.T:
        assert stats.kstest(coordinate, stats.uniform(-1, 2).cdf).pvalue > 1e-4
    assert_mean(X[:, 0] * X[:, 1], 0.0)


def test_squared_radius_is_gamma_distributed() -> None:
    a = arrays(draw(Gamma(d=3, N=5, shape=0.1, scale=10.0), 5000))
    for name in ("X", "x_query"):
        square = (a[name].reshape(-1, 3) ** 2).sum(1)
        assert stats.kstest(square, stats.gamma(0.1, scale=10.0).cdf).pvalue > 1e-4


def test_mean_and_variance_of_the_squared_radius() -> None:
    square = (arrays(draw(Gamma(d=2, N=50), 20_000))["X"] ** 2).sum(2).reshape(-1, 1)
    assert_mean(square, 1.0)
    assert_mean((square - 1.0) ** 2, 10.0)


def test_a_chi_square_radius_makes_the_isotropic_law() -> None:
    X = arrays(draw(Gamma(d=5, N=5, shape=2.5, scale=2.0), 4000))["X"]
    for coordinate in X.reshape(-1, 5).T:
        assert stats.kstest(coordinate, "norm").pvalue > 1e-4
