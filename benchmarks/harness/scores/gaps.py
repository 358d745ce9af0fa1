"""Gaps: how far a loss lies above its floor, and the alarm if it lies below."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import stats

from benchmarks.harness.cell import Cell
from benchmarks.harness.scores.floors import FloorKey, bayes_losses, describe_floor, floor_losses
from benchmarks.statistics import Levels, log_ratio, log_ratio_interval, tail_limited
from benchmarks.statistics.sample import Sample
from memformer.core.solver import Reach

ALARM_TOLERANCE = 0.02
"""A log loss whose interval ends less than this below its floor raises no alarm."""

TAIL_TOLERANCE = 0.5
"""The same where few tasks carry the difference in a plain draw: the floor guards against rare tasks that a sample of
thousands need not hold, and honest coefficients that do not are then below it, by up to 0.33 in six steps. Not granted
to draws by importance sampling, which hold these tasks; nor under `transductive`, where the fit to the scored tasks,
and not their rarity, is the likely reason."""

NEARLY_ALL = 0.99
"""Nor is it granted to what is below the floor on this share of tasks. Honest coefficients were so on
96 % at most (fitted on 1,000 tasks, N = 80, d = 20, 8 steps)."""

FRESH_LEVEL = 1e-6
"""Where no floor is known, the p-value of "no better on the scored tasks than on new ones" that raises the alarm."""

ROUNDING = 1.5
"""A mean loss below this power of the unit of rounding is 0 but for rounding."""

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
    cell: Cell,
    reach: Reach,
    steps: int,
    metric: str,
    losses: Mapping[int, Losses],
    levels: Levels = "tasks",
    fresh: Mapping[int, Losses] | None = None,
    sample: Sample | None = None,
) -> Gap:
    """The gap of a cell after a number of steps.

    Args:
        cell: law and tasks.
        reach: class of the solver as it was scored (adaptation may have changed it); decides the floor.
        steps: number of steps.
        metric: id of the metric.
        losses: per-task losses `(tasks,)` by seed, times their weights if they have any.
        levels: what the interval of the gap holds random.
        fresh: the same on new tasks, if they were solved.
        sample: `losses` with the sums that other statistics have taken of them.

    Returns:
        The gap, with an alarm where the loss is below the floor of its class beyond chance in the tasks. No chance in
        the fit excuses that: the floor bounds whatever was fitted. Without a floor, the alarm is raised where the
        solver is better on the scored tasks than on new ones.
    """
    mine = sample or Sample(losses.values())
    if not mine.finite:
        return Gap()
    place = (cell.tasks, max(cell.steps), cell.dtype, cell.device, cell.draw)
    keys = tuple(FloorKey(cell.law, seed, *place) for seed in losses)
    best = _known(best_losses(keys, None, metric, steps), cell.dtype)
    to_bayes = float("nan") if best is None else log_ratio(mine, best)
    floor = _known(best_losses(keys, reach, metric, steps), cell.dtype)
    if floor is None:
        return Gap(gap_to_bayes=to_bayes, alarm=_known_tasks(losses, fresh))
    estimate, low, high = log_ratio_interval(mine, floor, levels)
    if not np.isfinite(estimate):
        return Gap(gap_to_bayes=to_bayes, alarm=_known_tasks(losses, fresh))
    name, exact, error = describe_floor(keys[0], reach, steps)
    within = high if levels == "tasks" else log_ratio_interval(mine, floor, "tasks")[2]
    tolerance = ALARM_TOLERANCE
    if cell.protocol != "transductive" and cell.draw == "plain" and _carried_by_few(mine, floor):
        share_below = np.mean(np.concatenate([loss < least for loss, least in zip(mine, floor, strict=True)]))
        tolerance = TAIL_TOLERANCE if share_below < NEARLY_ALL else ALARM_TOLERANCE
    if not exact and not np.isnan(error):
        tolerance += float(np.log1p(error))  # an estimated floor lies above the true one
    below = f"below the floor of its class by {-estimate:.3f}: leakage, or a richer class"
    alarm = below if within < -tolerance else ""
    return Gap(name, exact, error, estimate, low, high, to_bayes, alarm)


@lru_cache(maxsize=256)
def best_losses(keys: tuple[FloorKey, ...], reach: Reach | None, metric: str, steps: int) -> Sample | None:
    """Losses of the floor of a class, or of the Bayes estimate (None), under each seed: the same for every solver.

    Returns:
        The losses, with the sums that gaps have taken of them; None if a seed has none.
    """
    first, *others = keys
    if others:
        parts = [best_losses((key,), reach, metric, steps) for key in keys]
        known = [part for part in parts if part is not None]
        return Sample.joined(known) if len(known) == len(parts) else None
    losses = bayes_losses(first, metric) if reach is None else floor_losses(first, reach, metric)
    return None if losses is None else Sample([losses[steps]])


def _known(best: Sample | None, dtype: torch.dtype) -> Sample | None:
    """None in place of losses that are 0 but for rounding."""
    return None if best is None or best.mean < torch.finfo(dtype).eps ** ROUNDING else best


def _carried_by_few(losses: Sample, floor: Sample) -> bool:
    """Whether few tasks carry the losses, the floor's, or the difference of the two."""
    return tail_limited(losses) or tail_limited(floor) or tail_limited(losses.less(floor))


def _known_tasks(losses: Mapping[int, Losses], fresh: Mapping[int, Losses] | None) -> str:
    """The alarm of a solver without a floor, by the ranks of its losses on scored and on new tasks.

    Means would be compared by few tasks; and what it scores on a law, it scores on new tasks of the law.

    Source: Mann & Whitney, Ann. Math. Stat. 18 (1947) 50-60.
    """
    if not fresh:
        return ""
    scored, new = (np.concatenate(list(part.values())) for part in (losses, fresh))
    if not np.isfinite(new).all() or not stats.mannwhitneyu(scored, new, alternative="less").pvalue < FRESH_LEVEL:
        return ""
    by = float(np.log(np.median(new)) - np.log(np.median(scored))) if np.median(scored) > 0 else np.inf
    return f"better on the scored tasks than on new ones, in the median by {by:.3f}: leakage"
