"""Limits on a piece of Python: seconds, and threads."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache

import torch
from threadpoolctl import ThreadpoolController

from benchmarks.harness.devices import full_precision

AGAIN = 0.5
"""Seconds after which what ignored its time limit is told again."""


class TimeLimitExceeded(BaseException):
    """A cell ran past its time limit; no `Exception`, which solvers are free to catch."""


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise `TimeLimitExceeded` in the body once `seconds` have passed.

    A timer signal interrupts the body between two Python instructions, again and again. Where there is no such signal
    (another thread than the main one, Windows), or the body catches whatever is raised, it runs to its end and is
    judged then.
    """

    def exceed(*_: object) -> None:
        raise TimeLimitExceeded(f"ran past its time limit of {seconds:g} s")

    start = time.perf_counter()
    timer = hasattr(signal, "SIGALRM") and threading.current_thread() is threading.main_thread()
    previous = signal.signal(signal.SIGALRM, exceed) if timer else None
    if timer:
        signal.setitimer(signal.ITIMER_REAL, seconds, AGAIN)
    try:
        yield
    except Exception:
        if time.perf_counter() - start <= seconds:
            raise
    finally:
        if timer:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, previous)
    if time.perf_counter() - start > seconds:
        exceed()


@contextmanager
def pinned_threads(threads: int) -> Iterator[None]:
    """Every library on that many CPU threads, torch and the BLAS of NumPy and SciPy; and products in full precision."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with full_precision(), _libraries(len(sys.modules)).limit(limits=threads):
            yield
    finally:
        torch.set_num_threads(before)


@lru_cache(maxsize=1)
def _libraries(modules: int) -> ThreadpoolController:
    """The loaded libraries that have threads, looked up again once more modules are loaded: it takes milliseconds."""
    return ThreadpoolController()
