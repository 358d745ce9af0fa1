"""Properties that hold for any tasks: symmetries, scaling, and that steps stay in the Krylov space."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from baselines.accelerated import Chebyshev, HeavyBall, Nesterov
from baselines.direct import OLS
from baselines.gradient import BarzilaiBorwein, GradientDescent, SteepestDescent
from baselines.krylov import CGLS, ConjugateGradient
from memformer.core.problem import Problem
from tests.baselines.helpers import weights_of

KRYLOV = [
    GradientDescent(),
    SteepestDescent(),
    BarzilaiBorwein(),
    BarzilaiBorwein("short"),
    HeavyBall(),
    Nesterov(),
    Nesterov("quadratic"),
    Nesterov("convex"),
    Chebyshev(),
    ConjugateGradient(),
    CGLS(),
]
every_method = pytest.mark.parametrize("solver", [*KRYLOV, OLS()], ids=repr)
few_examples = settings(max_examples=8, deadline=None, derandomize=True)
seeds = st.integers(0, 2**32 - 1)


def draw(seed: int, N: int, d: int, batch: int = 3) -> Problem:
    generator = torch.Generator().manual_seed(seed)
    X = torch.randn(batch, N, d, generator=generator, dtype=torch.float64)
    y = torch.randn(batch, N, generator=generator, dtype=torch.float64)
    return Problem(X, y, X[:, :1])


def relative(found: torch.Tensor, expected: torch.Tensor) -> float:
    return float((found - expected).abs().max() / expected.abs().max())


@every_method
@few_examples
@given(seed=seeds, d=st.integers(2, 5))
def test_rotating_the_covariates_rotates_the_weights(solver, seed, d):
    problem = draw(seed, 3 * d, d)
    Q = torch.linalg.qr(draw(seed + 1, d, d, 1).X[0])[0]
    turned = Problem(problem.X @ Q, problem.y, problem.x_query)
    assert relative(weights_of(solver, turned, 3) @ Q.T, weights_of(solver, problem, 3)) < 1e-8


@every_method
@few_examples
@given(seed=seeds, scale=st.sampled_from([1e-6, 0.1, 7.0, 1e5]))
def test_scaling_the_labels_or_the_covariates_scales_the_weights(solver, seed, scale):
    problem = draw(seed, 9, 3)
    expected = weights_of(solver, problem, 3)
    labels = weights_of(solver, Problem(problem.X, scale * problem.y, problem.x_query), 3)
    covariates = weights_of(solver, Problem(scale * problem.X, problem.y, problem.x_query), 3)
    assert relative(labels / scale, expected) < 1e-8
    assert relative(covariates * scale, expected) < 1e-8


@every_method
@few_examples
@given(seed=seeds)
def test_the_order_of_the_context_does_not_matter(solver, seed):
    problem = draw(seed, 9, 3)
    order = torch.randperm(9, generator=torch.Generator().manual_seed(seed))
    shuffled = Problem(problem.X[:, order], problem.y[:, order], problem.x_query)
    assert relative(weights_of(solver, shuffled, 3), weights_of(solver, problem, 3)) < 1e-8


@pytest.mark.parametrize("solver", KRYLOV, ids=repr)
@few_examples
@given(seed=seeds, N=st.integers(3, 12))
def test_k_steps_stay_in_the_krylov_space(solver, seed, N):
    problem = draw(seed, N, 6)
    H, b = problem.moments
    weights = weights_of(solver, problem, 3)
    V = b[..., None]
    for k in range(1, 4):
        Q = torch.linalg.qr(V)[0]
        outside = weights[k] - (Q @ (Q.mT @ weights[k][..., None]))[..., 0]
        assert outside.norm() < 1e-7 * weights[k].norm()
        V = torch.cat([V, H @ Q[..., -1:]], -1)
