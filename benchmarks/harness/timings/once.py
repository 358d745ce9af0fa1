"""The time of one call."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

from benchmarks.harness.devices import synchronise
from memformer.core.problem import Problem


def time_once(call: Callable[[Problem], object], problem: Problem) -> float:
    """Seconds that one call takes on a problem whose moments nobody has computed yet.

    On a CUDA device they are those between two events in its stream, elsewhere wall-clock time, device synchronised.
    """
    fresh = problem.blinded()
    synchronise(problem.device)
    if problem.device.type == "cuda":
        with torch.cuda.device(problem.device):
            begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            begin.record()
            call(fresh)
            end.record()
            end.synchronize()
            return begin.elapsed_time(end) / 1000
    start = time.perf_counter()
    call(fresh)
    synchronise(problem.device)
    return time.perf_counter() - start


@contextmanager
def no_collection() -> Iterator[None]:
    """No garbage collection inside a measurement; what the last one left is collected before."""
    gc.collect(1)  # all that is young: everything would be a tenth of a second, a thousand times a run
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
