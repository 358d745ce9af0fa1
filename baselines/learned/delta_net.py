"""A DeltaNet: layers of linear attention that write by the delta rule, with a learned strength for each token."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from baselines.learned.parts import Mlp
from memformer.core.checks import store_ints
from memformer.core.problem import dot
from memformer.ledger import Entry, reports
from memformer.solvers.learned import LearnedSolver


@dataclass(frozen=True)
class DeltaNet(LearnedSolver):
    """`w <- w + beta_i (y_i - x_i^T w) x_i / |x_i|^2` over the tokens `i = 1, ..., N` of a context, once a layer.

    The state of a layer is the w that the layer before left. Each layer has a network with a hidden layer that reads
    `|x_i|^2 / d`, `|y_i|` and the place `i / N`, and gives `beta_i` in (0, 2). With `beta = 1`, the start of training,
    a layer is a sweep of Kaczmarz's method.

    Attributes:
        width: of the hidden layers.

    Needs: the law (training tasks of it).
    Cost: as much as one product with X and one with its transpose a step, of N updates one after another; and 2 N
        products with the network's layers.
    Parameters: `K (5 m + 1)` for width m and K layers.
    Guarantee: with `beta = 1` and no noise the mean of `|w - w_star|^2` over isotropic covariates falls by the factor
        `1 - 1/d` with each token.
    Source: Schlag et al., arXiv 2102.11174; Yang et al., Parallelizing linear transformers with the delta rule, arXiv
        2406.06484. Theirs learns keys, values and strengths as linear functions of hidden tokens; ours takes the
        covariates as keys and the labels as values, and hands the state from layer to layer.
    """

    width: int = 16
    iterations: int = 1000

    answers: ClassVar[Literal["predictions", "weights"]] = "weights"
    nested: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        store_ints(self, "width", least=1)

    def build(self, d: int, N: int, steps: int) -> nn.Module:
        return _DeltaNet(self.width, steps)


class _DeltaNet(nn.Module):
    def __init__(self, width: int, steps: int) -> None:
        super().__init__()
        self.strengths = nn.ModuleList(Mlp(3, width, 1) for _ in range(steps))

    def forward(self, X: Tensor, y: Tensor, x_query: Tensor) -> Tensor:
        B, N, d = X.shape
        size = dot(X, X)
        keys = X / torch.where(size > 0, size, 1.0)
        place = torch.arange(1, N + 1, device=X.device, dtype=X.dtype).expand(B, N) / N
        tokens = torch.stack([size[..., 0] / d, y.abs(), place], -1)
        w, readouts = torch.zeros_like(X[:, 0]), []
        for strength in self.strengths:
            w = _written(w, X, y, keys * 2 * strength(tokens).sigmoid())
            readouts.append(w)
        return torch.stack(readouts)


@reports(lambda w, X, y, steps: Entry(2 * len(X)))
def _written(w: Tensor, X: Tensor, y: Tensor, steps: Tensor) -> Tensor:
    """The state `(B, d)` after the delta rule for each token, given what a unit of error adds to it, `(B, N, d)`."""
    for x, label, step in zip(X.unbind(1), y.unbind(1), steps.unbind(1), strict=True):
        w = w + (label[:, None] - dot(x, w)) * step
    return w
