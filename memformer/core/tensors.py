"""Tensors that come from elsewhere: what they must be, how they change place, and what a device cannot do."""

from __future__ import annotations

from collections.abc import Callable
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


CPU = torch.device("cpu")

_TOGETHER = 32_000
"""So many matrices at most are factorised by one call on CUDA: of more, some versions of cuSOLVER fail."""


def moved(tensor: Tensor, dtype: torch.dtype | None, device: torch.device | str | None) -> Tensor:
    """A tensor of another type and in another place, cast on the CPU where one of the two is it.

    Metal has no float64, so nothing can be cast to or from it there.

    Example:
        >>> moved(torch.ones(1), torch.float64, "cpu").dtype
        torch.float64
    """
    if device is not None and torch.device(device).type == "cpu":
        return tensor.to(device).to(dtype or tensor.dtype)
    return tensor.to(dtype or tensor.dtype).to(device)


def in_double(tensor: Tensor) -> Tensor:
    """The numbers in float64, on the CPU: what is fitted in closed form is computed there, whatever the device."""
    return moved(tensor, torch.float64, CPU)


def holds_double(device: torch.device) -> bool:
    """Whether a device has float64."""
    return device.type != "mps"


def factorised(function: Callable[..., Any], *matrices: Tensor, **options: Any) -> Any:
    """What a function of `torch.linalg` gives; computed on the CPU and sent back where the device lacks it.

    Args:
        function: of tensors `(..., n, m)`; gives a tensor or a tuple of them.
        matrices: on one device.
        options: of the function.

    Example:
        >>> factorised(torch.linalg.eigvalsh, torch.eye(2)).tolist()
        [1.0, 1.0]
    """
    first = matrices[0]
    if first.device.type == "cpu":
        return function(*matrices, **options)
    if first.is_cuda and first.shape[:-2].numel() > _TOGETHER:
        return _in_parts(function, *matrices, **options)
    try:
        return function(*matrices, **options)
    except NotImplementedError:
        return _each(lambda one: one.to(first.device), function(*(one.cpu() for one in matrices), **options))


def _in_parts(function: Callable[..., Any], *matrices: Tensor, **options: Any) -> Any:
    """The same, so many matrices at a time as one call can take."""
    batch = torch.broadcast_shapes(*(one.shape[:-2] for one in matrices))
    flat = (one.expand(*batch, -1, -1).flatten(0, -3).split(_TOGETHER) for one in matrices)
    found = [function(*part, **options) for part in zip(*flat, strict=True)]
    if isinstance(found[0], Tensor):
        return torch.cat(found).unflatten(0, batch)
    return tuple(torch.cat(one).unflatten(0, batch) for one in zip(*found, strict=True))


def _each(change: Callable[[Tensor], Tensor], found: Any) -> Any:
    return change(found) if isinstance(found, Tensor) else tuple(change(one) for one in found)
