"""A hypernetwork: from the moments of a context to the coefficients of a first-order method for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from baselines.learned.parts import linear, silence
from memformer.core.checks import store_ints
from memformer.core.problem import dot, matvec
from memformer.core.solver import Reach
from memformer.solvers.learned import LearnedSolver


@dataclass(frozen=True)
class Hypernetwork(LearnedSolver):
    """`w_{k+1} = w_k - sum_{i<=k} Gamma_i^k g_i / h` with `h = tr H / d`, and Gamma from the task's own moments.

    A network of two hidden layers reads `log (b^T H^(j+1) b / (h b^T H^j b))` for `j < 2 r`, `log (tr H^2 / (d h^2))`
    and `log h`, and gives the triangular table Gamma. Without moments it would be the LFOM; with as many as cg takes,
    cg's coefficients are a function of them.

    Attributes:
        width: of the hidden layers.
        products: r, with H before the first step.

    Needs: the law (training tasks of it).
    Cost: r matrix-vector products with H and 2 with the network's layers before the first step; at step k = 0, 1, ...
        one with H (none at the first), one with the network's k-th head, and k + 1 scaled vectors.
    Parameters: `m (2 r + 3) + m (m + 1) + (m + 1) K (K + 1) / 2` for width m and K steps.
    Guarantee: iterates are in the Krylov space, so none is below the Krylov oracle.
    Source: Ha et al., HyperNetworks, arXiv 1609.09106, and equation 17 of Dutta & Sra, arXiv 2410.07263. Ours: that
        the network reads the moments from which conjugate gradient could compute its coefficients.
    """

    width: int = 64
    products: int = 3

    answers: ClassVar[Literal["predictions", "weights"]] = "weights"
    reads: ClassVar[Literal["context", "moments"]] = "moments"
    nested: ClassVar[bool] = True
    any_d: ClassVar[bool] = True
    reach: ClassVar[Reach] = Reach.KRYLOV

    def __post_init__(self) -> None:
        super().__post_init__()
        store_ints(self, "width", "products", least=1)

    def build(self, d: int, N: int, steps: int) -> nn.Module:
        return _Hypernetwork(self.width, self.products, steps)


class _Hypernetwork(nn.Module):
    def __init__(self, width: int, products: int, steps: int) -> None:
        super().__init__()
        self.products = products
        self.first, self.second = nn.Linear(2 * products + 2, width), nn.Linear(width, width)
        self.heads = nn.ModuleList(nn.Linear(width, k + 1) for k in range(steps))
        for head in self.heads:
            silence(head)

    def forward(self, H: Tensor, b: Tensor) -> Tensor:
        h = H.diagonal(dim1=-2, dim2=-1).mean(-1, keepdim=True)
        known = linear(self.first, self._moments(H, b, h))
        known = nn.functional.gelu(linear(self.second, nn.functional.gelu(known)))
        w, gradients, readouts = torch.zeros_like(b), [], []
        for k, head in enumerate(self.heads):
            gradients.append(matvec(H, w) - b if k else -b)
            *past, now = linear(head, known).unsqueeze(-1).unbind(1)
            w = w - (0.7 + now) * gradients[k] / h
            for coefficient, gradient in zip(past, gradients, strict=False):
                w = w - coefficient * gradient / h
            readouts.append(w)
        return torch.stack(readouts)

    def _moments(self, H: Tensor, b: Tensor, h: Tensor) -> Tensor:
        """What the network reads, `(B, 2 r + 2)`."""
        norm = torch.linalg.vector_norm(b, dim=-1, keepdim=True)
        krylov = [b / torch.where(norm > 0, norm, 1.0)]
        for _ in range(self.products):
            krylov.append(matvec(H, krylov[-1]) / h)
        pairs = [(krylov[(j + 1) // 2], krylov[j // 2]) for j in range(2 * self.products + 1)]
        moments = torch.cat([dot(*pair) for pair in pairs], -1).clamp(min=1e-6)
        spread = H.square().sum((-2, -1))[:, None] / (b.shape[-1] * h * h)
        return torch.cat([(moments[:, 1:] / moments[:, :-1]).log(), spread.log(), h.log()], -1)
