"""A time limit on a piece of Python."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager


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
