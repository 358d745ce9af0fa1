"""When each solver first meets each target on each task: what ECDFs and performance profiles count."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from benchmarks.reports.comparison import SolverLosses

Array = NDArray[np.float64]


def first_hits(entry: SolverLosses, targets: list[float]) -> Array:
    """Fewest steps after which a task's loss is at most a target, inf where it never is.

    Args:
        entry: a solver; a learned one is another model at each number of steps, and the first that hits counts.
        targets: losses.

    Returns:
        `(targets, tasks)`.
    """
    tasks = len(entry.sample(min(entry.losses)))
    hits = np.full((len(targets), tasks), np.inf)
    for steps in sorted(entry.losses, reverse=True):
        losses = entry.sample(steps)
        for row, target in zip(hits, targets, strict=True):
            row[losses <= target * (1 + 1e-9)] = steps
    return hits


def in_seconds(entry: SolverLosses, hits: Array) -> Array:
    """Steps as warm time a task, in seconds; inf where a number of steps was not timed."""
    seconds = np.full(hits.shape, np.inf)
    for steps, value in entry.seconds.items():
        seconds[hits == steps] = value
    return seconds
