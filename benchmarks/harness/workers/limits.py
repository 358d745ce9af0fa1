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


class TimeLimitExceeded(Exception):
    """A cell ran past its time limit."""


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise `TimeLimitExceeded` in the body once `seconds` have passed.

    A timer signal interrupts the body between two Python instructions. Where there is no such signal
    (another thread than the main one, Windows), the body runs to its end and is judged then.
    """

    def exceed(*_: object) -> None:
        raise TimeLimitExceeded(f"ran past its time limit of {seconds:g} s")

    start = time.perf_counter()
    if not hasattr(signal, "SIGALRM") or threading.current_thread() is not threading.main_thread():
        yield
        if time.perf_counter() - start > seconds:
            exceed()
        return
    previous = signal.signal(signal.SIGALRM, exceed)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)


@contextmanager
def pinned_threads(threads: int) -> Iterator[None]:
    """Every library on that many CPU threads: torch, and the BLAS of NumPy and SciPy."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with _libraries(len(sys.modules)).limit(limits=threads):
            yield
    finally:
        torch.set_num_threads(before)


@lru_cache(maxsize=1)
def _libraries(modules: int) -> ThreadpoolController:
    """The loaded libraries that have threads, looked up again once more modules are loaded: it takes milliseconds."""
    return ThreadpoolController()
