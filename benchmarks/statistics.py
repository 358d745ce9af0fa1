"""Statistics of per-task losses: location, trimmed location, and bootstrap intervals. Reads arrays, nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import stats

RESAMPLES = 1000
"""Bootstrap resamples behind every interval."""

LEVEL = 0.95
"""Coverage of every interval."""

TRIM = 0.01
"""Share of tasks cut from each end for the trimmed mean."""

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Summary:
    """Location of the losses of one cell, natural logarithm where it says log; nan where it is undefined.

    Attributes:
        mean: arithmetic mean over tasks, in units of y squared.
        log_mean: its natural logarithm, the figure of merit.
        log_low: lower end of the 95 % bootstrap interval of `log_mean` over tasks.
        log_high: upper end.
        median: median over tasks.
        trimmed_mean: mean without the lowest and the highest 1 % of the tasks.
    """

    mean: float
    log_mean: float
    log_low: float
    log_high: float
    median: float
    trimmed_mean: float


def summarise(strata: list[Array]) -> Summary:
    """Summary of the losses of one cell.

    Args:
        strata: one array `(tasks,)` of per-task losses for each seed; a task without a finite answer is nan.

    Returns:
        The summary. One task without an answer leaves mean and interval undefined (nan), never a number; the
        median and the trimmed mean count it as an infinite loss.

    Example:
        >>> summarise([np.ones(10), np.ones(10)]).log_mean
        0.0
    """
    losses = np.concatenate(strata)
    worst = np.where(np.isfinite(losses), losses, np.inf)
    median, trimmed = _finite(np.median(worst)), _finite(stats.trim_mean(worst, TRIM))
    if not np.isfinite(losses).all():
        return Summary(np.nan, np.nan, np.nan, np.nan, median, trimmed)
    mean = float(losses.mean())
    low, high = np.quantile(bootstrap_means(strata), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Summary(mean, _log(mean), _log(low), _log(high), median, trimmed)


def bootstrap_means(strata: list[Array]) -> Array:
    """Bootstrap replicates of the pooled mean, tasks resampled within each stratum.

    The resamples depend only on the sizes of the strata: all solvers of a law are resampled alike, so that
    differences of their replicates are paired replicates of the difference.

    Returns:
        `(RESAMPLES,)`.
    """
    total = sum(len(losses) for losses in strata)
    return np.sum([_weights(len(losses), index) @ losses for index, losses in enumerate(strata)], axis=0) / total


@lru_cache(maxsize=8)
def _weights(count: int, stratum: int) -> NDArray[np.float32]:
    """How often each of `count` tasks occurs in each resample: `(RESAMPLES, count)`."""
    generator = np.random.default_rng([20241007, stratum, count])
    uniform = np.full(count, 1 / count)
    return generator.multinomial(count, uniform, size=RESAMPLES).astype(np.float32)


def _log(value: float) -> float:
    """Natural logarithm; of an exact zero, that of the least positive number."""
    return float(np.log(max(value, np.finfo(np.float64).tiny)))


def _finite(value: float) -> float:
    return float(value) if np.isfinite(value) else float("nan")
