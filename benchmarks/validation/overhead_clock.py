"""Seconds, and processor seconds, that parts of a program take."""

from __future__ import annotations

import os
import time
from contextlib import ContextDecorator


class Clock(ContextDecorator):
    """What has passed inside the functions and blocks that it decorates.

    Attributes:
        seconds: by the clock on the wall.
        processor: of this process, and of others that it began there and waited for.

    Example:
        >>> clock = Clock()
        >>> with clock:
        ...     _ = sum(range(100_000))
        >>> clock.seconds > 0, clock.processor > 0
        (True, True)
    """

    seconds, processor = 0.0, 0.0

    def __enter__(self) -> Clock:
        self._began, self._worked = time.perf_counter(), _worked()
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds += time.perf_counter() - self._began
        self.processor += _worked() - self._worked


def _worked() -> float:
    times = os.times()
    return time.process_time() + times.children_user + times.children_system
