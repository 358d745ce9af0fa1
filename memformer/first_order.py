"""The kernel of all models with P = 0: a linear first-order method, with its gradient written by hand.

    w_{l+1} = w_l - sum_{j<=l} C[l, j] r_j,        r_j = b - H w_j.

Tasks are the *last* dimension here: then every product with a small matrix runs over contiguous memory, three to
eight times faster on a CPU than batches of 5×5 products. The loop writes into two buffers and calls two or three
operations a layer; recorded by autograd operation by operation it would take twice as long.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


def first_order_method(C: Tensor, H: Tensor, b: Tensor, window: int | None = None) -> Tensor:
    """Iterates of the method, all S models and all tasks at once; differentiable in `C`.

    Args:
        C: `(S, K, K)` scalar coefficients, or `(S, K, d, K * d)` matrices `C[l, j]` side by side. Only j <= l is read.
        H: `(G, d, d, B)` symmetric, of G groups of models; G divides S, and model s sees group `s // (S/G)`.
        b: `(G, d, B)`.
        window: only `C[l, j]` with j > l - window are read; None reads all.

    Returns:
        `(K, S, d, B)`, `w` after 1, ..., K steps from zero.

    Example:
        >>> H, b = torch.eye(1).view(1, 1, 1, 1), torch.ones(1, 1, 1)
        >>> first_order_method(-0.5 * torch.eye(2)[None], H, b).flatten().tolist()
        [0.5, 0.75]
    """
    if torch.compiler.is_compiling():
        return _unrolled(C, H, b, window)
    return _FirstOrderMethod.apply(C, H, b, window)  # pyright: ignore[reportReturnType]


class _FirstOrderMethod(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, C: Tensor, H: Tensor, b: Tensor, window: int | None) -> Tensor:
        S, K, p = C.shape[0], C.shape[1], _block(C)
        G, d, B = b.shape
        residuals, w = C.new_empty(S, K, d, B), C.new_empty(K, S, d, B)
        columns = _columns(H)
        for k in range(K):
            r = residuals[:, k].view(G, S // G, d, B)
            r.copy_(b[:, None].expand_as(r))
            if k:
                _subtract_product(r, columns, w[k - 1])
            start = 0 if window is None else max(0, k + 1 - window)
            coefficients, past = _rows(C, k, start), _past(residuals, p, k, start)
            new = w[k].view(S, p, -1)
            if k:
                torch.baddbmm(w[k - 1].view(S, p, -1), coefficients, past, alpha=-1, out=new)
            else:
                torch.bmm(coefficients, past, out=new).neg_()
        ctx.save_for_backward(C, H, residuals)
        ctx.window = window
        return w

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, grad_w: Tensor
    ) -> tuple[Tensor | None, ...]:
        C, H, residuals = ctx.saved_tensors
        S, K, d, B = residuals.shape
        p = _block(C)
        grad_C, grad_residuals, columns = torch.zeros_like(C), torch.zeros_like(residuals), _columns(H)
        grad = grad_w[K - 1].clone(memory_format=torch.contiguous_format)
        for k in reversed(range(K)):
            start = 0 if ctx.window is None else max(0, k + 1 - ctx.window)
            flat = grad.view(S, p, -1)
            _rows(grad_C, k, start).copy_(flat @ _past(residuals, p, k, start).mT).neg_()
            if k == 0:
                break
            _past(grad_residuals, p, k, start).baddbmm_(_rows(C, k, start).mT, flat, alpha=-1)
            _subtract_product(grad.view(H.shape[0], -1, d, B), columns, grad_residuals[:, k])
            grad += grad_w[k - 1]
        return grad_C, None, None, None


def _block(C: Tensor) -> int:
    """Rows of one coefficient: 1 for scalars, d for matrices."""
    return 1 if C.ndim == 3 else C.shape[2]


def _rows(C: Tensor, k: int, start: int) -> Tensor:
    """Coefficients of step k from source `start` on: `(S, p, (k + 1 - start) * p)`, a view."""
    return C[:, k, None, start : k + 1] if C.ndim == 3 else C[:, k, :, start * C.shape[2] : (k + 1) * C.shape[2]]


def _past(residuals: Tensor, p: int, k: int, start: int) -> Tensor:
    """Residuals `start, ..., k` one above the other: `(S, (k + 1 - start) * p, ...)`, a view."""
    S, K = residuals.shape[:2]
    return residuals.view(S, K * p, -1)[:, start * p : (k + 1) * p]


def _columns(H: Tensor) -> Sequence[Tensor]:
    """Columns of H, `(G, 1, d, B)` each."""
    return H.unsqueeze(1).unbind(3)


def _subtract_product(target: Tensor, columns: Sequence[Tensor], vectors: Tensor) -> None:
    """`target -= H v` in place, a column of H at a time: no `(S, d, d, B)` products are stored."""
    for column, entry in zip(columns, vectors.view_as(target).unsqueeze(3).unbind(2), strict=True):
        target.addcmul_(column, entry, value=-1)


def _unrolled(C: Tensor, H: Tensor, b: Tensor, window: int | None) -> Tensor:
    """The same from plain operations, which `torch.compile` fuses into a few loops."""
    S, K = C.shape[:2]
    G, d, B = b.shape
    b = b[:, None].expand(G, S // G, d, B)
    w, residuals, iterates = torch.zeros_like(b), [], []
    for k in range(K):
        residuals.append(b - (H[:, None] * w[:, :, None]).sum(3) if k else b)
        start = 0 if window is None else max(0, k + 1 - window)
        for j in range(start, k + 1):
            if C.ndim == 3:
                w = w - C[:, k, j].view(G, -1, 1, 1) * residuals[j]
            else:
                block = C[:, k, :, j * d : (j + 1) * d].reshape(G, -1, d, d, 1)
                w = w - (block * residuals[j][:, :, None]).sum(3)
        iterates.append(w.reshape(S, d, B))
    return torch.stack(iterates)
