"""Newton's method with a line search: second derivatives of whatever objective a problem has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from baselines.operations import blank, finite_tasks, gradient, zero_start
from memformer.core.iterative import IterativeSolver, State
from memformer.core.ledger import matmul
from memformer.core.objective import Objective
from memformer.core.problem import Problem, dot
from memformer.core.solver import Needs

HALVINGS = 12
"""Of the step, at most: if none of them lowers f, there is no next step."""

DECREASE = 1e-4
"""Share of what the slope promises that a step must keep (Armijo's rule)."""


@dataclass(frozen=True)
class Newton(IterativeSolver):
    """`w_{k+1} = w_k - t H(w_k)^-1 grad f(w_k)`, t the largest of 1, 1/2, 1/4, ... by which f falls enough.

    For logistic regression it is iteratively reweighted least squares. For least squares it solves the normal equations
    in one step, where H has an inverse; where it has none, there is no step.

    Needs: nothing.
    Cost: d + 4 matrix-vector products and a Cholesky factorisation of H a step; least squares keep their H.
    Guarantee: f never rises beyond rounding; for a strongly convex f it converges from anywhere, at last quadratically.
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

    def step(self, problem: Problem, state: State, k: int) -> tuple[State, Tensor]:
        hessian = problem.objective.hessian(problem, state.w)
        finite = finite_tasks(hessian, state.g)
        factor, failed = torch.linalg.cholesky_ex(blank(finite, hessian))
        pivots = factor.diagonal(dim1=-2, dim2=-1).square()
        singular = (failed > 0) | (pivots.amin(-1) <= problem.d * torch.finfo(factor.dtype).eps * pivots.amax(-1))
        identity = torch.eye(problem.d, dtype=factor.dtype, device=factor.device)
        factor = torch.where(singular[:, None, None], identity, factor)
        direction = -torch.cholesky_solve(state.g[..., None], factor)[..., 0]
        size, falls = _searched(problem, state, direction)
        w = state.w + size * direction
        return State(w, gradient(problem, w)), finite & (singular | ~falls)


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
