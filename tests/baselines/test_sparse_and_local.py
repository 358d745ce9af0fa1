"""Lasso against its optimality conditions and scikit-learn's estimator; nearest neighbours against scikit-learn's."""

from __future__ import annotations

import numpy as np
import pytest

from baselines.lasso import Lasso
from baselines.neighbours import NearestNeighbours
from benchmarks.tasks.gaussian import Isotropic
from benchmarks.tasks.sparse import Sparse
from tests.tasks.variants import draw

linear_model = pytest.importorskip("sklearn.linear_model")
neighbors = pytest.importorskip("sklearn.neighbors")


@pytest.mark.parametrize("N", [6, 30])
def test_lasso_meets_its_optimality_conditions(N: int) -> None:
    problem = draw(Sparse(d=10, N=N, noise_std=0.1), 30)
    weights = Lasso(penalty=0.05).solve(problem, 1).weights
    assert weights is not None
    w, X, y = weights[-1].numpy(), problem.X.numpy(), problem.y.numpy()
    slope = np.einsum("bnd,bn->bd", X, y - np.einsum("bnd,bd->bn", X, w)) / N
    np.testing.assert_allclose(slope[w != 0], 0.05 * np.sign(w[w != 0]), atol=1e-3)
    assert np.abs(slope).max() <= 0.05 + 1e-3
    one = linear_model.Lasso(alpha=0.05, fit_intercept=False, tol=1e-10, max_iter=100_000).fit(X[0], y[0])
    np.testing.assert_allclose(w[0], one.coef_, atol=1e-3)


def test_nearest_neighbours_are_those_of_scikit_learn() -> None:
    problem = draw(Isotropic(d=3, N=12, num_queries=4), 20)
    found = NearestNeighbours().solve(problem, 2).predictions
    assert found is not None
    assert found.shape == (3, 20, 4)
    for i in range(20):
        theirs = neighbors.KNeighborsRegressor(3).fit(problem.X[i], problem.y[i]).predict(problem.x_query[i])
        np.testing.assert_allclose(found[-1, i].numpy(), theirs, rtol=1e-12)


def test_a_context_with_fewer_points_is_averaged() -> None:
    problem = draw(Isotropic(d=3, N=2), 5)
    found = NearestNeighbours(k=3).solve(problem, 1).predictions
    assert found is not None
    np.testing.assert_allclose(found[-1, :, 0].numpy(), problem.y.mean(1).numpy(), rtol=1e-12)
