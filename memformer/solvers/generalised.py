"""A Memformer for generalised linear models: the label column passes through the link."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from memformer.core.checks import require_choice
from memformer.core.objective import Objective
from memformer.core.problem import matvec
from memformer.ledger import Entry, reports
from memformer.solvers.learned import LearnedSolver, Loss
from memformer.solvers.readouts import Answers, Field, Reads


@dataclass(frozen=True)
class GeneralisedMemformer(LearnedSolver):
    """A linear Transformer with a register a layer, for every objective: P = 0, and two label columns.

    Token i is `(x_i, y_i, eta_i)` with `eta_i = 0` at the start. The label stays; `eta_i` becomes the linear predictor,
    which at a query is the prediction. With s the derivative of the loss in the predictor, `mu(eta) - y` for a
    generalised linear model with mean mu, layer k takes

        r_i = s(eta_i, y_i) at the context, 0 at queries       a pointwise layer that knows the link
        a_i^k = x_i^T Q_k (sum_j x_j r_j) / N                  linear attention, kept in a register
        eta_i <- (1 - c_k) eta_i - sum_{l<=k} Gamma_l^k a_i^l  the layer's own decay and memory weights

    With `eta_i = x_i^T w` that is `w <- (1 - c_k) w - sum_{l<=k} Gamma_l^k Q_l grad l(w_l)`, l the objective without
    its ridge. So `Q = I`, `Gamma` diagonal with entries t and `c = t ridge` are gradient descent with step t; for least
    squares it is the Memformer with first-order memory. A covariate update (P) has no such form: what it changes is
    what the labels were made of.

    Attributes:
        preconditioner: Q_k, `"full"` or a multiple of the identity, `"scalar"`.

    Needs: the law (training tasks of it).
    Cost: a gradient a layer (two matrix-vector products, one for least squares), and one with Q_k if it is full.
    Parameters: `d^2 + k + 1` for layer k, or `k + 2`.
    Source: Dutta & Sra, arXiv 2410.07263, equation 17, for least squares; the rest follows from the gradient.
    """

    preconditioner: Literal["full", "scalar"] = "full"
    iterations: int = 1000
    learning_rate: float = 1e-2
    loss: Loss = "last"

    answers: ClassVar[Answers] = "weights"
    reads: ClassVar[Reads] = "gradients"
    serves: ClassVar[type[Objective]] = Objective
    nested: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        require_choice("preconditioner", self.preconditioner, ("full", "scalar"))

    def build(self, d: int, N: int, steps: int) -> nn.Module:
        return _Layers(steps, d if self.preconditioner == "full" else 1)


class _Layers(nn.Module):
    """Parameters of layer k: `Q` `(d, d)` or `(1, 1)`, `memory` `(k + 1,)`, `decay` `()`."""

    def __init__(self, steps: int, size: int) -> None:
        super().__init__()
        self.Q = nn.ParameterList(torch.eye(size) + 0.05 * torch.randn(size, size) for _ in range(steps))
        self.memory = nn.ParameterList(
            torch.cat([0.05 * torch.randn(k), 0.5 + 0.05 * torch.randn(1)]) for k in range(steps)
        )
        self.decay = nn.ParameterList(torch.zeros(()) for _ in range(steps))

    def forward(self, field: Field) -> Tensor:
        w, registers, readouts = torch.zeros_like(field.descent), [], []
        for k, (Q, memory, decay) in enumerate(zip(self.Q, self.memory, self.decay, strict=True)):
            slope = field.gradient(w) - field.ridge * w if k else -field.descent
            registers.append(Q[0, 0] * slope if Q.numel() == 1 else matvec(Q, slope))
            w = (1 - decay) * w - _combined(memory, registers)
            readouts.append(w)
        return torch.stack(readouts)


@reports(lambda memory, registers: Entry(0))
def _combined(memory: Tensor, registers: list[Tensor]) -> Tensor:
    """`sum_l memory_l registers_l`, `(B, d)`."""
    return torch.tensordot(memory, torch.stack(registers), 1)
