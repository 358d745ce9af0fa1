"""Products of small matrices, one pair a task, with tasks the *last* dimension of memory.

A product of two 5×5 matrices is too small for any library to do well on a CPU: a batch of a thousand takes as long as
a hundred thousand multiplications of whole vectors of tasks. With tasks last, those vectors are contiguous.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from memformer.ledger import Entry, reports

_ELEMENTWISE_D = 24
"""Up to this many rows or columns of the result, elementwise operations beat a batch of matrix products."""

_STORED = 60_000
"""Up to so many numbers, all single products are stored and summed at once; beyond, they are added up one by one."""


def task_product(A: Tensor, B: Tensor) -> Tensor:
    """`A B` for every model and task; differentiable.

    Args:
        A: `(S, i, k, n)`, n tasks; S of either may be 1 and is then repeated.
        B: `(S, k, j, n)`.

    Returns:
        `(S, i, j, n)`.

    Example:
        >>> A = torch.tensor([[1.0, 2.0], [3.0, 4.0]]).view(1, 2, 2, 1)
        >>> task_product(A, A).flatten().tolist()
        [7.0, 10.0, 15.0, 22.0]
    """
    if torch.compiler.is_compiling():
        return (A.unsqueeze(3) * B.unsqueeze(1)).sum(2)
    models = max(len(A), len(B))
    return _TaskProduct.apply(A.expand(models, -1, -1, -1), B.expand(models, -1, -1, -1))  # pyright: ignore[reportReturnType]


class _TaskProduct(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, A: Tensor, B: Tensor) -> Tensor:
        ctx.save_for_backward(A, B)
        return _multiply(A, B)

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, grad: Tensor
    ) -> tuple[Tensor | None, Tensor | None]:
        A, B = ctx.saved_tensors
        return (
            _multiply(grad, B.transpose(1, 2)) if ctx.needs_input_grad[0] else None,
            _multiply(A.transpose(1, 2), grad) if ctx.needs_input_grad[1] else None,
        )


def _work(A: Tensor, B: Tensor) -> Entry:
    columns = B[:, 0].numel()
    return Entry(columns, 2 * columns * A.shape[1] * A.shape[2])


@reports(_work)  # the same operations, whichever of the three ways is taken
def _multiply(A: Tensor, B: Tensor) -> Tensor:
    """`task_product` without a gradient."""
    S, i, k, n = A.shape
    j = B.shape[2]
    if A.is_cuda or min(i, j) > _ELEMENTWISE_D:
        left, right = (tensor.movedim(-1, 1).contiguous() for tensor in (A, B))
        return (left @ right).movedim(1, -1).contiguous()
    if S * i * k * j * n <= _STORED:
        return (A.unsqueeze(3) * B.unsqueeze(1)).sum(2)
    rows, columns = B.unsqueeze(1).unbind(2), A.unsqueeze(3).unbind(2)
    product = columns[0] * rows[0]
    for column, row in zip(columns[1:], rows[1:], strict=True):
        product.addcmul_(column, row)
    return product


@reports(lambda Q, A: Entry(math.prod(torch.broadcast_shapes(Q.shape[:-2], A.shape[:-3])) * A.shape[-2:].numel()))
def from_left(Q: Tensor, A: Tensor) -> Tensor:
    """`Q A` for one matrix `Q` `(S, ..., i, k)` a model: `(S, ..., k, j, n)` to `(S, ..., i, j, n)`."""
    return (Q @ A.flatten(-2)).unflatten(-1, A.shape[-2:])


def from_right(A: Tensor, P: Tensor) -> Tensor:
    """`A P` for one matrix `P` `(S, ..., k, j)` a model: `(S, ..., i, k, n)` to `(S, ..., i, j, n)`."""
    return P.mT.unsqueeze(-3) @ A


def per_model(tensor: Tensor, models: int) -> Tensor:
    """`(G, ...)` to `(S, ...)`, or to what broadcasts against it."""
    groups = tensor.shape[0]
    return tensor if groups in (1, models) else tensor.repeat_interleave(models // groups, 0)
