"""Newton's method with a line search: second derivatives of whatever objective a problem has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from baselines.operations import blank, finite_tasks, gradient, zero_start
from memformer.core.iterative import IterativeSolver, State
from memformer.core.objective import Objective
from memformer.core.problem import Problem, dot
from memformer.core.solver import Needs
from memformer.core.tensors import factorised
from memformer.ledger import matmul

HALVINGS = 12
"""Of the step, at most: if none of them lowers f enough, a step of gradient descent is taken."""

DECREASE = 1e-4
"""Share of what the slope promises that a step must keep (Armijo's rule)."""


@dataclass(frozen=True)
class Newton(IterativeSolver):
    """`w_{k+1} = w_k - t H(w_k)^-1 grad f(w_k)`, t the largest of 1, 1/2, 1/4, ... by which f falls enough.

    For logistic regression it is iteratively reweighted least squares. For least squares it solves the normal equations
    in one step. Where H has no inverse, or no t is small enough, the step is that of gradient descent, `1/L'` with `L'`
    a bound on the curvature that the trace of `X^T X / N` gives.

    Needs: nothing.
    Cost: d + 5 matrix-vector products and a Cholesky factorisation of H a step; least squares keep their H.
    Guarantee: f never rises beyond rounding. Where f is strongly convex and H continuous it converges from anywhere, at
        last quadratically: with a ridge, least squares and logistic regression, not Huber's loss.
    Source: Boyd & Vandenberghe, Convex Optimization, section 9.5; Armijo 1966.

    Example:
        >>> problem = Problem(torch.eye(2)[None], torch.ones(1, 2), torch.ones(1, 1, 2))
        >>> Newton().solve(problem, 1).weights[-1].tolist()
        [[1.0, 1.0]]
    """

    needs: ClassVar[Needs] = Needs.NOTHING
    serves: ClassVar[type[Objective]] = Objective

    def init(self, problem: Problem) -> State:
        return State(*zero_start(problem))

    def step(self, problem: Problem, state: State, k: int) -> tuple[State, None]:
        hessian = blank(finite_tasks(problem.X, state.w), problem.objective.hessian(problem, state.w))
        factor, failed = factorised(torch.linalg.cholesky_ex, hessian)
        pivots = factor.diagonal(dim1=-2, dim2=-1).square()
        regular = (failed == 0) & (pivots.amin(-1) > problem.d * torch.finfo(factor.dtype).eps * pivots.amax(-1))
        identity = torch.eye(problem.d, dtype=factor.dtype, device=factor.device)
        factor = torch.where(regular[:, None, None], factor, identity)
        direction = -factorised(torch.cholesky_solve, state.g[..., None], factor)[..., 0]
        size, falls = _searched(problem, state, direction)
        bound = problem.objective.curvature[1] * problem.X.square().sum((1, 2)) / problem.N + problem.objective.ridge
        move = torch.where((regular & falls)[:, None], size * direction, -state.g / bound[:, None])
        w = state.w + move
        return State(w, gradient(problem, w)), None


def _searched(problem: Problem, state: State, direction: Tensor) -> tuple[Tensor, Tensor]:
    """The largest step size `(B, 1)` by which f falls enough, and whether there is one, `(B,)`; all tried at once."""
    sizes = 0.5 ** torch.arange(HALVINGS, dtype=direction.dtype, device=direction.device)
    ends = torch.stack([state.w, direction], -1)
    at, along = matmul(problem.X, ends).unbind(-1)
    eta, w = (start[..., None] + sizes * way[..., None] for start, way in ((at, along), ends.unbind(-1)))
    objective, y = problem.objective, problem.y[..., None]
    values, before = objective.loss(eta, y).mean(1), objective.loss(at, problem.y).mean(-1, keepdim=True)
    if objective.ridge:
        values = values + objective.ridge / 2 * w.square().sum(1)
        before = before + objective.ridge / 2 * dot(state.w, state.w)
    # Near the minimum f cannot fall by more than its own rounding.
    slack = 8 * torch.finfo(values.dtype).eps * before.abs()
    enough = values <= before + DECREASE * sizes * dot(state.g, direction) + slack
    return sizes[enough.int().argmax(-1)][:, None], enough.any(-1)
