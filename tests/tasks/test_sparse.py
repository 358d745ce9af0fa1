"""The sparse law, and the posterior mean that its prior gives, against enumeration."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
import torch
from scipy import stats
from scipy.special import softmax

from baselines.direct import Bayes
from benchmarks.tasks.law import Purpose
from benchmarks.tasks.sparse import Sparse
from tests.tasks.variants import arrays, draw


@pytest.mark.parametrize(("d", "nonzero"), [(1, 1), (5, 1), (6, 6), (20, 3)])
def test_so_many_weights_are_not_zero_and_each_support_is_as_likely(d: int, nonzero: int) -> None:
    w_star = arrays(draw(Sparse(d=d, N=2, nonzero=nonzero), 4000))["w_star"]
    assert set((w_star != 0).sum(1)) == {nonzero}
    counts = (w_star != 0).sum(0)
    assert np.abs(counts - 4000 * nonzero / d).max() <= 5 * (4000 * nonzero / d) ** 0.5
    assert stats.kstest(w_star[w_star != 0], "norm").pvalue > 1e-4


def test_the_posterior_mean_is_that_of_enumeration() -> None:
    law = Sparse(d=5, N=4, nonzero=2, noise_std=0.3)
    problem = draw(law, 20)
    found = Bayes().fit(law.stream(0, Purpose.TRAIN), [1]).solve(problem, 1).weights
    assert found is not None
    X, y, supports = problem.X.numpy(), problem.y.numpy(), list(combinations(range(5), 2))
    for i in range(20):
        densities, means = [], np.zeros((len(supports), 5))
        for row, support in enumerate(supports):
            A = X[i][:, support]
            covariance = A @ A.T + 0.09 * np.eye(4)
            densities.append(stats.multivariate_normal(np.zeros(4), covariance).logpdf(y[i]))
            means[row, list(support)] = A.T @ np.linalg.solve(covariance, y[i])
        np.testing.assert_allclose(found[-1, i].numpy(), softmax(densities) @ means, atol=1e-9)


def test_the_prior_is_stated_where_few_supports_are_and_labels_have_noise() -> None:
    X = torch.zeros(1, 4, 6, dtype=torch.float64)
    assert Sparse(d=6, N=4, noise_std=0.1).prior(X) is not None
    assert Sparse(d=6, N=4).prior(X) is None
    assert Sparse(d=20, N=4, noise_std=0.1).prior(X) is None


def test_more_weights_than_coordinates_are_refused() -> None:
    with pytest.raises(ValueError, match="nonzero is 3; at d = 2 it must be 2 or less"):
        Sparse(d=2)
