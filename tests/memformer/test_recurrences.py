"""Compiled methods against the loop that they stand in for, and eigenvalues against a library's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from torch import Tensor

from baselines.accelerated import Chebyshev, HeavyBall, Nesterov
from baselines.gradient import GradientDescent, StepState
from baselines.krylov import ConjugateGradient
from memformer.core import iterative
from memformer.core.iterative import IterativeSolver
from memformer.core.problem import Problem
from memformer.core.trace import Outcome, Trace
from memformer.kernels.recurrences import MOST_D, compiles, extreme_eigenvalues

METHODS = [
    GradientDescent(),
    GradientDescent("L"),
    GradientDescent(eta=0.3),
    HeavyBall(),
    HeavyBall(eta=0.3, beta=0.4),
    Nesterov(),
    Nesterov("quadratic"),
    Nesterov("convex"),
    Nesterov(eta=0.3, beta=0.4),
    Chebyshev(),
    ConjugateGradient(),
]
SHAPES = [(1, 1, 1), (15, 7, 2), (16, 9, 3), (17, 20, 5), (40, 30, 8), (5, 3, 6)]
"""Tasks, points, dimensions: fewer tasks than lanes, as many, one more; fewer points than dimensions."""


def drawn(B: int, N: int, d: int, dtype: torch.dtype = torch.float64, seed: int = 0) -> Problem:
    generator = torch.Generator().manual_seed(seed)
    X, w, x = (
        torch.randn(*shape, generator=generator, dtype=torch.float64) for shape in ((B, N, d), (B, d), (B, 1, d))
    )
    return Problem(X, (X @ w[..., None])[..., 0], x).to(dtype=dtype)


@contextmanager
def no_compiler() -> Iterator[None]:
    """The loop, with constants from the same eigenvalues: the root of one that is mere rounding is no rounding."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(iterative, "compiles", lambda *_: False)
        yield


def both(solver: IterativeSolver, given: Problem, steps: int) -> tuple[Trace, Trace]:
    with no_compiler():
        loop = solver.solve(given.blinded(), steps)
    return solver.solve(given.blinded(), steps), loop


def of(trace: Trace) -> Tensor:
    assert trace.weights is not None
    return trace.weights


@pytest.mark.parametrize("solver", METHODS, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_iterates_are_those_of_the_loop(solver: IterativeSolver, shape: tuple[int, int, int], dtype: torch.dtype):
    given = drawn(*shape, dtype)
    steps = min(shape[2], 4)
    found, loop = both(solver, given, steps)
    size = of(loop).abs().amax()
    assert (of(found) - of(loop)).abs().max() <= 2000 * torch.finfo(dtype).eps * size
    assert of(found).shape == of(loop).shape


@pytest.mark.parametrize("solver", METHODS, ids=str)
def test_tasks_end_as_they_do_in_the_loop(solver: IterativeSolver):
    """Solved at the start, solved early, broken down, diverging, not finite, in units whose squares vanish."""
    given = drawn(40, 20, 5)
    X, y = given.X.clone(), given.y.clone()
    y[3] = 0
    X[5] = 0
    X[7, 0, 0] = torch.nan
    y[9, 1] = torch.inf
    X[11, :, 1:] = 0
    X[13] *= 50
    y[15] *= 1e-160
    y[17] *= 1e160
    found, loop = both(solver, Problem(X, y, given.x_query), 30)
    named = [3, 5, 7, 9, 11, 13]
    assert torch.equal(found.outcome[named], loop.outcome[named])
    assert (found.outcome == loop.outcome).float().mean() > 0.9, "rounding decides about the last step of a few"
    assert {Outcome.CONVERGED, Outcome.NONFINITE} <= set(found.outcome.tolist())
    assert (found.finished - loop.finished).abs().max() <= 2
    ended = found.outcome != int(Outcome.DIVERGED)
    both_finite = of(found)[:, ended].isfinite() == of(loop)[:, ended].isfinite()
    assert both_finite.float().mean() > 0.995
    last, own = of(found)[-1, ended].nan_to_num(), of(loop)[-1, ended].nan_to_num()
    scale = of(loop)[:, ended].nan_to_num().abs().amax((0, 2))[:, None].clamp(min=1e-300)
    assert ((last - own).abs() / scale).max() < 1e-6


def test_a_task_is_solved_alike_whatever_the_others_are():
    given = drawn(50, 20, 5)
    wild = torch.cat([given.y[:30], given.y[30:] * 1e-200])
    for solver in METHODS:
        alone = of(solver.solve(Problem(given.X[:7], given.y[:7], given.x_query[:7]), 6))
        among = of(solver.solve(Problem(given.X, wild, given.x_query), 6))
        assert torch.equal(alone, among[:, :7]), solver


def test_conjugate_gradient_is_as_accurate_as_the_loop():
    """After d steps what is left is rounding: no more of it than in the loop, over many tasks."""
    generator = torch.Generator().manual_seed(0)
    B, N, d = 4000, 20, 6
    Q = torch.linalg.qr(torch.randn(B, N, d, generator=generator, dtype=torch.float64))[0]
    V = torch.linalg.qr(torch.randn(B, d, d, generator=generator, dtype=torch.float64))[0]
    X = Q * torch.logspace(0, 2, d, dtype=torch.float64).sqrt() @ V.mT * N**0.5
    w = torch.randn(B, d, generator=generator, dtype=torch.float64)
    errors = [
        (of(trace)[-1] - w).norm(dim=1)
        for trace in both(ConjugateGradient(), Problem(X, (X @ w[..., None])[..., 0], X[:, :1]), d)
    ]
    for share in (0.5, 0.9, 0.99):
        assert errors[0].quantile(share) < 1.2 * errors[1].quantile(share)


@pytest.mark.parametrize("d", [1, 2, 3, 5, 20, MOST_D])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_eigenvalues_are_those_of_a_library(d: int, dtype: torch.dtype):
    generator = torch.Generator().manual_seed(d)
    X = torch.randn(37, max(3, d // 2), d, generator=generator, dtype=torch.float64)
    H = (X.mT @ X).to(dtype)
    H[0] = torch.eye(d)
    H[1] = 0
    H[2] *= 1e-30
    H[3] *= 1e30
    H[4] = torch.diag(torch.linspace(0, 1, d))
    H[5] = torch.ones(d, d)
    H[6] -= 3 * torch.eye(d)
    least, most = extreme_eigenvalues(H)
    expected = torch.linalg.eigvalsh(H.double())
    scale = expected.abs().amax(1).clamp(min=1e-300)
    for found, known in ((least, expected[:, 0]), (most, expected[:, -1])):
        assert ((found.double() - known).abs() / scale).max() < 40 * torch.finfo(dtype).eps


@pytest.mark.parametrize("value", [0.5, 1 / 3, 7.0])
def test_eigenvalues_of_a_multiple_of_the_identity_are_exact(value: float):
    for d in (1, 2, 5, 9):
        least, most = extreme_eigenvalues(value * torch.eye(d, dtype=torch.float64).expand(3, d, d))
        assert least.tolist() == most.tolist() == [value] * 3


def test_what_is_not_compiled():
    plain = torch.ones(2, 3, 4)
    assert compiles(plain)
    assert not compiles(plain.half())
    assert not compiles(torch.ones(2, 3, MOST_D + 1))
    assert not compiles(plain, torch.ones(2, 3, requires_grad=True))
    assert not compiles(plain.to("meta"))
    with torch.no_grad():
        assert compiles(plain, torch.ones(2, 3, requires_grad=True))


class Halved(GradientDescent):
    """Takes steps of its own: what is compiled for its base is not for it."""

    def step(self, problem: Problem, state: StepState, k: int) -> tuple[StepState, None]:
        w = state.w - state.eta / 2 * state.g
        return StepState(w, problem.objective.gradient(problem, w), state.eta), None


class Shorter(HeavyBall):
    """Other constants, which what is compiled asks for."""

    def constants(self, mu: Tensor, L: Tensor) -> tuple[Tensor, Tensor]:
        return 1 / (2 * L), 0 * mu


@pytest.mark.parametrize("solver", [Halved(), Shorter()], ids=["a step", "constants"])
def test_what_a_subclass_rewrites_is_what_it_does(solver: IterativeSolver):
    given = drawn(9, 20, 4)
    found, loop = both(solver, given, 3)
    torch.testing.assert_close(of(found), of(loop))
    plain = GradientDescent() if isinstance(solver, Halved) else HeavyBall()
    assert not torch.allclose(of(found), of(plain.solve(given, 3)))


def test_gradients_pass_through_the_loop():
    given = drawn(4, 9, 3)
    X = given.X.clone().requires_grad_()
    weights = of(ConjugateGradient().solve(Problem(X, given.y, given.x_query), 2))
    (gradient,) = torch.autograd.grad(weights[-1].sum(), X)
    assert gradient.isfinite().all()
    assert np.isfinite(float(gradient.abs().sum()))
