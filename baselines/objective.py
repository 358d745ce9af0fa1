"""What fitted methods minimise on training tasks: the expected test loss, or the query loss where that is unknown."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from memformer.core.objective import apply_metric
from memformer.core.problem import Problem, dot, matvec
from memformer.kernels.judge import Judge


class Quadratic(NamedTuple):
    """A task's loss `w^T metric w - 2 w^T target + constant`: `(d, d)` or `(B, d, d)`; `(B, d)`; `(B,)`."""

    metric: Tensor
    target: Tensor
    constant: Tensor


def quadratic_loss(problem: Problem) -> Quadratic:
    """The loss of each task as a quadratic of w.

    `metric = Sigma`, `target = Sigma w_star` where the task has both; else the moments of its query points.

    Raises:
        ValueError: if the problem has neither true weights nor query labels.

    Example:
        >>> import torch
        >>> p = Problem(torch.ones(1, 3, 1), torch.ones(1, 3), 2 * torch.ones(1, 1, 1), torch.ones(1, 1))
        >>> quadratic_loss(p).target.tolist()
        [[2.0]]
    """
    if problem.w_star is not None and problem.second_moment is not None:
        target = apply_metric(problem.second_moment, problem.w_star)
        return Quadratic(problem.second_moment, target, dot(problem.w_star, target).squeeze(-1))
    if problem.y_query is None:
        raise ValueError("these tasks have neither w_star and second_moment nor y_query; nothing can be fitted on them")
    q = problem.x_query.shape[1]
    Xt = problem.x_query.mT
    return Quadratic(Xt @ problem.x_query / q, matvec(Xt, problem.y_query) / q, problem.y_query.square().mean(-1))


def mean_loss(problem: Problem, w: Tensor) -> Tensor:
    """Mean over the tasks of the loss of weights `(..., B, d)`, weighted where tasks have weights; `(...)`."""
    return problem.weighted(excess_loss(problem, w)).mean(-1)


def judge_of(problem: Problem) -> Judge:
    """By what `mean_loss` judges least squares, for a kernel: tasks last, in one group."""
    weights = None if problem.weights is None else problem.weights[None]
    moment = problem.second_moment
    if problem.w_star is not None and moment is not None:
        metric = moment if moment.ndim == 2 else moment.movedim(0, -1)
        return Judge(problem.w_star.mT[None], metric[None], None, None, weights)
    if problem.y_query is None:
        raise ValueError("these tasks have neither w_star and second_moment nor y_query; they have no loss")
    return Judge(None, None, problem.x_query.movedim(0, -1)[None], problem.y_query.mT[None], weights)


def excess_loss(problem: Problem, w: Tensor) -> Tensor:
    """What weights `(..., B, d)` lose: their excess over `w_star`, or the mean error at the queries; `(..., B)`.

    For least squares that is `(w - w_star)^T Sigma (w - w_star)`, or the mean squared error.

    Example:
        >>> import torch
        >>> p = Problem(torch.ones(1, 3, 1), torch.ones(1, 3), 2 * torch.ones(1, 1, 1), torch.ones(1, 1))
        >>> excess_loss(p, torch.zeros(1, 1)).tolist()
        [1.0]
    """
    if problem.w_star is not None and problem.second_moment is not None:
        return problem.objective.excess(w, problem.w_star, problem.second_moment)
    if problem.y_query is None:
        raise ValueError("these tasks have neither w_star and second_moment nor y_query; they have no loss")
    return problem.objective.error(matvec(problem.x_query, w), problem.y_query).mean(-1)
