"""The paper's constructive proofs, step by step against independent implementations."""

from __future__ import annotations

import pytest
import torch

from baselines.accelerated import Chebyshev, HeavyBall, Nesterov
from baselines.gradient import GradientDescent
from baselines.krylov import ConjugateGradient
from memformer.core.problem import Problem, matvec
from memformer.model import construct
from memformer.model.forward import Form, forward, forward_paired
from tests.memformer.helpers import assert_close, random_problem

DEPTH = 8
FORMS: list[Form] = ["definition", "associative", "reduced"]


def double(number: float) -> torch.Tensor:
    return torch.tensor([number], dtype=torch.float64)


def own_task(construction: construct.Construction, problem: Problem, form: Form = "reduced") -> torch.Tensor:
    """Weights `(depth + 1, B, d)` of model s on task s."""
    weights = forward(construction.config, construction.parameters, problem, form).weights
    assert weights is not None
    own = torch.diagonal(weights, dim1=1, dim2=2).mT
    assert_close(forward_paired(*construction, problem).weights, own)
    return own


@pytest.fixture
def problem():
    return random_problem(B=5, N=20, d=4)


@pytest.mark.parametrize("form", FORMS)
def test_gradient_descent(problem, form):
    mu, L = problem.spectrum
    found = construct.gradient_descent(2 / (mu + L), DEPTH, problem.d)
    expected = GradientDescent().solve(problem, DEPTH).weights
    assert_close(own_task(found, problem, form), expected)


@pytest.mark.parametrize("form", FORMS)
def test_heavy_ball(problem, form):
    mu, L = problem.spectrum
    eta = 4 / (L.sqrt() + mu.sqrt()) ** 2
    beta = ((L.sqrt() - mu.sqrt()) / (L.sqrt() + mu.sqrt())) ** 2
    expected = HeavyBall().solve(problem, DEPTH).weights
    found = construct.heavy_ball(eta, beta, DEPTH, problem.d, first_eta=2 / (L + mu))
    assert_close(own_task(found, problem, form), expected)


@pytest.mark.parametrize("form", FORMS)
def test_heavy_ball_is_first_order_memory_too(problem, form):
    eta, beta = 0.3, 0.4
    table = construct.momentum_table(double(eta), double(beta), DEPTH)
    found = construct.first_order_method(table, problem.d)
    weights = forward(*found, problem, form).weights
    expected = HeavyBall(eta=eta, beta=beta).solve(problem, DEPTH).weights
    assert weights is not None
    assert_close(weights[:, 0], expected)


@pytest.mark.parametrize("form", FORMS)
def test_chebyshev(problem, form):
    found = construct.chebyshev(problem.spectrum.mu, problem.spectrum.L, DEPTH, problem.d)
    expected = Chebyshev().solve(problem, DEPTH).weights
    assert_close(own_task(found, problem, form), expected)


@pytest.mark.parametrize("depth", [1, 2, 3, DEPTH])
def test_nesterov_of_every_depth(problem, depth):
    mu, L = problem.spectrum
    beta = (L.sqrt() - mu.sqrt()) / (L.sqrt() + mu.sqrt())
    found = construct.nesterov(1 / L, beta, depth, problem.d)
    expected = Nesterov().solve(problem, depth).weights
    assert expected is not None
    assert_close(own_task(found, problem)[-1], expected[-1])


def test_nesterov_states_are_the_extrapolated_points(problem):
    H, b = problem.moments
    eta, beta = double(0.2), double(0.6)
    w = v = torch.zeros_like(b)
    points = [v]
    for _ in range(DEPTH - 1):
        new = v - eta * (matvec(H, v) - b)
        v = new + beta * (new - w)
        w = new
        points.append(v)
    weights = forward(*construct.nesterov(eta, beta, DEPTH, problem.d), problem).weights
    assert weights is not None
    assert_close(weights[:-1, 0], torch.stack(points))


@pytest.mark.parametrize("form", FORMS)
def test_conjugate_gradient(problem, form):
    found = construct.conjugate_gradient(problem, problem.d)
    expected = ConjugateGradient().solve(problem, problem.d).weights
    assert_close(own_task(found, problem, form), expected)
    exact = torch.linalg.solve(*problem.moments)
    assert_close(own_task(found, problem, form)[-1], exact)


def test_conjugate_gradient_with_a_preconditioner_is_that_of_other_coordinates(problem):
    A = torch.randn(4, 4, generator=torch.Generator().manual_seed(3)).double()
    other = Problem(problem.X @ A, problem.y, problem.x_query @ A)
    found = construct.conjugate_gradient(problem, 3, preconditioner=A @ A.T)
    plain = ConjugateGradient().solve(other, 3).weights
    assert plain is not None
    assert_close(own_task(found, problem), matvec(A, plain), atol=1e-9)


def test_conjugate_gradient_stays_where_a_task_is_solved():
    problem = Problem(torch.eye(3).double()[None], torch.ones(1, 3).double(), torch.ones(1, 1, 3).double())
    weights = own_task(construct.conjugate_gradient(problem, 4), problem)
    assert_close(weights[1:], torch.ones(4, 1, 3).double())
