"""How functions are compiled by numba, and kept on disk."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from types import FunctionType
from typing import Any

from numba import njit

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
    """Of a function, and of all that is compiled into others and known where it is written."""
    file = function.__code__.co_filename
    if file in found:
        return found
    found |= {file}
    for other in function.__globals__.values():
        inner = getattr(other, "__wrapped__", None)  # of a compiled function, or of an operation as LLVM has it
        if isinstance(inner, FunctionType):
            found = _files(inner, found)
    return found


def _kept(function: Callable[..., None], name: str) -> Any:
    renamed = FunctionType(function.__code__, function.__globals__, function.__name__, function.__defaults__)
    renamed.__qualname__ = name
    try:
        return njit(cache=True, nogil=True, error_model="numpy")(renamed)
    except RuntimeError:  # there is no folder to write to
        return njit(nogil=True, error_model="numpy")(renamed)
