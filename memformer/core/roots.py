"""Symmetric square roots of a second moment: the coordinates in which covariates are white, and back."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from memformer.core.tensors import factorised


class Roots(NamedTuple):
    """`Sigma^{1/2}` and `Sigma^{-1/2}`, `(..., d, d)` each, symmetric."""

    root: Tensor
    inverse_root: Tensor


def symmetric_roots(second_moment: Tensor, least: float = 0.0) -> Roots:
    """The symmetric square root of a second moment, and its inverse.

    Args:
        second_moment: Sigma, `(..., d, d)`, symmetric and positive semidefinite.
        least: eigenvalues below this share of the largest count as this share. With 0 the inverse of a singular Sigma
            is not finite.

    Example:
        >>> root, inverse = symmetric_roots(torch.diag(torch.tensor([4.0, 16.0])))
        >>> root.diagonal().tolist(), inverse.diagonal().tolist()
        ([2.0, 4.0], [0.5, 0.25])
    """
    values, vectors = factorised(torch.linalg.eigh, second_moment)
    values = values.clamp(min=least * values[..., -1:])
    return Roots(*((vectors * power[..., None, :]) @ vectors.mT for power in (values.sqrt(), values.rsqrt())))
