"""Objectives: their derivatives, what a law's mean error is, and solvers against independent computations."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy import integrate, stats
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from baselines.damped_newton import Newton
from baselines.direct import OLS
from baselines.gradient import GradientDescent
from baselines.krylov import ConjugateGradient
from baselines.scipy_solvers import Scipy
from benchmarks.catalogue.registry import SOLVERS
from benchmarks.harness.guard import checked
from benchmarks.tasks.gaussian import Isotropic
from benchmarks.tasks.law import Law, Purpose
from benchmarks.tasks.logistic import LogisticLaw
from benchmarks.tasks.outliers import Outliers
from memformer.core.objective import Huber, LeastSquares, Logistic, Objective
from memformer.core.problem import Problem
from memformer.core.trace import Outcome
from memformer.solvers.generalised import GeneralisedMemformer
from memformer.solvers.readouts import Field
from tests.baselines.helpers import scored, true_weights, weights_of

OBJECTIVES = [LeastSquares(), LeastSquares(ridge=0.3), Logistic(), Logistic(ridge=0.1), Huber(ridge=0.2, threshold=0.7)]
LAW = LogisticLaw(d=4, N=24)

every_objective = pytest.mark.parametrize("objective", OBJECTIVES, ids=repr)


def posed(objective: Objective, law: Law = LAW, count: int = 6) -> Problem:
    return replace(scored(law, count), objective=objective)


def solution(problem: Problem) -> Tensor:
    """Where the gradient is 0."""
    return weights_of(Newton(), problem, 60)[-1]


@every_objective
def test_derivatives_are_those_of_the_value(objective: Objective) -> None:
    problem = posed(objective)
    w, v = torch.randn(2, problem.B, problem.d, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    w.requires_grad_()
    (slope,) = torch.autograd.grad(objective.value(problem, w).sum(), w, create_graph=True)
    torch.testing.assert_close(objective.gradient(problem, w), slope)
    columns = torch.stack([w, 2 * w], -1)
    torch.testing.assert_close(objective.gradients(problem, columns)[..., 0], slope)
    torch.testing.assert_close(objective.gradients(problem, columns)[..., 1], objective.gradient(problem, 2 * w))
    (curved,) = torch.autograd.grad((slope * v).sum(), w)
    torch.testing.assert_close(objective.hessian_product(problem, w, v), curved)
    torch.testing.assert_close((objective.hessian(problem, w) @ v[..., None])[..., 0], curved)


@every_objective
def test_the_spectrum_bounds_every_hessian(objective: Objective) -> None:
    problem = posed(objective)
    mu, L = problem.spectrum
    for size in (0.0, 1.0, 5.0):
        w = size * torch.ones(problem.B, problem.d, dtype=torch.float64)
        values = torch.linalg.eigvalsh(objective.hessian(problem, w))
        assert (values[:, 0] >= mu - 1e-12).all()
        assert (values[:, -1] <= L + 1e-12).all()


@pytest.mark.parametrize("size", [0.0, 0.01, 1.0, 8.0, 300.0])
def test_the_expected_log_loss_is_that_of_quadrature_in_two_dimensions(size: float) -> None:
    S = torch.tensor([[2.0, 0.5], [0.5, 1.0]], dtype=torch.float64)
    w_star, w = torch.tensor([[0.7, -0.4]], dtype=torch.float64), torch.tensor([[1.0, 0.3]], dtype=torch.float64)
    w = size * w
    root = np.linalg.cholesky(S.numpy())
    nodes, weights = np.polynomial.hermite_e.hermegauss(120)
    # Rotated so that u, whose loss has a kink when it is large, lies along one axis and is integrated piecewise.
    one = (root.T @ w[0].numpy()) / max(np.linalg.norm(root.T @ w[0].numpy()), 1e-300)
    one = one if size else np.array([1.0, 0.0])
    basis = np.stack([one, [-one[1], one[0]]])
    u_of, v_of = basis @ root.T @ w[0].numpy(), basis @ root.T @ w_star[0].numpy()

    def inner(z: float) -> float:
        chance = (weights / weights.sum()) @ (1 / (1 + np.exp(-(v_of[0] * z + v_of[1] * nodes))))
        return float(stats.norm.pdf(z) * (np.logaddexp(0, u_of[0] * z) - chance * u_of[0] * z))

    edges = [-9, -1, -0.05, 0, 0.05, 1, 9]
    wanted = sum(integrate.quad(inner, a, b, epsabs=1e-13)[0] for a, b in pairwise(edges))
    logistic = Logistic()
    found = logistic.excess(w, w_star, S) + logistic.irreducible(w_star, S, 0.0)
    assert found.item() == pytest.approx(wanted, abs=1e-9)
    torch.testing.assert_close(logistic.excess(w_star, w_star, S), torch.zeros(1).double(), atol=1e-12, rtol=0)


def test_the_expected_log_loss_is_the_mean_of_log_losses() -> None:
    law = LogisticLaw(d=3, N=6, num_queries=4000)
    problem = law.stream(0, Purpose.SCORE).sample(20)
    assert problem.y_query is not None
    w = problem.w_star * 0.5 + 0.3  # pyright: ignore[reportOperatorIssue, reportOptionalOperand]
    errors = problem.objective.error((problem.x_query @ w[..., None])[..., 0], problem.y_query)
    expected = Logistic().excess(w, problem.w_star, problem.second_moment)  # pyright: ignore[reportArgumentType]
    expected = expected + Logistic().irreducible(problem.w_star, problem.second_moment, 0.0)  # pyright: ignore[reportArgumentType]
    off = (errors.mean(-1) - expected) / (errors.std(-1) / math.sqrt(4000))
    assert off.abs().max() < 4
    assert off.square().mean() < 2


def test_newton_finds_the_weights_of_scikit_learn() -> None:
    problem = scored(LogisticLaw(d=5, N=60, scale=2.0), 8)
    found = solution(problem)
    for X, y, w in zip(problem.X.numpy(), problem.y.numpy(), found.numpy(), strict=True):
        model = LogisticRegression(
            C=1 / (60 * problem.objective.ridge), fit_intercept=False, solver="newton-cholesky", tol=1e-13
        )
        np.testing.assert_allclose(model.fit(X, y).coef_[0], w, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("rule", ["mu_L", "L"])
def test_gradient_descent_keeps_its_rates(rule: str) -> None:
    problem, steps = scored(LAW, 200), 60
    best = solution(problem)
    trace = weights_of(GradientDescent(rule), problem, steps)  # type: ignore[arg-type]
    mu, L = problem.spectrum
    rate = (L - mu) / (L + mu) if rule == "mu_L" else 1 - mu / L
    error = (trace - best).norm(dim=-1)
    k = torch.arange(steps + 1)[:, None]
    assert (error <= error[0] * rate**k * (1 + 1e-9) + 1e-12).all()
    if rule == "L":
        f = problem.objective.value
        excess = torch.stack([f(problem, w) for w in trace]) - f(problem, best)
        assert (excess[1:] <= L * error[0] ** 2 / (2 * k[1:]) * (1 + 1e-9)).all()


@pytest.mark.parametrize("name", ["nesterov", "nesterov_convex", "heavy_ball", "scipy_minimize_lbfgsb", "newton"])
def test_every_method_finds_the_minimum(name: str) -> None:
    problem = scored(LAW, 20)
    found = weights_of(SOLVERS.create(name), problem, 400)[-1]
    torch.testing.assert_close(found, solution(problem), rtol=1e-5, atol=1e-6)


def test_scipys_minimizers_stop_where_they_can_see_no_further() -> None:
    problem = scored(LAW, 12)
    for name in ("scipy_minimize_cg", "scipy_minimize_bfgs", "scipy_minimize_newton_cg"):
        trace = checked(SOLVERS.create(name).solve(problem, 80), problem, 80)
        gives_up = name == "scipy_minimize_newton_cg"  # its line search, at the level of rounding
        assert gives_up or (trace.outcome == int(Outcome.CONVERGED)).all(), name
        torch.testing.assert_close(trace.weights[-1], solution(problem), rtol=1e-5, atol=1e-6)  # type: ignore[index]


def test_separable_classes_without_a_ridge_have_no_minimum_and_newton_goes_on() -> None:
    X = torch.tensor([[[1.0], [2.0], [-1.0]]], dtype=torch.float64)
    problem = Problem(X, (X[..., 0] > 0).double(), X, objective=Logistic())
    trace = Newton().solve(problem, 12)
    assert (trace.weights[1:, 0, 0] > trace.weights[:-1, 0, 0]).all()  # type: ignore[index]


def test_newton_solves_least_squares_in_a_step_and_descends_where_no_hessian_has_an_inverse() -> None:
    problem = scored(Isotropic(d=4, N=12), 10)
    torch.testing.assert_close(weights_of(Newton(), problem, 1)[-1], true_weights(problem))
    for law in (Isotropic(d=4, N=2), Outliers(d=5, N=8), Outliers(d=1, N=1)):
        wide = scored(law, 200)
        trace = Newton().solve(wide, 20)
        assert (trace.outcome < int(Outcome.DIVERGED)).all()
        assert trace.weights is not None
        values = torch.stack([wide.objective.value(wide, w) for w in trace.weights])
        assert (values[1:] <= values[:-1] * (1 + 1e-12) + 1e-15).all()
        assert (values[1] < values[0]).all()


def test_what_serves_least_squares_alone_says_so() -> None:
    problem = posed(Logistic())
    for solver in (ConjugateGradient(), OLS(), Scipy("cg")):
        with pytest.raises(ValueError, match="it does not serve the objective here, logistic"):
            solver.solve(problem, 1)
        assert solver.skip(LAW.stream(0, Purpose.TRAIN)) == (
            True,
            "it does not serve the objective here, logistic",
        )
        with pytest.raises(ValueError, match="the objective here, least squares with a ridge"):
            solver.solve(posed(LeastSquares(ridge=0.1)), 1)
    assert GradientDescent().skip(LAW.stream(0, Purpose.TRAIN)) == (False, "")


def test_labels_of_logistic_regression_are_checked() -> None:
    with pytest.raises(ValueError, match="labels of logistic regression must be from 0 to 1"):
        posed(Logistic(), Isotropic(d=2, N=4))
    with pytest.raises(ValueError, match="ridge is -1"):
        Logistic(ridge=-1)
    with pytest.raises(ValueError, match="threshold is 0"):
        Huber(threshold=0)


def _tokens(layers: torch.nn.Module, problem: Problem) -> Tensor:
    """The equations of `GeneralisedMemformer` as they stand there, token by token: predictors at the queries."""
    x = torch.cat([problem.X, problem.x_query], 1)
    context = torch.arange(x.shape[1]) < problem.N
    y = torch.cat([problem.y, torch.zeros_like(problem.x_query[..., 0])], 1)
    eta, registers, readouts = torch.zeros_like(y), [], []
    for k in range(len(layers.Q)):  # type: ignore[arg-type]
        Q, memory, decay = layers.Q[k], layers.memory[k], layers.decay[k]  # type: ignore[index]
        r = torch.where(context, problem.objective.derivative(eta, y), 0.0)
        value = (x * r[..., None]).sum(1) / problem.N
        full = Q if Q.numel() > 1 else Q * torch.eye(problem.d, dtype=x.dtype)
        registers.append(torch.einsum("bnd,de,be->bn", x, full, value))
        eta = (1 - decay) * eta - sum(g * a for g, a in zip(memory, registers, strict=True))
        readouts.append(eta[:, problem.N :])
    return torch.stack(readouts)


@pytest.mark.parametrize("preconditioner", ["full", "scalar"])
@pytest.mark.parametrize("objective", [Logistic(ridge=0.1), LeastSquares()], ids=["logistic", "least squares"])
def test_the_generalised_memformer_is_its_token_form(objective: Objective, preconditioner) -> None:
    problem = posed(objective)
    torch.manual_seed(0)
    layers = GeneralisedMemformer(preconditioner=preconditioner).build(problem.d, problem.N, 3).double()
    for decay in layers.decay:
        torch.nn.init.normal_(decay, std=0.1)
    weights = layers(Field.of(problem, 1.0)) * Field.of(problem, 1.0).unit
    predictors = torch.einsum("bqd,kbd->kbq", problem.x_query, weights)
    torch.testing.assert_close(predictors, _tokens(layers, problem))


@pytest.mark.parametrize("objective", [Logistic(ridge=0.1), Huber(), LeastSquares()], ids=lambda one: one.name)
def test_a_generalised_memformer_written_down_is_gradient_descent(objective: Objective) -> None:
    problem, step = posed(objective), 0.7
    layers = GeneralisedMemformer(preconditioner="scalar").build(problem.d, problem.N, 4).double()
    with torch.no_grad():
        for k in range(4):
            layers.Q[k].fill_(1.0)  # type: ignore[index]
            layers.memory[k].copy_(torch.tensor([0.0] * k + [step], dtype=torch.float64))  # type: ignore[index]
            layers.decay[k].fill_(step * objective.ridge)  # type: ignore[index]
    field = Field.of(problem, 1.0)
    torch.testing.assert_close(
        layers(field) * field.unit, weights_of(GradientDescent(eta=step), problem, 4)[1:], rtol=1e-10, atol=1e-12
    )


def test_an_entropy_is_positive_at_every_scale() -> None:
    sizes = 10.0 ** torch.arange(-6.0, 7.0, dtype=torch.float64)
    entropies = Logistic().irreducible(sizes[:, None], torch.eye(1, dtype=torch.float64), 0.0)
    assert (entropies > 0).all()
    assert (entropies <= math.log(2) + 1e-12).all()
    # For a wide predictor only labels near the border are in doubt: pi^2 / 3 of its density at 0.
    assert float(entropies[-1] * sizes[-1]) == pytest.approx(math.pi**2 / 3 / math.sqrt(2 * math.pi), rel=1e-4)
