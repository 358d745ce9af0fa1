"""Vectors of `LANES` numbers inside functions that numba compiles, one task a lane.

Left to itself the compiler does not know that arrays do not overlap, and keeps sums in memory instead of registers.
The first few operations here say what is meant. From them are made products of matrices whose entries are vectors:
C-contiguous arrays `(rows, columns, LANES)`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from types import FunctionType
from typing import Any

import numpy as np
from llvmlite import ir
from numba import extending, njit, types
from numba.core.dispatcher import Dispatcher

LANES = 16

_inner: Any = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}

compiled = njit(nogil=True, error_model="numpy", **_inner)
"""For functions that compiled functions alone call: what Python or C would call is not made."""


def kept_on_disk(function: Callable[..., None]) -> dict[str, Callable[..., None]]:
    """Compile a function that Python calls, and keep the machine code on disk, since compiling takes seconds.

    numba's own cache compiles again when the function's file changes, and does not notice when others do. The name of a
    cache entry therefore contains a hash of all files that compiled functions are from. It contains the type of the
    numbers too: float32 and float64 have entries of their own, so processes that start together and compile different
    ones do not overwrite each other's. Entries lie beside the function's file, or in numba's folder for users where
    that cannot be written. Where neither can be written nothing is kept.

    Args:
        function: its arrays are all float32 or all float64.

    Returns:
        The compiled function for `"float32"` and for `"float64"`; each is compiled, or loaded, when first called.
    """
    texts = [Path(file).read_bytes() for file in sorted(_files(function) | {__file__})]
    digest = hashlib.sha256(b"".join(texts)).hexdigest()[:12]
    return {kind: _kept(function, f"{function.__name__}_{kind}_{digest}") for kind in ("float32", "float64")}


def _files(function: Any, found: frozenset[str] = frozenset()) -> frozenset[str]:
    """Of a function, and of the compiled functions that are known where it is written."""
    file = function.__code__.co_filename
    if file in found:
        return found
    found |= {file}
    for other in function.__globals__.values():
        if isinstance(other, Dispatcher):
            found = _files(other.py_func, found)
    return found


def _kept(function: Callable[..., None], name: str) -> Any:
    renamed = FunctionType(function.__code__, function.__globals__, function.__name__, function.__defaults__)
    renamed.__qualname__ = name
    try:
        return njit(cache=True, nogil=True, error_model="numpy")(renamed)
    except RuntimeError:  # there is no folder to write to
        return njit(nogil=True, error_model="numpy")(renamed)


intrinsic: Any = extending.intrinsic  # what it makes is called without the first argument


class _Vector(types.Type):
    def __init__(self, dtype: types.Float) -> None:
        self.dtype = dtype
        super().__init__(f"vector({dtype})")


@extending.register_model(_Vector)
class _VectorModel(extending.models.PrimitiveModel):
    def __init__(self, manager: Any, vector: _Vector) -> None:
        number = manager.lookup(vector.dtype).get_value_type()
        super().__init__(manager, vector, ir.VectorType(number, LANES))


@intrinsic
def read(typing: Any, array: Any, start: types.Integer):
    """The `LANES` numbers of an array that begin with number `start`."""
    vector = _Vector(array.dtype)

    def generate(context: Any, builder: Any, signature: Any, given: Any):
        return builder.load(_pointer(context, builder, signature, given), align=array.dtype.bitwidth // 8)

    return vector(array, types.intp), generate


@intrinsic
def write(typing: Any, array: Any, start: types.Integer, vector: _Vector):
    """Put a vector where `read` finds it."""

    def generate(context: Any, builder: Any, signature: Any, given: Any):
        builder.store(given[2], _pointer(context, builder, signature, given), align=array.dtype.bitwidth // 8)
        return context.get_dummy_value()

    return types.void(array, types.intp, vector), generate


@compiled
def load(array, index):
    """Vector number `index` of an array whose last dimension is `LANES`."""
    return read(array, index * LANES)


@compiled
def store(array, index, vector):
    """Put a vector where `load` finds it."""
    write(array, index * LANES, vector)


@intrinsic
def fma(typing: Any, a: _Vector, b: _Vector, c: _Vector):
    """`a * b + c`, in one operation where the machine has it."""

    def generate(context: Any, builder: Any, signature: Any, given: Any):
        product = builder.fmul(given[0], given[1], flags=["contract"])
        return builder.fadd(product, given[2], flags=["contract"])

    return a(a, b, c), generate


@intrinsic
def divide(typing: Any, a: _Vector, b: _Vector):
    """`a / b`."""

    def generate(context: Any, builder: Any, signature: Any, given: Any):
        return builder.fdiv(given[0], given[1])

    return a(a, b), generate


@intrinsic
def root(typing: Any, a: _Vector):
    """The square root."""

    def generate(context: Any, builder: Any, signature: Any, given: Any):
        kind = context.get_value_type(a)
        name = f"llvm.sqrt.v{LANES}f{a.dtype.bitwidth}"
        of_module = builder.module.globals.get(name) or ir.Function(builder.module, ir.FunctionType(kind, [kind]), name)
        return builder.call(of_module, given)

    return a(a), generate


@intrinsic
def choose(typing: Any, condition: _Vector, a: _Vector, b: _Vector):
    """`a` where the condition is positive, `b` where it is not, or is nan."""

    def generate(context: Any, builder: Any, signature: Any, given: Any):
        positive = builder.fcmp_ordered(">", given[0], ir.Constant(given[0].type, [0.0] * LANES))
        return builder.select(positive, given[1], given[2])

    return a(condition, a, b), generate


@intrinsic
def splat(typing: Any, number: types.Float):
    """The same number in every lane."""
    vector = _Vector(number)

    def generate(context: Any, builder: Any, signature: Any, given: Any):
        kind, position = context.get_value_type(vector), ir.IntType(32)
        one = builder.insert_element(ir.Constant(kind, ir.Undefined), given[0], position(0))
        order = ir.Constant(ir.VectorType(position, LANES), [0] * LANES)
        return builder.shuffle_vector(one, one, order)

    return vector(number), generate


@intrinsic
def zeros(typing: Any, array: Any):
    """Zero in every lane, of the kind of number that an array has."""
    vector = _Vector(array.dtype)

    def generate(context: Any, builder: Any, signature: Any, given: Any):
        kind = context.get_value_type(vector)
        return ir.Constant(kind, [0.0] * LANES)

    return vector(array), generate


def _pointer(context: Any, builder: Any, signature: Any, given: Any) -> Any:
    kind = signature.args[0]
    if kind.layout != "C":
        raise TypeError(f"vectors are read from C-contiguous arrays, and this one has layout {kind.layout}")
    first = builder.gep(context.make_array(kind)(context, builder, given[0]).data, [given[1]])
    return builder.bitcast(first, context.get_value_type(_Vector(kind.dtype)).as_pointer())


@compiled
def span(first, end):
    """What a product goes over. A pair as it is written may hold a constant, and each kind is compiled anew."""
    return np.intp(first), np.intp(end)


@compiled
def product(out, A, B, rows, inner, first, add):
    """Rows of `A B`, summed over `inner`, from column `first` on: added to `out`, or in its place."""
    _multiply(out, A, B, (A.shape[1], 1), (B.shape[1], 1), rows, inner, (first, out.shape[1]), add)


@compiled
def product_tn(out, A, B, inner, first, add):
    """`A^T B`, likewise."""
    _multiply(out, A, B, (1, A.shape[1]), (B.shape[1], 1), (0, out.shape[0]), inner, (first, out.shape[1]), add)


@compiled
def product_nt(out, A, B, rows, first, add):
    """Rows of `A B^T`, summed over the features from `first` on, likewise."""
    _multiply(out, A, B, (A.shape[1], 1), (1, B.shape[1]), rows, (first, A.shape[1]), (0, B.shape[0]), add)


@njit(nogil=True, error_model="numpy", inline="always")
def _multiply(out, A, B, of_A, of_B, rows, inner, columns, add):
    """Two columns at a time, which share what they read of `A`; `of_A` and `of_B` are strides of rows and columns.

    Always inlined, so that each product knows which stride is 1.
    """
    width, wide, tall = out.shape[1], (columns[1] - columns[0]) % 2, (rows[1] - rows[0]) % 2
    for i in range(rows[0], rows[1] - 1, 2):
        for j in range(columns[0], columns[1] - 1, 2):
            at, below = i * width + j, (i + 1) * width + j
            one = load(out, at) if add else zeros(out)
            two = load(out, at + 1) if add else zeros(out)
            three = load(out, below) if add else zeros(out)
            four = load(out, below + 1) if add else zeros(out)
            for k in range(inner[0], inner[1]):
                upper = load(A, i * of_A[0] + k * of_A[1])
                lower = load(A, (i + 1) * of_A[0] + k * of_A[1])
                right = k * of_B[0] + j * of_B[1]
                first, second = load(B, right), load(B, right + of_B[1])
                one = fma(upper, first, one)
                two = fma(upper, second, two)
                three = fma(lower, first, three)
                four = fma(lower, second, four)
            store(out, at, one)
            store(out, at + 1, two)
            store(out, below, three)
            store(out, below + 1, four)
        if wide:
            j = columns[1] - 1
            at, below = i * width + j, (i + 1) * width + j
            one = load(out, at) if add else zeros(out)
            three = load(out, below) if add else zeros(out)
            for k in range(inner[0], inner[1]):
                first = load(B, k * of_B[0] + j * of_B[1])
                one = fma(load(A, i * of_A[0] + k * of_A[1]), first, one)
                three = fma(load(A, (i + 1) * of_A[0] + k * of_A[1]), first, three)
            store(out, at, one)
            store(out, below, three)
    if tall:
        i = rows[1] - 1
        for j in range(columns[0], columns[1]):
            at = i * width + j
            one = load(out, at) if add else zeros(out)
            for k in range(inner[0], inner[1]):
                one = fma(load(A, i * of_A[0] + k * of_A[1]), load(B, k * of_B[0] + j * of_B[1]), one)
            store(out, at, one)


@compiled
def gather(out, source, start):
    """Tasks from `start` on, of `(..., n)`; lanes beyond the last task become zero."""
    size, n = source.shape
    count = min(LANES, n - start)
    if count == LANES:
        for i in range(size):
            store(out, i, read(source, i * n + start))
        return
    flat = out.reshape((-1, LANES))
    for i in range(size):
        for t in range(count):
            flat[i, t] = source[i, start + t]
        for t in range(count, LANES):
            flat[i, t] = 0


@compiled
def spread(numbers):
    """The same numbers in all lanes."""
    out = np.empty((*numbers.shape, LANES), numbers.dtype)
    for i, number in enumerate(numbers.flat):
        store(out, i, splat(number))
    return out


@compiled
def collect(out, lanes):
    """Sums over lanes."""
    summed, flat = out.reshape(-1), lanes.reshape((-1, LANES))
    for i in range(len(summed)):
        total = flat[i, 0]
        for t in range(1, LANES):
            total += flat[i, t]
        summed[i] = total


@compiled
def clear(array):
    """Zero everywhere."""
    for i in range(array.size // LANES):
        store(array, i, zeros(array))
