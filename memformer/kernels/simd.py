"""Vectors of `LANES` numbers inside functions that numba compiles, one task a lane.

Left to itself the compiler does not know that arrays do not overlap, and keeps sums in memory instead of registers.
The first few operations here say what is meant. Below them is how tasks come into lanes, and out of them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import extending, types

from memformer.kernels.kept_numba import compiled

LANES = 16

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
def clear(array):
    """Zero everywhere."""
    for i in range(array.size // LANES):
        store(array, i, zeros(array))


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
def gather_rows(out, source, start, count):
    """Rows `start, ...` of `source` `(B, size)` into the lanes of `out` `(size, LANES)`."""
    if count == LANES:
        for i in range(len(out)):
            for t in range(LANES):
                out[i, t] = source[start + t, i]
        return
    clear(out)
    for t in range(count):
        for i in range(len(out)):
            out[i, t] = source[start + t, i]


@compiled
def put(out, vector, start, count):
    """The lanes of a vector into numbers `start, ...` of `out` `(B,)`."""
    lanes = np.empty((1, LANES), out.dtype)
    store(lanes, 0, vector)
    for t in range(count):
        out[start + t] = lanes[0, t]


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
