"""The kernel of all models with P = 0: a linear first-order method, with its gradient written by hand.

    w_{l+1} = w_l - sum_{j<=l} C[l, j] r_j,        r_j = b - H w_j.

Tasks are the *last* dimension here: then every product with a small matrix runs over contiguous memory, three to
eight times faster on a CPU than batches of 5×5 products. The loop writes into two buffers and calls two or three
operations a layer; recorded by autograd operation by operation it would take twice as long.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from memformer.ledger import Entry, reports

_STORED = 200_000
"""Up to so many numbers, the single products of H v are stored and summed at once; beyond, column by column."""


def _read(K: int, window: int | None) -> int:
    """How many coefficients are read in all steps."""
    return sum(min(k + 1, window or K) for k in range(K))


def _work(C: Tensor, H: Tensor, b: Tensor, window: int | None = None) -> Entry:
    """A product with H in all steps but the first, which starts from zero; with matrices C, one for each that is read.

    H takes `2 d^2` operations with the subtraction, a scalar coefficient `2 d`, a matrix `2 d^2`.
    """
    (S, K), (d, B), read = C.shape[:2], b.shape[1:], _read(C.shape[1], window)
    return Entry(S * B * (K - 1 + read * (C.ndim == 4)), S * B * 2 * d * ((K - 1) * d + read * _block(C)))


def _work_back(C: Tensor, H: Tensor, residuals: Tensor, window: int | None, *_: Tensor | None) -> Entry:
    """The same products for the gradients of residuals, but for the first one's; those of C are no products."""
    S, K, _d, B = residuals.shape
    return Entry(S * B * (K - 1 + (_read(K, window) - 1) * (C.ndim == 4)))


@reports(_work)
def first_order_iterates(C: Tensor, H: Tensor, b: Tensor, window: int | None = None) -> tuple[Tensor, ...]:
    """Iterates of the method, all S models and all tasks at once; differentiable in `C`.

    Args:
        C: `(S, K, K)` scalar coefficients, or `(S, K, d, K * d)` matrices `C[l, j]` side by side. Only j <= l is read.
        H: `(G, d, d, B)` symmetric, of G groups of models; G divides S, and model s sees group `s // (S/G)`.
        b: `(G, d, B)`.
        window: only `C[l, j]` with j > l - window are read; None reads all.

    Returns:
        `w` after 1, ..., K steps from zero, `(S, d, B)` each.

    Example:
        >>> H, b = torch.eye(1).view(1, 1, 1, 1), torch.ones(1, 1, 1)
        >>> [w.item() for w in first_order_iterates(-0.5 * torch.eye(2)[None], H, b)]
        [0.5, 0.75]
    """
    if torch.compiler.is_compiling():
        return _unrolled(C, H, b, window)
    return _FirstOrderMethod.apply(C, H, b, window)  # pyright: ignore[reportReturnType]


class _FirstOrderMethod(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, C: Tensor, H: Tensor, b: Tensor, window: int | None) -> tuple[Tensor, ...]:
        S, K = C.shape[:2]
        G, d, B = b.shape
        C = C.contiguous()
        residuals, product = C.new_empty(S, K, d, B), _Product(H, S)
        rows, past = _Rows(C, window), _Past(residuals, C)
        flat: list[Tensor] = []
        for k, r in enumerate(residuals.view(G, -1, K, d, B).unbind(2)):
            if k == 0:
                r.copy_(b[:, None].expand_as(r))
                flat.append(torch.bmm(rows.at(0), past.upto(0, 0)).neg_())
                continue
            product.subtract(b[:, None], flat[-1].view(r.shape), out=r)
            flat.append(torch.baddbmm(flat[-1], rows.at(k), past.upto(k, rows.start(k)), alpha=-1))
        ctx.save_for_backward(C, H, residuals)
        ctx.window = window
        ctx.set_materialize_grads(False)
        return tuple(w.view(S, d, B) for w in flat)

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, *grad_w: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        return _gradient(*ctx.saved_tensors, ctx.window, *grad_w), None, None, None


@reports(_work_back)
def _gradient(C: Tensor, H: Tensor, residuals: Tensor, window: int | None, *grad_w: Tensor | None) -> Tensor:
    """The gradient of C, given those of all iterates."""
    S, K, d, B = residuals.shape
    p = _block(C)
    grad_residuals, grads = torch.zeros_like(residuals), torch.empty_like(residuals)
    rows, grad_past = _Rows(C, window), _Past(grad_residuals, C)
    product = _Product(H, S)
    of_step = grad_residuals.view(len(H), -1, K, d, B).unbind(2)
    steps, flat = grads.view(len(H), -1, K, d, B).unbind(2), grads.view(S, K, p, -1).unbind(1)
    if grad_w[-1] is None:
        grads[:, -1].zero_()
    else:
        grads[:, -1] = grad_w[-1]
    # Signs: w' = w - C r, so what is gathered here is the negative of both gradients until it is used.
    for k in range(K - 1, 0, -1):
        grad_past.upto(k, rows.start(k)).baddbmm_(rows.at(k).mT, flat[k], alpha=-1)
        product.subtract(steps[k], of_step[k], out=steps[k - 1])
        own = grad_w[k - 1]
        if own is not None:  # where only the last iterate is judged, no other has a gradient of its own
            grads[:, k - 1] += own
    return coefficient_gradient(C, grads, residuals, window)


def coefficient_gradient(C: Tensor, grads: Tensor, residuals: Tensor, window: int | None) -> Tensor:
    """The gradient of C, given those of all iterates and the residuals, `(S, K, d, B)` each.

    Those of all coefficients are one product; coefficients that no step reads have none.
    """
    S, K = C.shape[:2]
    p = _block(C)
    grad_C = torch.bmm(grads.view(S, K * p, -1), residuals.view(S, K * p, -1).mT).view(S, K, p, K * p)
    grad_C *= _signs(K, p, window, C.dtype, C.device)
    return grad_C.view(C.shape)


@lru_cache(maxsize=64)
def _signs(K: int, p: int, window: int | None, dtype: torch.dtype, device: torch.device) -> Tensor:
    """`(K, 1, K * p)`, -1 for the coefficients that a step reads (the sign of their gradient), 0 for the others."""
    steps = torch.arange(K, device=device)
    age = steps[:, None] - steps
    seen = (age >= 0) & (age < (K if window is None else window))
    return -seen.to(dtype).repeat_interleave(p, 1)[:, None]


def _block(C: Tensor) -> int:
    """Rows of one coefficient: 1 for scalars, d for matrices."""
    return 1 if C.ndim == 3 else C.shape[2]


# Step k subtracts one product, `_Rows.at(k) @ _Past.upto(k, start)`, here for k = 2 and a window of 2 (start = 1).
# Every cell of C and of the residuals is p rows high; p is 1 for scalars, and then d B numbers make a residual's one
# row; p is d for matrices, and then a row is B numbers.
#
#          C, one model                          residuals, one model
#            j=0     j=1     j=2
#         +-------+-------+-------+
#     k=0 | p x p |       |       |               r_0    p rows
#         +-------+-------+-------+              +------------------+
#     k=1 |       |       |       |              |r_1    p rows     |
#         +-------+=======+=======+              |                  |
#     k=2 |       |  read |  read |              |r_2    p rows     |
#         +-------+=======+=======+              +------------------+
#          <------ K p numbers ---->
#
# Both views are made by `as_strided`: one operation where slices would take four, which at this size is what costs.


class _Rows:
    """Coefficients of each step, from the first source it reads on: `(S, p, (k + 1 - start) * p)`, views."""

    def __init__(self, C: Tensor, window: int | None) -> None:
        self.C, self.p, self.window = C, _block(C), window
        self.row = C.shape[1] * self.p
        self.cell = self.p * self.row
        self.model = C.shape[1] * self.cell

    def start(self, k: int) -> int:
        """The first source that step k reads."""
        return 0 if self.window is None else max(0, k + 1 - self.window)

    def at(self, k: int) -> Tensor:
        """`C[:, k, :, start * p : (k + 1) * p]`."""
        start = self.start(k)
        size = (len(self.C), self.p, (k + 1 - start) * self.p)
        return self.C.as_strided(size, (self.model, self.row, 1), k * self.cell + start * self.p)


class _Past:
    """Residuals `start, ..., k` one above the other: `(S, (k + 1 - start) * p, ...)`, views."""

    def __init__(self, residuals: Tensor, C: Tensor) -> None:
        self.residuals, self.p = residuals, _block(C)
        self.model = residuals[0].numel()
        self.cell = self.model // residuals.shape[1]
        self.row = self.cell // self.p

    def upto(self, k: int, start: int) -> Tensor:
        """`residuals[:, start : k + 1]`, its rows joined."""
        size = (len(self.residuals), (k + 1 - start) * self.p, self.row)
        return self.residuals.as_strided(size, (self.model, self.row, 1), start * self.cell)


class _Product:
    """`a - H v` for vectors `v` `(G, S / G, d, B)`: the S / G models of a group share its H `(d, d, B)`."""

    def __init__(self, H: Tensor, models: int) -> None:
        G, d, _, B = H.shape
        self.H = H.unsqueeze(1)
        self.stored = self.H.new_empty(G, models // G, d, d, B) if models * d * d * B <= _STORED else None

    @reports(lambda self, a, v, out: Entry(v.numel() // v.shape[2], 2 * v.numel() * v.shape[2]))
    def subtract(self, a: Tensor, v: Tensor, out: Tensor) -> None:
        """Write `a - H v` into `out`, shaped like `v`; `a` is `(G, 1, d, B)` or like `v`."""
        if self.stored is not None:
            torch.mul(self.H, v.unsqueeze(2), out=self.stored)
            torch.sub(a, self.stored.sum(3), out=out)
            return
        # A column of H at a time: no (S, d, d, B) products are stored.
        out.copy_(a.expand_as(out))
        for column, entry in zip(self.H.unbind(3), v.unsqueeze(3).unbind(2), strict=True):
            out.addcmul_(column, entry, value=-1)


def _unrolled(C: Tensor, H: Tensor, b: Tensor, window: int | None) -> tuple[Tensor, ...]:
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
    return tuple(iterates)
