"""Times of alternatives that are measured in turn, so that whatever else the machine does falls on all of them."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

Calls = Mapping[str, Callable[[], Tensor]]


def interleaved(calls: Calls, rounds: int) -> dict[str, float]:
    """Median milliseconds of each call: every round runs all of them for about 30 ms each, or once."""
    runs = {name: max(1, round(0.03 / min(_seconds(call, 3) for _ in range(2)))) for name, call in calls.items()}
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            times[name].append(1e3 * _seconds(call, runs[name]))
    return {name: statistics.median(values) for name, values in times.items()}


def _seconds(call: Callable[[], Tensor], runs: int) -> float:
    """Mean wall-clock time of one of `runs` calls."""
    began = time.perf_counter()
    for _ in range(runs - 1):
        call()
    if call().device.type == "cuda":
        torch.cuda.synchronize()
    return (time.perf_counter() - began) / runs
