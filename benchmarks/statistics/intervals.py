"""95 % intervals for the mean of heavy-tailed per-task values.

The calibration study (`benchmarks/validation/calibration.py`) compares them with resampling. `hall` is the default for
losses: together with the studentised bootstrap it covers best at every sample size studied, and it needs no resampling.
`cautious` is for paired differences, whose tails may lie on either side: where they are heavy and symmetric `hall`
covers too little, where they are skewed `normal` does, and their union holds in both cases.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from scipy.special import ndtri, stdtrit

from benchmarks.statistics.sample import Array, SampleMoments, moments

LEVEL = 0.95
"""Coverage that every interval aims at."""

DEFAULT_METHOD = "hall"
"""Method of every interval that does not say otherwise."""

TAIL_LIMIT = 0.1
"""Skewness of the sample mean (sample skewness / √n) above which an interval is marked as limited by its tail: beyond
it, samples lack the tasks that carry the mean, and their own skewness with them."""

HELD_TAIL_LIMIT = 0.5
"""The same for a sample that holds the tasks of the tail: methods with fixed coefficients, tasks drawn by importance
sampling. There Hall's interval covers 95 % up to this skewness; beyond it, its correction is no longer small."""

Z = float(ndtri((1 + LEVEL) / 2))
"""A Gaussian lies between ±Z with that probability: 1.96."""

FEW = 30
"""Values below which Student's t takes the Gaussian's place."""

Ends = tuple[Any, Any]
"""Lower and upper end of an interval, numbers or arrays `(...)`."""


def corrected(t: Any, c: Any) -> Any:
    """Hall's transformation of `t = (mean - value) / se`, `c` the skewness of the mean; numbers or arrays."""
    return t + c * t * t / 3 + c * c * t * t * t / 27 + c / 6


def hall_z(sample: SampleMoments, value: float = 0.0) -> Any:
    """Skewness-corrected z of the hypothesis that the mean is `value`; standard normal under it to second order.

    With `T = (mean - value) / se` and `c = skew/√n`: `z = T + c T²/3 + c² T³/27 + c/6`, monotone in T. For a sample
    without any spread it is 0 or infinite.

    Source: P. Hall, "On the removal of skewness by transformation", J. R. Stat. Soc. B 54 (1992) 221-228.

    Example:
        >>> float(hall_z(SampleMoments(count=4, mean=3.0, variance=4.0, third=0.0), value=1.0))
        2.0
    """
    shift, error, c = sample.mean - value, sample.standard_error, sample.skewness
    t = np.where(error > 0, shift / np.where(error > 0, error, 1.0), 0.0)
    return np.where(error > 0, corrected(t, c), np.where(shift == 0, 0.0, np.copysign(np.inf, shift)))


def level_z(count: int, groups: int) -> float:
    """What a standardised mean does not exceed at the level: 1.96, with few values Student's, and nan with too few.

    Example:
        >>> round(level_z(1000, 3), 2), round(level_z(4, 1), 2), level_z(3, 3)
        (1.96, 3.18, nan)
    """
    freedom = count - groups
    if freedom < 1:
        return math.nan
    return Z if count >= FEW else float(stdtrit(freedom, (1 + LEVEL) / 2))


def hall(strata: Sequence[Array]) -> Ends:
    """The values of the mean with `|hall_z| <= 1.96`."""
    sample, limit = moments(strata), level_z(sum(map(len, strata)), len(strata))
    c = sample.skewness
    nonzero = np.where(np.abs(c) < 1e-9, 1e-9, c)

    def inverse(z: float) -> Any:
        return 3 / nonzero * (np.cbrt(1 + nonzero * (z - nonzero / 6)) - 1)

    return sample.mean - inverse(limit) * sample.standard_error, sample.mean - inverse(-limit) * sample.standard_error


def normal(strata: Sequence[Array]) -> Ends:
    """`mean ± 1.96 se`."""
    sample, limit = moments(strata), level_z(sum(map(len, strata)), len(strata))
    return sample.mean - limit * sample.standard_error, sample.mean + limit * sample.standard_error


def cautious(strata: Sequence[Array]) -> Ends:
    """Union of `hall` and `normal`: the values of the mean that `cautious_z` does not reject."""
    skewed, plain = hall(strata), normal(strata)
    return np.minimum(skewed[0], plain[0]), np.maximum(skewed[1], plain[1])


def cautious_z(sample: SampleMoments, value: float = 0.0) -> Any:
    """Of `hall_z` and the plain `(mean - value) / se` the one nearer to 0; 0 if their signs differ.

    Example:
        >>> float(cautious_z(SampleMoments(count=4, mean=3.0, variance=4.0, third=4.0)))
        3.0
    """
    skewed, plain = hall_z(sample, value), hall_z(replace(sample, third=0.0), value)
    nearer = np.where(np.abs(skewed) < np.abs(plain), skewed, plain)
    return np.where(skewed * plain > 0, nearer, 0.0)


def cautious_z_of_one(count: int, mean: float, variance: float, third: float) -> float:
    """`cautious_z` of the moments of one sample, in plain numbers: a search for a root asks for it again and again.

    Example:
        >>> cautious_z_of_one(count=4, mean=3.0, variance=4.0, third=4.0)
        3.0
    """
    error, cube = math.sqrt(variance / count), variance**1.5
    if error == 0:
        return 0.0 if mean == 0 else math.copysign(math.inf, mean)
    plain = mean / error
    skewed = corrected(plain, third / cube / math.sqrt(count) if cube > 0 else 0.0)
    if not skewed * plain > 0:
        return 0.0
    return skewed if abs(skewed) < abs(plain) else plain


METHODS: dict[str, Callable[[Sequence[Array]], Ends]] = {"hall": hall, "cautious": cautious, "normal": normal}
"""The methods that results use, and `normal`. Each takes strata `[(tasks, ...), ...]` and gives both ends `(...)`."""


def mean_interval(strata: Sequence[Array], method: str = DEFAULT_METHOD) -> tuple[float, float]:
    """95 % interval of the mean over tasks.

    Args:
        strata: one array `(tasks,)` of finite values for each seed.
        method: one of `METHODS`.

    Returns:
        Lower and upper end.

    Example:
        >>> low, high = mean_interval([np.random.default_rng(0).exponential(size=1000)])
        >>> low < 1 < high
        True
    """
    low, high = METHODS[method](strata)
    return float(low), float(high)


def tail_limited(strata: Sequence[Array], limit: float = TAIL_LIMIT) -> bool:
    """Whether so few tasks carry the mean that no interval of it can be trusted.

    Args:
        strata: one array `(tasks,)` of finite values for each seed.
        limit: `TAIL_LIMIT`, or `HELD_TAIL_LIMIT` where that applies.

    Example:
        >>> tail_limited([np.r_[np.ones(999), 1e6]]), tail_limited([np.random.default_rng(0).normal(size=999)])
        (True, False)
    """
    return bool(abs(moments(strata).skewness) > limit)
