"""What a solve costs on any machine: counted products and floating-point operations, and the memory it holds."""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from memformer.core.problem import Problem
from memformer.kernels.gdpp import layer_work

aten = torch.ops.aten


@dataclass(frozen=True)
class Work:
    """The work of one solve.

    Attributes:
        products: matrix-vector products a task: with H, with X or its transpose, with a d×d matrix of the solver.
        flops: floating-point operations a task, in products, factorisations and arithmetic on vectors.
        peak_bytes: most memory that tensors made by the solve held at once, for the whole batch. On a CUDA device
            it is the allocator's, elsewhere the tensors' own: what a library needs within one call is not in it.
    """

    products: float
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
    ledger = _Ledger(problem)
    with FlopCounterMode(display=False, custom_mapping=_COUNTED) as counter, ledger:
        result = call(fresh)
    flops = (counter.get_total_flops() + ledger.pointwise) / problem.B
    peak = torch.cuda.max_memory_allocated(problem.device) - before if cuda else ledger.peak
    del result
    return Work(ledger.products, flops, peak)


class _Ledger(TorchDispatchMode):
    """Counts products of a matrix and one vector a task, arithmetic on vectors, and the bytes of live tensors."""

    def __init__(self, problem: Problem) -> None:
        super().__init__()
        self.problem, self.products, self.pointwise = problem, 0.0, 0
        self.alive, self.peak = 0, 0
        self._known: weakref.WeakSet[Any] = weakref.WeakSet()
        given = (problem.X, problem.y, problem.x_query)
        self._given = {tensor.untyped_storage().data_ptr() for tensor in given}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        kind = func.overloadpacket
        if kind in _CONTRACTIONS:
            self.products += self._contraction(args[_CONTRACTIONS[kind]].shape[-1], out.numel())
        elif kind in _POINTWISE:
            tensors = [arg for arg in args if isinstance(arg, torch.Tensor)]
            self.pointwise += _POINTWISE[kind] * max(tensor.numel() for tensor in (*tensors, out))
            self.products += self._pointwise_product(kind, tensors, out)
        elif kind is _LAYERS:
            shapes: list[Any] = [tuple(arg.shape) if isinstance(arg, torch.Tensor) else arg for arg in args]
            self.products += layer_work(*shapes)[1]
        for value in out if isinstance(out, tuple | list) else (out,):
            if isinstance(value, torch.Tensor):
                self._hold(value.untyped_storage())
        return out

    def _contraction(self, inner: int, numbers: int) -> float:
        """Of a product over `inner` numbers that leaves `numbers`: 0 unless that is a vector for each task."""
        B, N, d = self.problem.B, self.problem.N, self.problem.d
        if numbers == B * N and inner == d:
            return 1.0
        if numbers == B * d:
            return 1.0 if inner == N else float(inner // d)  # fewer than d vectors are a sum, not a product
        return 0.0

    def _pointwise_product(self, kind: Any, tensors: list[torch.Tensor], out: torch.Tensor) -> float:
        """Small matrices are multiplied by vectors entry by entry or by columns (`memformer.kernels.first_order`)."""
        B, d = self.problem.B, self.problem.d
        if kind is aten.mul and out.numel() == B * d * d and min(tensor.numel() for tensor in tensors) == B * d:
            return 1.0
        if kind in (aten.addcmul, aten.addcmul_) and out.numel() == B * d:
            column = tensors[1]
            whole = column.untyped_storage().nbytes() == B * d * d * column.element_size()
            return 1 / d if whole and not column.is_contiguous() else 0.0
        return 0.0

    def _hold(self, storage: Any) -> None:
        if storage in self._known or storage.data_ptr() in self._given:
            return
        self._known.add(storage)
        self.alive += (size := storage.nbytes())
        self.peak = max(self.peak, self.alive)
        weakref.finalize(storage, self._release, size)

    def _release(self, size: int) -> None:
        self.alive -= size


def _qr(shape: Any, *_: Any, out_shape: Any = None, **__: Any) -> int:
    """R by Householder reflections and the leading columns of Q: Golub & Van Loan, algorithms 5.2.1 and 5.1.6."""
    *batch, m, n = shape
    m, n = max(m, n), min(m, n)
    return math.prod(batch) * (4 * m * n**2 - 4 * n**3 // 3)


def _eigh(shape: Any, *_: Any, out_shape: Any = None, **__: Any) -> int:
    """Eigenvalues alone: 4/3 n³; with vectors 9 n³ (section 8.3 of the same)."""
    *batch, n, _columns = shape
    vectors = out_shape is not None and len(out_shape) > 1 and math.prod(out_shape[1]) > 0
    return math.prod(batch) * (9 * n**3 if vectors else 4 * n**3 // 3)


def _svd(shape: Any, *_: Any, out_shape: Any = None, **__: Any) -> int:
    """Thin, with vectors: 6 m n² + 20 n³ (section 8.6 of the same)."""
    *batch, m, n = shape
    m, n = max(m, n), min(m, n)
    return math.prod(batch) * (6 * m * n**2 + 20 * n**3)


def _triangular(a: Any, b: Any, *_: Any, out_shape: Any = None, **__: Any) -> int:
    *batch, n, columns = b
    return math.prod(batch) * n**2 * columns


def _layers(*shapes: Any, out_shape: Any = None, **_: Any) -> int:
    """Of all models and tasks."""
    return shapes[1][0] * shapes[3][-1] * layer_work(*shapes)[0]


_LAYERS = torch.ops.memformer.covariate_layers

_COUNTED = {
    _LAYERS: _layers,
    aten.linalg_qr: _qr,
    aten._linalg_eigh: _eigh,
    aten._linalg_svd: _svd,
    aten.linalg_solve_triangular: _triangular,
}
"""What torch's own counter leaves out: layers that change covariates, and textbook counts of factorisations."""

_CONTRACTIONS = {aten.bmm: 0, aten.mm: 0, aten.mv: 0, aten.baddbmm: 1, aten.baddbmm_: 1, aten.addmm: 1, aten.addmv: 1}
"""Products, and which argument their left factor is."""

_POINTWISE = {
    **dict.fromkeys((aten.add, aten.sub, aten.mul, aten.div, aten.neg, aten.sum), 1),
    **dict.fromkeys((aten.add_, aten.sub_, aten.mul_, aten.div_, aten.neg_, aten.sqrt, aten.linalg_vector_norm), 1),
    **dict.fromkeys((aten.addcmul, aten.addcmul_), 2),
}
"""Operations for each number that they read or write, whichever are more."""
