"""The loss of a linear first-order method after its last step, with the gradient of its coefficients, in one pass.

What training asks for again and again. On a CPU a compiled function goes forth and back through a block of tasks while
it is in the cache (`memformer.kernels.first_order_numba`). Elsewhere, and where work is counted, losses are those of
the iterates of `memformer.kernels.first_order`.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from memformer.kernels.compiled import array, chunks, compiles, in_threads
from memformer.kernels.first_order import coefficient_gradient
from memformer.kernels.judge import Judge
from memformer.ledger import is_counting

_KERNEL_D = {False: 64, True: 32}
"""Beyond so many dimensions a library's products of matrices are as fast, for scalar coefficients and for matrices."""


def serves(C: Tensor) -> bool:
    """Whether the compiled function is there for these coefficients, `(S, K, K)` or `(S, K, d, K d)`."""
    d = C.shape[2] if C.ndim == 4 else 1
    return d <= _KERNEL_D[C.ndim == 4] and compiles(C) and not is_counting()


def first_order_loss(C: Tensor, H: Tensor, b: Tensor, judge: Judge, window: int | None = None) -> Tensor:
    """Mean loss of each of S models on its group's tasks, `(S,)`; differentiable in `C`.

    Args:
        C: as `memformer.kernels.first_order.first_order_iterates` takes it.
        H: likewise.
        b: likewise.
        judge: of the last iterate.
        window: as there.

    Example:
        >>> one = torch.ones(1, 1, 1)
        >>> first_order_loss(-one / 2, one[None], one, Judge(one, one, None, None, None)).item()
        0.25
    """
    return _Loss.apply(C, H, b, judge, window)  # pyright: ignore[reportReturnType]


@cache
def prepare(dtype: torch.dtype, device: torch.device) -> None:
    """Compile the function, or load what this machine compiled before; otherwise the first use does."""
    one = torch.ones(1, 1, 1, dtype=dtype, device=device)
    if serves(one):
        first_order_loss(one, one[None], one, Judge(one, one, None, None, None))


class _Loss(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, C: Tensor, H: Tensor, b: Tensor, judge: Judge, window: int | None) -> Tensor:
        from memformer.kernels.first_order_numba import (
            ADJOINTS,  # only where it is needed, since numba is slow to import
        )

        (S, K), (d, n) = C.shape[:2], b.shape[1:]
        left = (S, K, d, n if ctx.needs_input_grad[0] else 0)
        residuals, slopes, losses = C.new_empty(left), C.new_empty(left), C.new_empty(S, chunks(n))
        given = [array(C.reshape(S, K, -1, C.shape[-1])), array(H), array(b)]
        written = (residuals.numpy(), slopes.numpy(), losses.numpy())
        in_threads(ADJOINTS[given[0].dtype.name], S, n, *given, judge.arrays(), window or K, *written)
        if ctx.needs_input_grad[0]:
            ctx.save_for_backward(coefficient_gradient(C, slopes, residuals, window))
        return losses.sum(1) / judge.counted

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        (own,) = ctx.saved_tensors
        return grad.view(-1, *[1] * (own.ndim - 1)) * own, None, None, None, None
