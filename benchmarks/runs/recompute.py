"""What a row of `scores.csv` follows from: the losses of its tasks, or for a row of several seeds the rows of these."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from benchmarks.runs.cells import Row
from benchmarks.runs.schema import NAMED, Status
from benchmarks.statistics import HELD_TAIL_LIMIT, TAIL_LIMIT, Levels, summarise
from benchmarks.statistics.intervals import moments
from memformer.core.solver import Reach
from memformer.core.trace import Outcome

CELL = [*NAMED, "draw"]
"""Columns that name one solver on one law after one number of steps."""

OUTCOMES = [outcome.name.lower() for outcome in Outcome]

TRAINING = ["train_steps", "train_tasks", "train_flops", "starts", "starts_spread", "starts_near_best", "median_start"]
"""Columns of training, of which a row of several seeds has the mean."""

FIXED = {str(reach) for reach in Reach if reach.fixed}


def judged(row: Row) -> tuple[Status, str]:
    """Status and reason of a row by how its tasks ended: the worst of them, with how many tasks met it."""
    for outcome in (Outcome.NONFINITE, Outcome.DIVERGED, Outcome.BREAKDOWN):
        name = outcome.name.lower()
        if row[name]:
            return name, f"{row[name]} of {row['num_tasks']} tasks: {outcome.sentence}"  # type: ignore[return-value]
    return "ok", ""


def from_seeds(rows: Sequence[Row]) -> Row:
    """What a row of several seeds must say, by the rows of these: counts, means, gaps, training, and the status."""
    found: Row = {name: sum(row[name] for row in rows) for name in ("num_tasks", *OUTCOMES)}
    found["status"], found["reason"] = judged(found)
    found["log_mean"] = log_mean = _log_mean(rows, [row["log_mean"] for row in rows])
    shares = [row["num_tasks"] / max(found["num_tasks"], 1) for row in rows]
    means = [row["mean"] for row in rows]
    found["mean"] = None if None in means else float(np.dot(means, shares))
    for gap in ("gap_to_floor", "gap_to_bayes"):
        floors = [None if None in (row[gap], row["log_mean"]) else row["log_mean"] - row[gap] for row in rows]
        floor = _log_mean(rows, floors)
        found[gap] = None if floor is None or log_mean is None else log_mean - floor
    for name in TRAINING:
        values = [row[name] for row in rows]
        found[name] = None if None in values else float(np.mean(values))
    return found


def _log_mean(rows: Sequence[Row], logs: Sequence[float | None]) -> float | None:
    """Logarithm of the mean over all tasks of what has these logarithms a seed; None if one is not known."""
    known = [value for value in logs if value is not None]
    if len(known) < len(logs):
        return None
    weights = [math.log(max(row["num_tasks"], 1)) for row in rows]
    return float(np.logaddexp.reduce(np.add(known, weights)) - np.logaddexp.reduce(weights))


def from_losses(arrays: Sequence[NDArray[np.float32]], levels: Levels) -> dict[str, float | None]:
    """Location of losses with its interval (see `benchmarks.statistics.Summary`), by arrays as they are stored."""
    wide = [array.astype(np.float64) for array in arrays]
    losses = [array[0] if array.ndim == 2 else array for array in wide]
    weights = [array[1] for array in wide if array.ndim == 2]
    with np.errstate(all="ignore"):
        found = vars(summarise(losses, levels, weights or None))
    return {name: value if math.isfinite(value) else None for name, value in found.items()}


def tail_by_losses(arrays: Sequence[NDArray[np.float32]], reach: str) -> tuple[float, float]:
    """Skewness of the mean of losses, and the limit above which few tasks carry it."""
    losses = [(array[0] if array.ndim == 2 else array).astype(np.float64) for array in arrays]
    weighted = arrays[0].ndim == 2
    scale = float(np.concatenate(losses).mean()) or 1.0
    skewness = float(abs(moments([values / scale for values in losses]).skewness))
    return skewness, HELD_TAIL_LIMIT if weighted and reach in FIXED else TAIL_LIMIT
