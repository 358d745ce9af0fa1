"""Gaps: how far a loss lies above its floor, and the alarm if it lies below."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.harness.cell import Cell
from benchmarks.harness.scores.floors import FloorKey, bayes_losses, describe_floor, floor_losses
from benchmarks.statistics import Levels, log_ratio_interval, tail_limited
from memformer.core.solver import Reach

ALARM_TOLERANCE = 0.02
"""A log loss whose interval ends less than this below its floor raises no alarm."""

TAIL_TOLERANCE = 0.25
"""The same where few tasks carry the difference: the floor's coefficients guard against rare tasks that a sample of
thousands need not hold, and a method that does not is then below it by up to 0.1. Not granted under `transductive`,
where the fit to the scored tasks, and not their rarity, is the likely reason."""

Losses = NDArray[np.float64]


@dataclass(frozen=True)
class Gap:
    """Log ratio of a mean loss to its floor's on the same tasks, paired 95 % interval, and the alarm; nan: no floor.

    The attributes are columns of `benchmarks.runs.schema.ScoreRow`.
    """

    floor: str = ""
    floor_exact: bool | None = None
    floor_error: float = float("nan")

    gap_to_floor: float = float("nan")
    gap_low: float = float("nan")
    gap_high: float = float("nan")
    gap_to_bayes: float = float("nan")
    alarm: str = ""


def judge_gap(
    cell: Cell, reach: Reach, steps: int, metric: str, losses: Mapping[int, Losses], levels: Levels = "tasks"
) -> Gap:
    """The gap of a cell after a number of steps.

    Args:
        cell: law and tasks.
        reach: class of the solver as it was scored (adaptation may have changed it); decides the floor.
        steps: number of steps.
        metric: id of the metric.
        losses: per-task losses `(tasks,)` by seed, times their weights if they have any.
        levels: what the interval of the gap holds random.

    Returns:
        The gap, with an alarm where the loss is below the floor of its class beyond chance in the tasks. No chance in
        the fit excuses that: the floor bounds whatever was fitted.
    """
    if not all(np.isfinite(values).all() for values in losses.values()):
        return Gap()
    keys = [
        FloorKey(cell.law, seed, cell.tasks, max(cell.steps), cell.dtype, cell.device, cell.draw) for seed in losses
    ]
    floors = [floor_losses(key, reach, metric) for key in keys]
    bayes = [bayes_losses(key, metric) for key in keys]
    to_bayes = _log_ratio(losses, bayes, steps, "tasks")[0]
    estimate, low, high = _log_ratio(losses, floors, steps, levels)
    if not np.isfinite(estimate):
        return Gap(gap_to_bayes=to_bayes)
    name, exact, error = describe_floor(keys[0], reach, steps)
    tail = cell.protocol != "transductive" and _carried_by_few(losses, floors, steps)
    within = high if levels == "tasks" else _log_ratio(losses, floors, steps, "tasks")[2]
    alarm = _alarm(estimate, within, TAIL_TOLERANCE if tail else ALARM_TOLERANCE)
    return Gap(name, exact, error, estimate, low, high, to_bayes, alarm)


def _log_ratio(
    losses: Mapping[int, Losses], floors: list[Losses | None], steps: int, levels: Levels
) -> tuple[float, float, float]:
    known = [floor[steps] for floor in floors if floor is not None]
    if len(known) < len(floors) or np.concatenate(known).mean() < np.finfo(np.float64).eps ** 1.5:
        return float("nan"), float("nan"), float("nan")  # no floor, or one that is 0 but for rounding
    return log_ratio_interval(list(losses.values()), known, levels)


def _carried_by_few(losses: Mapping[int, Losses], floors: list[Losses | None], steps: int) -> bool:
    """Whether few tasks carry the losses, the floor's, or the difference of the two."""
    pairs = [(mine, floor[steps]) for mine, floor in zip(losses.values(), floors, strict=True) if floor is not None]
    samples = ([mine for mine, _ in pairs], [floor for _, floor in pairs], [mine - floor for mine, floor in pairs])
    return bool(pairs) and any(tail_limited(sample) for sample in samples)


def _alarm(estimate: float, high: float, tolerance: float) -> str:
    if high < -tolerance:
        return f"below the floor of its class by {-estimate:.3f}: leakage, or a richer class"
    return ""
