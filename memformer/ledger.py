"""Where work is counted: a function that multiplies says how much it does, and whoever asks reads the sum.

Sizes alone do not tell a product of two matrices from many products with vectors, nor labels from weights, so nobody
guesses. The unit is a **matrix-vector product**, whatever the matrix and its size: H, X or its transpose, a
preconditioner, a layer's Q or P. A product of two matrices is as many as its right factor has columns: forming
`H = X^T X / N` is d of them, a product of two d x d matrices is d. Factorisations, triangular solves, weighted sums of
vectors and arithmetic on a method's parameters alone are none.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import NamedTuple, ParamSpec, TypeVar

import torch
from torch import Tensor

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


class Entry(NamedTuple):
    """What one call does, for all models and tasks together.

    Attributes:
        products: matrix-vector products.
        flops: floating-point operations, where there are several ways to the same result and the count must not hang
            on which is taken; None leaves them to whoever sees the operations of torch.
    """

    products: int
    flops: int | None = None


@dataclass
class Ledger:
    """The sum of all entries while it was open.

    Attributes:
        products: matrix-vector products.
        flops: floating-point operations of the functions that state theirs.
        covered: whether a function is at work whose products are entered; those of functions within it are the same.
        silent: whether one is at work whose floating-point operations are entered.
    """

    products: int = 0
    flops: int = 0
    covered: bool = False
    silent: bool = False

    @contextmanager
    def enter(self, entry: Entry) -> Iterator[None]:
        """Enter what is done within this block."""
        before = self.covered, self.silent
        if not self.covered:
            self.products += entry.products
        if entry.flops is not None and not self.silent:
            self.flops += entry.flops
        self.covered, self.silent = True, self.silent or entry.flops is not None
        try:
            yield
        finally:
            self.covered, self.silent = before


# One for the process, not one a context: backward passes run on threads of autograd's own, and `torch.compile` cannot
# read a ContextVar.
_open: Ledger | None = None


@contextmanager
def counting() -> Iterator[Ledger]:
    """Within this block everything that reports is entered into the ledger given.

    Example:
        >>> with counting() as ledger:
        ...     product = matmul(torch.ones(7, 3, 4), torch.ones(7, 4, 2))
        >>> ledger.products
        14
    """
    global _open
    before, _open = _open, Ledger()
    try:
        yield _open
    finally:
        _open = before


def is_counting() -> bool:
    """Whether a ledger is open."""
    return _open is not None


def uncounted(when: bool = True) -> AbstractContextManager[None]:
    """Within this block nothing counts: what is done for all tasks at once, or a second time, is no task's work."""
    return nullcontext() if _open is None or not when else _open.enter(Entry(0, 0))


def reports(
    work: Callable[Parameters, Entry],
) -> Callable[[Callable[Parameters, Result]], Callable[Parameters, Result]]:
    """Let a function report its work whenever a ledger is open; without one it costs a tenth of a microsecond.

    Args:
        work: from the function's arguments to what it will do.

    Example:
        >>> @reports(lambda H, v: Entry(products=2))
        ... def twice(H, v):
        ...     return H @ (H @ v)
        >>> with counting() as ledger:
        ...     found = twice(torch.eye(2), torch.ones(2))
        >>> ledger.products
        2
    """

    def decorate(function: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
        @functools.wraps(function)
        def reporting(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
            if _open is None:
                return function(*args, **kwargs)
            with _open.enter(work(*args, **kwargs)):
                return function(*args, **kwargs)

        return reporting

    return decorate


def _columns(left: Tensor, right: Tensor) -> Entry:
    batch = torch.broadcast_shapes(left.shape[:-2], right.shape[:-2])
    return Entry(math.prod(batch) * right.shape[-1])


@reports(_columns)
def matmul(left: Tensor, right: Tensor) -> Tensor:
    """Batched product of matrices `(..., n, m)` and `(..., m, k)`: k matrix-vector products."""
    return left @ right


@reports(lambda rows, matrix: Entry(rows.shape[:-1].numel()))
def matmul_rows(rows: Tensor, matrix: Tensor) -> Tensor:
    """`A v` for vectors that are rows `(..., k, m)`, given `A^T` `(..., m, n)`: k matrix-vector products."""
    return rows @ matrix


@reports(lambda weights, vectors: Entry(0))
def combine(weights: Tensor, vectors: Tensor) -> Tensor:
    """Weighted sums of vectors, `(..., n, m)` and `(..., m, k)`: m scaled vectors of k numbers, no product."""
    return weights @ vectors
