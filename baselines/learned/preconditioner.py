"""A learned preconditioner for cg: a network reads H and gives a factor of an approximate inverse."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from baselines.learned.parts import Mlp
from baselines.operations import safe_divide
from memformer.core.checks import require_choice, store_ints
from memformer.core.problem import dot, matvec
from memformer.solvers.learned import LearnedSolver


@dataclass(frozen=True)
class LearnedPreconditioner(LearnedSolver):
    """Conjugate gradient preconditioned by `C = L L^T`, L from H by a network of two hidden layers.

    The network reads the entries of `H d / tr H`, those on and below the diagonal. It gives the same entries of L, the
    logarithms of those on the diagonal. At the start of training C is the identity, and the method is cg. It is trained
    through all steps of cg for the loss after them.

    Attributes:
        factor: `"triangular"`, or `"diagonal"`: L has no other entries.
        width: of the hidden layers.

    Needs: the law (training tasks of it).
    Cost: 3 matrix-vector products with the network's layers before the first step; one product with H, one with L and
        one with its transpose a step (with a diagonal L only the first).
    Parameters: `m (n + 1) + m (m + 1) + (m + 1) n` for width m and triangular L, `n = d (d + 1) / 2`.
    Guarantee: exact after d steps, as cg with any positive definite preconditioner.
    Source: Häusner et al., Neural incomplete factorization, arXiv 2305.16368. Theirs is a graph network that reads a
        sparse matrix and is trained for `L L^T` near the matrix; ours reads a small dense one whole, gives a factor of
        its inverse, and is trained for the loss after so many steps.
    """

    factor: Literal["triangular", "diagonal"] = "triangular"
    width: int = 64

    answers: ClassVar[Literal["predictions", "weights"]] = "weights"
    reads: ClassVar[Literal["context", "moments"]] = "moments"

    def __post_init__(self) -> None:
        super().__post_init__()
        require_choice("factor", self.factor, ("triangular", "diagonal"))
        store_ints(self, "width", least=1)

    nested: ClassVar[bool] = True

    def build(self, d: int, N: int, steps: int) -> nn.Module:
        return _PreconditionedCG(self.width, d, steps, self.factor == "diagonal")


class _PreconditionedCG(nn.Module):
    def __init__(self, width: int, d: int, steps: int, diagonal: bool) -> None:
        super().__init__()
        self.d, self.steps, self.diagonal = d, steps, diagonal
        n = d * (d + 1) // 2
        self.network = Mlp(n, width, width, d if diagonal else n)

    def forward(self, H: Tensor, b: Tensor) -> Tensor:
        factor = self._factor(H)
        w, g = torch.zeros_like(b), -b
        z = self._precondition(factor, g)
        p, gz = -z, dot(g, z)
        readouts = []
        for k in range(self.steps):
            Hp = matvec(H, p)
            alpha = safe_divide(gz, dot(p, Hp))
            w, g = w + alpha * p, g + alpha * Hp
            readouts.append(w)
            if k + 1 < self.steps:
                z, before = self._precondition(factor, g), gz
                gz = dot(g, z)
                p = safe_divide(gz, before) * p - z
        return torch.stack(readouts)

    def _factor(self, H: Tensor) -> Tensor:
        """L `(B, d, d)`, or its diagonal `(B, d)`."""
        rows, columns = torch.tril_indices(self.d, self.d, device=H.device)
        mean = H.diagonal(dim1=-2, dim2=-1).mean(-1)
        found = self.network(H[:, rows, columns] / mean[:, None])
        if self.diagonal:
            return found.exp()
        below = H.new_zeros(H.shape).index_put((torch.arange(len(H), device=H.device)[:, None], rows, columns), found)
        return below.tril(-1) + torch.diag_embed(below.diagonal(dim1=-2, dim2=-1).exp())

    def _precondition(self, factor: Tensor, g: Tensor) -> Tensor:
        return factor * factor * g if self.diagonal else matvec(factor, matvec(factor.mT, g))
