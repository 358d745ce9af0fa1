"""What a learned module is shown and answers, and what its answers lose: without units, checked, in units again."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from memformer.core.problem import Problem, matvec

Answers = Literal["predictions", "weights"]
Reads = Literal["context", "moments", "gradients"]


class Field(NamedTuple):
    """The gradients of B objectives in coordinates `v = w scale^2 / unit`, in which covariates have no units.

    Attributes:
        problem: the tasks.
        scale: root mean square of the law's covariates.
        unit: `(B, 1)`: the mean magnitude of b for least squares, so that labels have no units either; else `scale`.
        descent: `(B, d)`, minus the gradient at 0.
        H: `(B, d, d)`, the Hessian of least squares; None of another objective.
    """

    problem: Problem
    scale: float
    unit: Tensor
    descent: Tensor
    H: Tensor | None

    @staticmethod
    def of(problem: Problem, scale: float) -> Field:
        """That of a problem."""
        if problem.is_least_squares:
            H, b = problem.moments
            unit = b.abs().mean(-1, keepdim=True)
            return Field(problem, scale, unit, b / torch.where(unit > 0, unit, 1.0), H / scale**2)
        start = problem.X.new_zeros(problem.B, problem.d)
        descent = -problem.objective.gradient(problem, start) / scale
        return Field(problem, scale, torch.full_like(descent[:, :1], scale), descent, None)

    @property
    def ridge(self) -> float:
        """What the objective's `ridge ||w||^2 / 2` adds to its Hessian."""
        return self.problem.objective.ridge / self.scale**2

    def gradient(self, v: Tensor) -> Tensor:
        """At v `(B, d)`."""
        if self.H is not None:
            return matvec(self.H, v) - self.descent
        return self.problem.objective.gradient(self.problem, v / self.scale) / self.scale

    def curved(self, v: Tensor, direction: Tensor) -> Tensor:
        """The Hessian at v times a direction, `(B, d)` each."""
        if self.H is not None:
            return matvec(self.H, direction)
        return self.problem.objective.hessian_product(self.problem, v / self.scale, direction) / self.scale**2


def readouts(module: nn.Module, problem: Problem, steps: int, scale: float, reads: Reads, answers: Answers) -> Tensor:
    """What a module answers, in the units of the problem.

    Args:
        module: of so many steps.
        problem: B tasks.
        steps: of which it may answer all, or the last alone.
        scale: root mean square of the law's covariates.
        reads: what it is shown.
        answers: what it gives.

    Returns:
        `(steps, B, ...)`, or `(B, ...)` of the last step.

    Raises:
        ValueError: if the answer has another shape, dtype or device.
    """
    if reads != "context":
        field = Field.of(problem, scale)
        found = module(field) if reads == "gradients" else module(field.H, field.descent)
        back = field.unit / scale**2
    else:
        unit = problem.y.abs().mean(-1, keepdim=True)
        unit = unit if problem.is_least_squares else torch.ones_like(unit)  # there labels keep their units
        found = module(problem.X / scale, problem.y / torch.where(unit > 0, unit, 1.0), problem.x_query / scale)
        back = unit / scale if answers == "weights" else unit
    last = problem.d if answers == "weights" else problem.x_query.shape[1]
    name, shapes = type(module).__name__, ((steps, problem.B, last), (problem.B, last))
    if not isinstance(found, Tensor) or tuple(found.shape) not in shapes:
        shown = f"shape {tuple(found.shape)}" if isinstance(found, Tensor) else f"a {type(found).__name__}"
        raise ValueError(f"{name} answers with {shown}; it must be {shapes[0]}, or {shapes[1]} of the last step")
    if (found.dtype, found.device) != (problem.dtype, problem.device):
        both = f"{found.dtype} on {found.device}; the tasks are {problem.dtype} on {problem.device}"
        raise ValueError(f"{name} answers in {both} and they must agree")
    return found * back


def mean_losses(found: Tensor, problem: Problem, answers: Answers) -> Tensor:
    """Mean loss of each readout, `(R,)`: expected where weights are answered and tasks tell it, else at their queries.

    Args:
        found: `(R, B, ...)`.
        problem: B tasks.
        answers: what `found` is.

    Raises:
        ValueError: if the tasks tell neither.
    """
    w_star, moment = problem.w_star, problem.second_moment
    if answers == "weights" and w_star is not None and moment is not None:
        errors = problem.objective.excess(found, w_star, moment)
    elif problem.y_query is None:
        raise ValueError("these tasks have neither w_star and second_moment nor y_query; nothing can be fitted")
    else:
        predictions = found if answers == "predictions" else matvec(problem.x_query, found)
        errors = problem.objective.error(predictions, problem.y_query).mean(-1)
    mean = problem.weighted(errors).mean(-1)
    # Below this is rounding, whose logarithm has a slope like any other.
    return mean + torch.finfo(problem.dtype).eps ** 1.5 * problem.y.square().mean()
