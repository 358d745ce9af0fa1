"""Means of functions of a Gaussian variable, for logistic regression, by a rule that is good at every scale."""

from __future__ import annotations

import math
from functools import cache

import torch
from torch import Tensor


@cache
def _half_line() -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Nodes z > 0, and weights that hold the density of |Z| for Z ~ N(0, 1): the exp-sinh rule.

    Source: Takahasi & Mori, Publ. RIMS 9 (1974) 721-741.
    """
    step, nodes, weights = 1 / 16, [], []
    for number in range(-56, 20):
        tau = number * step
        z = math.exp(math.pi / 2 * math.sinh(tau))
        nodes.append(z)
        weights.append(step * math.pi / 2 * math.cosh(tau) * z * math.sqrt(2 / math.pi) * math.exp(-z * z / 2))
    return tuple(nodes), tuple(weights)


def _half_normal(sizes: Tensor) -> tuple[Tensor, Tensor]:
    """`size |Z|` at the nodes, `(..., M)`, and the weights `(M,)`."""
    nodes, weights = (torch.tensor(part, dtype=sizes.dtype, device=sizes.device) for part in _half_line())
    return sizes[..., None] * nodes, weights


def mean_softplus(sizes: Tensor) -> Tensor:
    """`E log(1 + e^u)` for `u ~ N(0, size^2)`: `E max(u, 0)`, and what decays on both sides.

    Example:
        >>> round(mean_softplus(torch.tensor(1.0, dtype=torch.float64)).item(), 6)
        0.806059
    """
    at, weights = _half_normal(sizes)
    return sizes / math.sqrt(2 * math.pi) + torch.log1p(torch.exp(-at)) @ weights


def mean_logistic_derivative(sizes: Tensor) -> Tensor:
    """`E s'(v)` for `v ~ N(0, size^2)`, s the logistic function."""
    at, weights = _half_normal(sizes)
    chance = torch.sigmoid(-at)
    return (chance * (1 - chance)) @ weights


def mean_entropy(sizes: Tensor) -> Tensor:
    """`E h(s(v))` for `v ~ N(0, size^2)`, h the entropy of a label that is 1 with that chance, in nats."""
    at, weights = _half_normal(sizes)
    return (torch.log1p(torch.exp(-at)) + at * torch.sigmoid(-at)) @ weights
