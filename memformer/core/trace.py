"""What a solver leaves: its iterates or predictions after every step, and how each task ended."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from memformer.core.problem import matvec

DIVERGENCE_FACTOR = 1e8
"""A task has diverged once its gradient norm exceeds this multiple of the norm at the start."""


class Outcome(enum.IntEnum):
    """How a task ended. `int8` codes in `Trace.outcome`; `sentence` says it to people."""

    sentence: str

    def __new__(cls, code: int, sentence: str) -> Self:
        member = int.__new__(cls, code)
        member._value_, member.sentence = code, sentence
        return member

    MAX_STEPS = 0, "took all the steps it was given"
    CONVERGED = 1, "the gradient norm fell below its tolerance"
    DIVERGED = 2, f"the gradient norm grew {DIVERGENCE_FACTOR:.0e}-fold"
    BREAKDOWN = 3, "there is no next step (a division by zero, a search that gives up)"
    NONFINITE = 4, "an input or an iterate is nan or infinite"


@dataclass(frozen=True, eq=False)
class Trace:
    """What a solver leaves: its iterates (or predictions), and how each task ended.

    Attributes:
        weights: `(num_steps + 1, B, d)`, `w` after 0, 1, ..., num_steps steps; a task that has finished
            repeats its last iterate, a nonfinite one is nan. None for a solver without weights.
        predictions: `(num_steps + 1, B, q)` labels predicted at the queries; None if `weights` tell them.
        outcome: `(B,)` int8, an `Outcome` each.
        finished: `(B,)` int64, the step after which that outcome was reached (num_steps for MAX_STEPS).
    """

    weights: Tensor | None
    predictions: Tensor | None
    outcome: Tensor
    finished: Tensor

    def predict(self, x_query: Tensor) -> Tensor:
        """Predicted labels at `x_query` `(B, q, d)` after each number of steps: `(num_steps + 1, B, q)`."""
        if self.predictions is not None:
            return self.predictions
        if self.weights is None:
            raise ValueError("a trace must hold weights or predictions")
        return matvec(x_query, self.weights)

    def outcome_at(self, step: int) -> Tensor:
        """Outcome of each task had it been stopped after `step` steps, `(B,)` int8."""
        return torch.where(self.finished <= step, self.outcome, int(Outcome.MAX_STEPS))

    @staticmethod
    def of_weights(weights: Tensor) -> Trace:
        """Trace of iterates `(num_steps + 1, B, d)` that were all computed; nonfinite tasks are found and marked."""
        return Trace(weights, None, *_finite_outcome(weights))

    @staticmethod
    def of_predictions(predictions: Tensor) -> Trace:
        """Trace of predictions `(num_steps + 1, B, q)` of a solver that has no weights."""
        return Trace(None, predictions, *_finite_outcome(predictions))

    @staticmethod
    def direct(solution: Tensor, num_steps: int) -> Trace:
        """Trace of a direct solver: zero before its one step, `solution` `(B, d)` after it."""
        weights = torch.stack([torch.zeros_like(solution)] + [solution] * num_steps)
        trace = Trace.of_weights(weights)
        if num_steps == 0:
            return trace
        solved = trace.outcome == int(Outcome.MAX_STEPS)
        outcome = torch.where(solved, int(Outcome.CONVERGED), trace.outcome)
        return Trace(weights, None, outcome, torch.where(solved, 1, trace.finished))


def _finite_outcome(values: Tensor) -> tuple[Tensor, Tensor]:
    """Outcome and step at which it was reached, from `(num_steps + 1, B, ...)` values."""
    finite = values.isfinite().flatten(2).all(-1)
    steps_finite = finite.int().cumprod(0).sum(0)
    nonfinite = steps_finite < len(values)
    outcome = torch.where(nonfinite, int(Outcome.NONFINITE), int(Outcome.MAX_STEPS)).to(torch.int8)
    return outcome, torch.where(nonfinite, steps_finite, len(values) - 1)
