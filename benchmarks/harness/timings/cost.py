"""What a solve costs on any machine: counted products and floating-point operations, and the memory it holds."""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry, shape_wrapper

from memformer.core.problem import Problem
from memformer.ledger import Ledger, counting

aten = torch.ops.aten


@dataclass(frozen=True)
class Work:
    """The work of one solve.

    It is the method's: of all its steps, the same on every device, in every batch, and by whichever of several paths
    the numbers are found.

    Attributes:
        products: matrix-vector products a task, as `memformer.ledger` counts them; None for a solver that
            multiplies matrices and does not report it.
        flops: floating-point operations a task, in products, factorisations and arithmetic on vectors.
        peak_bytes: most memory that tensors made by the solve held at once, for the whole batch. On a CUDA device
            it is the allocator's, elsewhere the tensors' own: what a library needs within one call is not in it.
    """

    products: float | None
    flops: float
    peak_bytes: int


def count_work(call: Callable[[Problem], object], problem: Problem) -> Work:
    """Count the work of one call on a fresh problem, whose moments nobody has computed yet.

    Args:
        call: solves a problem with operations of torch.
        problem: the batch.
    """
    fresh, cuda = problem.blinded(), problem.device.type == "cuda"
    before = 0
    if cuda:
        torch.cuda.synchronize(problem.device)
        torch.cuda.reset_peak_memory_stats(problem.device)
        before = torch.cuda.memory_allocated(problem.device)
    with counting() as ledger, _Watch(ledger, asked := _Asked()) as watch, asked:
        result = call(fresh)
    products = None if watch.unreported else ledger.products / problem.B
    peak = torch.cuda.max_memory_allocated(problem.device) - before if cuda else watch.peak
    del result
    return Work(products, (ledger.flops + watch.flops) / problem.B, peak)


class _Asked(TorchFunctionMode):
    """Whether eigenvalues alone are asked for: while torch is watched, it finds vectors in any case."""

    values_alone = False

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.values_alone = func is torch.linalg.eigvalsh
        try:
            return func(*args, **(kwargs or {}))
        finally:
            self.values_alone = False

    def eigen(self, shape: Any, *_: Any, out_shape: Any = None, **__: Any) -> int:
        """Eigenvalues alone: 4/3 n³; with vectors 9 n³ (Golub & Van Loan, section 8.3)."""
        *batch, n, _columns = shape
        return math.prod(batch) * (4 * n**3 // 3 if self.values_alone else 9 * n**3)


class _Watch(TorchDispatchMode):
    """Counts the operations of functions that do not state theirs, and the bytes of live tensors."""

    def __init__(self, ledger: Ledger, asked: _Asked) -> None:
        super().__init__()
        self.ledger = ledger
        own = {kind: shape_wrapper(count) for kind, count in (_COUNTED | {aten._linalg_eigh: asked.eigen}).items()}
        self.formulas: dict[Any, Any] = {**flop_registry, **own}  # torch's own, and what plug-ins registered
        self.flops, self.unreported = 0, False
        self.alive, self.peak = 0, 0
        self._sizes: dict[weakref.ref[Any], int] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func not in _PRIMITIVE:
            with self:
                found = func.decompose(*args, **kwargs)
            if found is not NotImplemented:
                return found
            _PRIMITIVE.add(func)
        silent = self.ledger.silent
        out = func(*args, **kwargs)
        kind, given = func.overloadpacket, _tensors((*args, *kwargs.values()))
        if not silent:
            if kind in self.formulas:
                self.flops += self.formulas[kind](*args, **kwargs, out_val=out)
            if kind in _POINTWISE and out.is_floating_point():
                self.flops += _POINTWISE[kind] * max(tensor.numel() for tensor in (*given, out))
        self.unreported |= kind in _CONTRACTIONS and not self.ledger.covered
        # What shares its memory with an argument was not made here: a view, or what was there before the solve.
        old = None
        for storage in (storage for value in _tensors((out,)) for storage in _storages(value)):
            if weakref.ref(storage) not in self._sizes:
                old = old or {mine.data_ptr() for tensor in given for mine in _storages(tensor)}
                if storage.data_ptr() not in old:
                    self._hold(storage)
        return out

    def _hold(self, storage: Any) -> None:
        self._sizes[weakref.ref(storage, self._release)] = storage.nbytes()
        self.alive += storage.nbytes()
        self.peak = max(self.peak, self.alive)

    def _release(self, storage: weakref.ref[Any]) -> None:
        size = self._sizes.pop(storage)  # may be asked for in the middle of anything
        self.alive -= size


def _tensors(values: Iterable[Any]) -> list[Tensor]:
    """Those among the arguments or the results of an operation, in lists too."""
    found: list[Tensor] = []
    for value in values:
        if isinstance(value, Tensor):
            found.append(value)
        elif isinstance(value, list | tuple | dict):
            found += [leaf for leaf in tree_leaves(value) if isinstance(leaf, Tensor)]
    return found


def _storages(tensor: Tensor) -> list[Any]:
    """The memory of a tensor: of a sparse one, that of its indices and values."""
    if tensor.layout is torch.strided:
        return [tensor.untyped_storage()]
    parts = {
        torch.sparse_coo: lambda: (tensor._indices(), tensor._values()),
        torch.sparse_csr: lambda: (tensor.crow_indices(), tensor.col_indices(), tensor.values()),
        torch.sparse_csc: lambda: (tensor.ccol_indices(), tensor.row_indices(), tensor.values()),
    }
    return [part.untyped_storage() for part in parts.get(tensor.layout, tuple)()]


def _qr(shape: Any, *_: Any, out_shape: Any = None, **__: Any) -> int:
    """R by Householder reflections and the leading columns of Q: Golub & Van Loan, algorithms 5.2.1 and 5.1.6."""
    *batch, m, n = shape
    m, n = max(m, n), min(m, n)
    return math.prod(batch) * (4 * m * n**2 - 4 * n**3 // 3)


def _svd(shape: Any, *_: Any, out_shape: Any = None, **__: Any) -> int:
    """Thin, with vectors: 6 m n² + 20 n³ (section 8.6 of the same)."""
    *batch, m, n = shape
    m, n = max(m, n), min(m, n)
    return math.prod(batch) * (6 * m * n**2 + 20 * n**3)


def _cholesky(shape: Any, *_: Any, out_shape: Any = None, **__: Any) -> int:
    """1/3 n³ (section 4.2 of the same)."""
    *batch, n, _columns = shape
    return math.prod(batch) * (n**3 // 3)


def _triangular(a: Any, b: Any, *_: Any, out_shape: Any = None, **__: Any) -> int:
    *batch, n, columns = b
    return math.prod(batch) * n**2 * columns


def _cholesky_solve(b: Any, *_: Any, out_shape: Any = None, **__: Any) -> int:
    *batch, n, columns = b
    return math.prod(batch) * 2 * n**2 * columns


_COUNTED = {
    aten.linalg_qr: _qr,
    aten._linalg_svd: _svd,
    aten.linalg_solve_triangular: _triangular,
    aten.linalg_cholesky_ex: _cholesky,
    aten.cholesky_solve: _cholesky_solve,
}
"""Textbook counts of factorisations, which torch's own counter leaves out."""

_PRIMITIVE: set[Any] = set()
"""Operations known not to be made of others; one that is, as under `inference_mode`, is counted by its parts."""

_CONTRACTIONS = {aten.bmm, aten.mm, aten.mv, aten.dot, aten.baddbmm, aten.baddbmm_, aten.addmm, aten.addmv}
"""Products that nobody takes without reporting them."""

_POINTWISE = {
    **dict.fromkeys((aten.add, aten.sub, aten.rsub, aten.mul, aten.div, aten.neg, aten.sum, aten.mean), 1),
    **dict.fromkeys((aten.add_, aten.sub_, aten.mul_, aten.div_, aten.neg_, aten.sqrt, aten.reciprocal, aten.pow), 1),
    **dict.fromkeys((aten._softmax, aten.sigmoid, aten.softplus), 4),
    **dict.fromkeys((aten.addcmul, aten.addcmul_, aten.linalg_vector_norm), 2),
}
"""Operations for each number that they read or write, whichever are more."""
