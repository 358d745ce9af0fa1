"""A learned optimiser: an LSTM that looks at one coordinate of the gradient at a time, and says how to step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from baselines.learned.parts import silence
from memformer.core.checks import store_ints
from memformer.core.objective import Objective
from memformer.core.problem import dot
from memformer.ledger import Entry, reports
from memformer.solvers.learned import LearnedSolver
from memformer.solvers.readouts import Field, Reads


@dataclass(frozen=True)
class LstmOptimizer(LearnedSolver):
    """`p_{k+1} = m_k * p_k - (1 + a_k) * alpha_k g_k`, `w_{k+1} = w_k + p_{k+1}`, `alpha_k = g^T g / g^T H g`.

    One LSTM, the same for all coordinates and steps, reads a coordinate of the gradient `g_k` at `w_k` and of the
    Cauchy step `alpha_k g_k`, both divided by the mean magnitude of the gradient, and gives `a_k` and `m_k` for that
    coordinate. With `a = m = 0`, the start of training, it is steepest descent. H is the objective's Hessian at `w_k`.

    Attributes:
        hidden: size of the LSTM's state.

    Needs: the law (training tasks of it).
    Cost: two matrix-vector products with H a step (one in the first). The LSTM's layers are weighted sums of vectors of
        d numbers, `8 h (h + 2)` operations a coordinate for h hidden.
    Parameters: `4 h (h + 4) + 2 (h + 1)`: 1,962 for h = 20, whatever d.
    Source: Andrychowicz et al., Learning to learn by gradient descent by gradient descent, arXiv 1606.04474. Theirs has
        two layers, reads the gradient alone, its logarithm and sign, and gives the step itself.
    """

    hidden: int = 20
    iterations: int = 1500
    batch: int = 128
    learning_rate: float = 1e-2

    answers: ClassVar[Literal["predictions", "weights"]] = "weights"
    reads: ClassVar[Reads] = "gradients"
    serves: ClassVar[type[Objective]] = Objective
    nested: ClassVar[bool] = True
    repeats: ClassVar[bool] = True
    any_d: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        store_ints(self, "hidden", least=1)

    def build(self, d: int, N: int, steps: int) -> nn.Module:
        return _Lstm(self.hidden, steps)


class _Lstm(nn.Module):
    def __init__(self, hidden: int, steps: int) -> None:
        super().__init__()
        self.steps = steps
        self.cell, self.out = nn.LSTMCell(2, hidden), nn.Linear(hidden, 2)
        silence(self.out)

    def forward(self, field: Field) -> Tensor:
        g, state = -field.descent, None
        w = step = torch.zeros_like(g)
        readouts = []
        for k in range(self.steps):
            g = field.gradient(w) if k else g
            curvature = dot(g, field.curved(w, g))
            cauchy = dot(g, g) / torch.where(curvature > 0, curvature, 1.0) * g
            a, momentum, state = self._looked_at(g, cauchy, state)
            step = momentum * step - (1 + a) * cauchy
            w = w + step
            readouts.append(w)
        return torch.stack(readouts)

    @reports(lambda self, g, cauchy, state: Entry(0))
    def _looked_at(
        self, g: Tensor, cauchy: Tensor, state: tuple[Tensor, Tensor] | None
    ) -> tuple[Tensor, Tensor, tuple[Tensor, Tensor]]:
        """`a` and the momentum `(B, d)`, and what the LSTM will remember."""
        size = g.abs().mean(-1, keepdim=True)
        seen = torch.stack([g, cauchy], -1) / torch.where(size > 0, size, 1.0)[..., None]
        hidden, kept = self.cell(seen.flatten(0, 1), state)
        a, momentum = self.out(hidden).view(*g.shape, 2).unbind(-1)
        return a, momentum, (hidden, kept)
