"""Tensors that come from elsewhere: what they must be."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def require_tensor(name: str, value: Any) -> Tensor:
    """`value`, a dense tensor of floating-point numbers, as `ordinary` gives it.

    Example:
        >>> require_tensor("X", torch.tensor([1, 2]))
        Traceback (most recent call last):
        ValueError: X is torch.int64; it must be floating-point, such as torch.float64
    """
    if not isinstance(value, Tensor):
        kind = f"{type(value).__module__}.{type(value).__qualname__}".removeprefix("builtins.")
        raise ValueError(f"{name} is of type {kind}; it must be a torch tensor (torch.as_tensor makes one)")
    if not value.dtype.is_floating_point:
        raise ValueError(f"{name} is {value.dtype}; it must be floating-point, such as torch.float64")
    if value.layout is not torch.strided:
        raise ValueError(f"{name} is {value.layout}; it must be dense (tensor.to_dense() makes it so)")
    return ordinary(value)


def ordinary(tensor: Tensor) -> Tensor:
    """The tensor, or a copy that autograd may keep where it was made under `inference_mode`, which is over now."""
    return tensor.clone() if tensor.is_inference() and not torch.is_inference_mode_enabled() else tensor
