"""What a caller has switched in torch for its own purposes, and what must not hang on it."""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextlib import nullcontext
from typing import ParamSpec, TypeVar

import torch

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


def learns(function: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
    """Let a function take gradients whatever its caller's mode: `no_grad`, `inference_mode`, a default device.

    Example:
        >>> @learns
        ... def slope(x):
        ...     x = torch.tensor(x, requires_grad=True)
        ...     return torch.autograd.grad(x**2, x)[0].item()
        >>> with torch.inference_mode(), torch.device("meta"):
        ...     slope(3.0)
        6.0
    """

    @functools.wraps(function)
    def learning(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
        # A default device is looked up at every call of torch, so none is set where none needs to be.
        usual = torch.get_default_device().type == "cpu"
        with torch.inference_mode(False), torch.enable_grad(), nullcontext() if usual else torch.device("cpu"):
            return function(*args, **kwargs)

    return learning
