"""Direct solvers: least squares, ridge, and the posterior mean."""

from __future__ import annotations

import pytest
import torch

from baselines.direct import OLS, Bayes, Ridge, least_squares, posterior_mean
from benchmarks.tasks.gaussian import Isotropic
from benchmarks.tasks.law import Purpose
from memformer.core.objective import LEAST_SQUARES
from memformer.core.problem import Prior, Problem
from tests.baselines.helpers import scored, training, weights_of


def test_ols_is_accurate_where_the_normal_equations_are_not():
    generator = torch.Generator().manual_seed(0)
    scales = torch.tensor([1.0, 1e-3, 1e-7], dtype=torch.float64)
    X = torch.randn(4, 10, 3, generator=generator, dtype=torch.float64) * scales
    w_star = torch.ones(4, 3, dtype=torch.float64)
    solved = weights_of(OLS(), Problem(X, (X @ w_star[..., None])[..., 0], X[:, :1]), 1)[-1]
    torch.testing.assert_close(solved, w_star, rtol=1e-7, atol=0)


@pytest.mark.parametrize("shape", [(6, 3), (2, 5), (4, 4)])
def test_least_squares_has_least_norm_also_for_deficient_tasks(shape):
    generator = torch.Generator().manual_seed(0)
    X = torch.randn(5, *shape, generator=generator, dtype=torch.float64)
    X[1, :, 0] = X[1, :, 1]
    X[2] = 0
    X[3, 0] = X[3, 1]
    y = torch.randn(5, shape[0], generator=generator, dtype=torch.float64)
    expected = (torch.linalg.pinv(X) @ y[..., None])[..., 0]
    torch.testing.assert_close(least_squares(X, y), expected, rtol=1e-8, atol=1e-10)


def test_ridge_by_cholesky_is_ridge_where_the_matrix_is_definite():
    law = Isotropic(d=4, N=6, noise_std=0.5)
    stream, problem = law.stream(0, Purpose.TRAIN), law.stream(0, Purpose.SCORE).sample(20)
    by_qr, by_cholesky = (Ridge(method=method).fit(stream, [1]) for method in ("qr", "cholesky"))
    torch.testing.assert_close(weights_of(by_cholesky, problem, 1), weights_of(by_qr, problem, 1))
    few = Problem(problem.X[:, :2], problem.y[:, :2], problem.x_query)
    unpenalised = (Ridge({"penalty": torch.tensor(0.0)}, method=method) for method in ("qr", "cholesky"))
    by_qr, by_cholesky = (weights_of(solver, few, 1) for solver in unpenalised)
    torch.testing.assert_close(by_cholesky, by_qr)  # two rows do not determine four weights
    with pytest.raises(ValueError, match="method is 'lu'; it must be 'qr' or 'cholesky'"):
        Ridge(method="lu")


def test_ridge_is_the_posterior_mean_of_the_isotropic_law():
    law = Isotropic(d=4, N=6, noise_std=0.7)
    given = scored(law, 5)
    gram = given.X.mT @ given.X + 0.49 * torch.eye(4, dtype=torch.float64)
    expected = torch.linalg.solve(gram, given.X.mT @ given.y[..., None])[..., 0]
    for solver in (Ridge(), Bayes()):
        fitted = solver.fit(training(law), [1])
        torch.testing.assert_close(weights_of(fitted, given, 1)[-1], expected, rtol=1e-10, atol=1e-12)


def test_bayes_without_noise_and_with_few_examples_conditions_the_gaussian():
    law = Isotropic(d=5, N=2)
    given = scored(law, 4)
    expected = (torch.linalg.pinv(given.X) @ given.y[..., None])[..., 0]
    torch.testing.assert_close(weights_of(Bayes().fit(training(law), [1]), given, 1)[-1], expected)


@pytest.mark.parametrize("noise_var", [0.0, 0.3])
def test_bayes_mixture_agrees_with_importance_sampling_in_closed_form(noise_var):
    # d = 2, N = 1: the posterior mean computed from joint Gaussians of (w, y), component by component.
    X = torch.tensor([[[0.8, -0.5]]], dtype=torch.float64)
    y = torch.tensor([[0.9]], dtype=torch.float64)
    mean = torch.tensor([[1.0, 0.5], [-1.0, 2.0]], dtype=torch.float64)
    covariance = torch.tensor([[[1.0, 0.3], [0.3, 0.5]], [[0.2, 0.0], [0.0, 2.0]]], dtype=torch.float64)
    prior = Prior(mean, covariance, torch.tensor([0.3, 0.7], dtype=torch.float64).log())
    x = X[0, 0]
    weights, means = [], []
    for c in range(2):
        variance = x @ covariance[c] @ x + noise_var
        gap = y[0, 0] - x @ mean[c]
        means.append(mean[c] + covariance[c] @ x * gap / variance)
        weights.append([0.3, 0.7][c] * torch.exp(-(gap**2) / variance / 2) / variance.sqrt())
    expected = sum(w * m for w, m in zip(weights, means, strict=True)) / sum(weights)
    torch.testing.assert_close(posterior_mean(X, y, prior, noise_var)[0], expected)


def test_bayes_refuses_a_law_without_a_prior():
    class Silent:
        d, N, noise_var, objective = 3, 2, 0.0, LEAST_SQUARES

        def sample(self, batch):
            return scored(Isotropic(d=3, N=2), batch)

        def prior(self, X):
            return None

    with pytest.raises(ValueError, match="prior"):
        Bayes().fit(Silent(), [1])  # type: ignore[arg-type]
