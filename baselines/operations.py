"""The few tensor operations that iterative solvers share."""

from __future__ import annotations

import torch
from torch import Tensor

from memformer.core.problem import Problem


def gradient(problem: Problem, w: Tensor) -> Tensor:
    """That of the problem's objective, `(B, d)`; `H w - b` for least squares, one matrix-vector product a task."""
    return problem.objective.gradient(problem, w)


def zero_start(problem: Problem) -> tuple[Tensor, Tensor]:
    """`w_0 = 0` and its gradient, `(B, d)` each; for least squares that is `-b`, and no matrix-vector product."""
    if problem.is_least_squares:
        b = problem.moments.b
        return torch.zeros_like(b), -b
    w = problem.X.new_zeros(problem.B, problem.d)
    return w, gradient(problem, w)


def column(values: Tensor) -> Tensor:
    """One number a task, `(B,)`, as a column `(B, 1)` that scales vectors."""
    return values.unsqueeze(-1)


def safe_divide(numerator: Tensor, denominator: Tensor) -> Tensor:
    """`numerator / denominator`, and 0 where the denominator is exactly 0.

    Example:
        >>> safe_divide(torch.tensor([6.0, 1.0]), torch.tensor([3.0, 0.0])).tolist()
        [2.0, 0.0]
    """
    zero = denominator == 0
    return torch.where(zero, 0.0, numerator / torch.where(zero, 1.0, denominator))


def undefined_where(denominator: Tensor) -> Tensor:
    """Mask `(B,)` of tasks whose column `(B, 1)` is not positive; nan is left for the loop to call nonfinite."""
    return (denominator <= 0).squeeze(-1)


def finite_tasks(*tensors: Tensor) -> Tensor:
    """Mask `(B,)` of tasks all of whose numbers are finite."""
    masks = [tensor.isfinite().flatten(1).all(-1) for tensor in tensors]
    return torch.stack(masks).all(0)


def blank(finite: Tensor, tensor: Tensor) -> Tensor:
    """Zeros for the tasks that are not finite: a factorisation would refuse the whole batch for their sake."""
    return torch.where(finite.view(-1, *[1] * (tensor.ndim - 1)), tensor, 0.0)
