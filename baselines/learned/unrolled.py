"""An unrolled first-order method: a step size and a momentum learned for each step, and for each coordinate."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from memformer.core.objective import Objective
from memformer.core.problem import SPREAD
from memformer.core.solver import Reach
from memformer.solvers.learned import LearnedSolver, Loss
from memformer.solvers.readouts import Field, Reads
from memformer.training.budget import Budget


@dataclass(frozen=True)
class Unrolled(LearnedSolver):
    """`w_{k+1} = w_k - s_k * grad f(w_k) + m_k * (w_k - w_{k-1})` with `s_k`, `m_k` learned.

    Each number of steps has constants of its own, trained for its last readout: what is best after four steps is not
    best after two.

    Attributes:
        coordinatewise: whether `s_k` and `m_k` are d numbers each, one a coordinate of w, or one each.

    Needs: the law (training tasks of it).
    Cost: one matrix-vector product a step.
    Parameters: `(2 K - 1) d` for K steps, or `2 K - 1`.
    Guarantee: with one number each, never below the LFOM floor on fresh tasks of least squares.
    Source: Gregor & LeCun, Learning fast approximations of sparse coding, ICML 2010; Chen et al., arXiv 2103.12828.
        Theirs learn matrices and a threshold for the lasso. A least-squares problem has no threshold; the gradient is
        that of the task, and momentum is as in Polyak's heavy ball.
    """

    coordinatewise: bool = True
    iterations: int = 1000
    learning_rate: float = 1e-2
    loss: Loss = "last"

    answers: ClassVar[Literal["predictions", "weights"]] = "weights"
    reads: ClassVar[Reads] = "gradients"
    serves: ClassVar[type[Objective]] = Objective
    nested: ClassVar[bool] = True

    @property
    def reach(self) -> Reach:  # pyright: ignore[reportIncompatibleVariableOverride] -- read on instances
        """The class of methods this instance belongs to."""
        return Reach.ANY if self.coordinatewise else Reach.FIXED

    @property
    def any_d(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride] -- read on instances
        """Whether there is one number for all coordinates."""
        return not self.coordinatewise

    @property
    def budget(self) -> Budget:
        """See `LearnedSolver.budget`; tasks are spread, since the coefficients are the same for all."""
        return replace(super().budget, spread=SPREAD)

    def build(self, d: int, N: int, steps: int) -> nn.Module:
        return _Steps(steps, d if self.coordinatewise else 1)


class _Steps(nn.Module):
    def __init__(self, steps: int, size: int) -> None:
        super().__init__()
        self.rates = nn.ParameterList(0.5 + 0.1 * torch.randn(size) for _ in range(steps))
        self.momenta = nn.ParameterList(0.1 * torch.randn(size) for _ in range(steps - 1))

    def forward(self, field: Field) -> Tensor:
        step = self.rates[0] * field.descent
        readouts = [step]
        for rate, momentum in zip(self.rates[1:], self.momenta, strict=True):
            step = momentum * step - rate * field.gradient(readouts[-1])
            readouts.append(readouts[-1] + step)
        return torch.stack(readouts)
