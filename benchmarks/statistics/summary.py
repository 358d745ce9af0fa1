"""Location of the losses of one cell: mean with its interval, median, trimmed mean, upper quantiles."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.statistics.intervals import mean_interval
from benchmarks.statistics.sample import Array, Sample
from benchmarks.statistics.seed_levels import Levels, two_level_interval
from benchmarks.statistics.weighted import weighted_quantile, weighted_trimmed_mean

TRIM = 0.01
"""Share of tasks cut from each end for the trimmed mean."""


@dataclass(frozen=True)
class Summary:
    """Location of the losses of one cell, natural logarithm where it says log; nan where it is undefined.

    Attributes:
        mean: arithmetic mean over tasks, in units of y squared.
        log_mean: its natural logarithm, the figure of merit.
        log_low: lower end of the 95 % interval of `log_mean` over tasks (or over tasks and seeds).
        log_high: upper end.
        median: median over tasks.
        trimmed_mean: mean without the lowest and the highest 1 % of the tasks.
        q90, q99: upper quantiles over tasks.
    """

    mean: float
    log_mean: float
    log_low: float
    log_high: float
    median: float
    trimmed_mean: float
    q90: float
    q99: float


def summarise(strata: Sequence[Array], levels: Levels = "tasks", weights: Sequence[Array] | None = None) -> Summary:
    """Summary of the losses of one cell.

    Args:
        strata: one array `(tasks,)` of per-task losses for each seed; a task without a finite answer is nan.
        levels: what the interval holds random: `tasks` alone, or `seeds_and_tasks` for a solver whose parameters
            were learned anew under each seed (with one seed there is only the first).
        weights: of the tasks, one array `(tasks,)` for each seed, where they were drawn by importance sampling; the
            losses are then weight times loss.

    Returns:
        The summary. One task without an answer leaves mean and interval undefined (nan), never a number; the
        median, the trimmed mean and the quantiles count it as an infinite loss.

    Example:
        >>> summarise([np.ones(10), np.ones(10)]).log_mean
        0.0
    """
    sample = Sample.of(strata)
    worst = np.concatenate(sample)
    if not sample.finite:
        worst[~np.isfinite(worst)] = np.inf
    found = _location(worst) if weights is None else _weighted_location(worst, np.concatenate(list(weights)))
    location = {name: _finite(value) for name, value in found.items()}
    if not sample.finite:
        return Summary(np.nan, np.nan, np.nan, np.nan, **location)
    mean, log_mean = sample.mean, _log(sample.mean)
    if mean <= 0:
        return Summary(mean, log_mean, log_mean, log_mean, **location)
    # Scaled to mean 1, the cubes of losses near the least positive number do not underflow.
    scaled = [values / mean for values in strata]
    if levels == "seeds_and_tasks" and len(strata) > 1:
        low, high = two_level_interval(scaled)
    else:
        low, high = (_log(end) for end in mean_interval(scaled))
    return Summary(mean, log_mean, log_mean + low, log_mean + high, **location)


def _location(losses: Array) -> dict[str, float]:
    """Median, trimmed mean and upper quantiles."""
    count = len(losses)
    cut, middle = int(TRIM * count), [(count - 1) // 2, count // 2]
    upper = {"q90": _place(count, 0.9), "q99": _place(count, 0.99)}
    losses.partition([*middle, *upper.values(), cut, count - cut - 1])  # one pass for all of them
    location = {"median": losses[middle].mean(), "trimmed_mean": losses[cut : count - cut].mean()}
    return {**location, **{name: losses[place] for name, place in upper.items()}}


def _weighted_location(weighted: Array, weights: Array) -> dict[str, float]:
    """The same of the law, from weight times loss of each task."""
    losses = weighted / weights
    order = np.argsort(losses)
    losses, weights = losses[order], weights[order]
    quantiles = {"median": 0.5, "q90": 0.9, "q99": 0.99}
    found = {name: weighted_quantile(losses, weights, probability) for name, probability in quantiles.items()}
    return {**found, "trimmed_mean": weighted_trimmed_mean(losses, weights, TRIM)}


def _place(count: int, probability: float) -> int:
    """Where a quantile stands among so many ascending values: no interpolation, the higher one (NumPy's `higher`)."""
    return math.ceil((count - 1) * probability)


def _log(value: float) -> float:
    """Natural logarithm; of an exact zero, that of the least positive number."""
    return float(np.log(max(value, sys.float_info.min)))


def _finite(value: float) -> float:
    return float(value) if math.isfinite(value) else math.nan
