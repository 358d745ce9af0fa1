"""Vectors of `LANES` numbers inside functions that numba compiles, one task a lane.

Left to itself the compiler does not know that arrays do not overlap, and keeps sums in memory instead of registers.
These few operations say what is meant: arrays are C-contiguous, their last dimension is `LANES`, and an index counts
whole vectors.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import extending, njit, types

LANES = 16

compiled = njit(nogil=True, error_model="numpy")
kept_on_disk = njit(cache=True, nogil=True, error_model="numpy")
"""For functions that Python calls. Their file decides whether they are compiled anew, not those that they call."""


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
def load(typing: Any, array: Any, index: types.Integer):
    """Vector number `index` of an array."""
    vector = _Vector(array.dtype)

    def generate(context: Any, builder: Any, signature: Any, given: Any):
        start = builder.mul(given[1], ir.Constant(given[1].type, LANES))
        return builder.load(_pointer(context, builder, signature, given[0], start), align=array.dtype.bitwidth // 8)

    return vector(array, types.intp), generate


@intrinsic
def read(typing: Any, array: Any, start: types.Integer):
    """The `LANES` numbers of any C-contiguous array that begin with number `start`."""
    vector = _Vector(array.dtype)

    def generate(context: Any, builder: Any, signature: Any, given: Any):
        return builder.load(_pointer(context, builder, signature, *given), align=array.dtype.bitwidth // 8)

    return vector(array, types.intp), generate


@intrinsic
def store(typing: Any, array: Any, index: types.Integer, vector: _Vector):
    """Write vector number `index` of an array."""

    def generate(context: Any, builder: Any, signature: Any, given: Any):
        start = builder.mul(given[1], ir.Constant(given[1].type, LANES))
        pointer = _pointer(context, builder, signature, given[0], start)
        builder.store(given[2], pointer, align=array.dtype.bitwidth // 8)
        return context.get_dummy_value()

    return types.void(array, types.intp, vector), generate


@intrinsic
def fma(typing: Any, a: _Vector, b: _Vector, c: _Vector):
    """`a * b + c`, in one operation where the machine has it."""

    def generate(context: Any, builder: Any, signature: Any, given: Any):
        product = builder.fmul(given[0], given[1], flags=["contract"])
        return builder.fadd(product, given[2], flags=["contract"])

    return a(a, b, c), generate


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


def _pointer(context: Any, builder: Any, signature: Any, array: Any, start: Any) -> Any:
    kind = signature.args[0]
    first = builder.gep(context.make_array(kind)(context, builder, array).data, [start])
    return builder.bitcast(first, context.get_value_type(_Vector(kind.dtype)).as_pointer())
