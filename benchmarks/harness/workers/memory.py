"""Memory that a process frees and will need again: whether it goes back to the system in between."""

from __future__ import annotations

import ctypes
import sys
from functools import cache
from typing import Any

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4
"""Numbers of glibc's malloc.h."""

_MOST = 2**31 - 1


def keep_freed_memory() -> None:
    """Let this process keep what it frees, for its next tensors, where the C library is glibc.

    By default each large tensor is mapped anew, and the kernel fills every page of it with zeros when it is first
    written: in a pass of learned methods that was a third of the time.
    """
    library = _glibc()
    if library is not None:
        library.mallopt(_MMAP_MAX, 0)
        library.mallopt(_TRIM_THRESHOLD, _MOST)


def give_back() -> None:
    """Give the system what has been freed, where the C library is glibc."""
    library = _glibc()
    if library is not None:
        library.malloc_trim(0)


@cache
def _glibc() -> Any:
    """The C library of this process; None where it is another one."""
    if sys.platform != "linux":
        return None
    library = ctypes.CDLL(None)
    return library if all(hasattr(library, name) for name in ("mallopt", "malloc_trim")) else None
