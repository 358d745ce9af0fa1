"""Intervals that the calibration study compares with those in use: by bootstrap, and too narrow or too slow.

Resamples are shared: solvers of one law are resampled alike, so that their differences are paired.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from scipy.special import ndtr, ndtri

from benchmarks.statistics import intervals
from benchmarks.statistics.intervals import LEVEL, Array, Ends, Z, moments

RESAMPLES = 1000
"""Bootstrap resamples behind every bootstrap interval."""

_TAILS = [(1 - LEVEL) / 2, (1 + LEVEL) / 2]


def bootstrap_means(strata: Sequence[Array]) -> Array:
    """Bootstrap replicates of the pooled mean, tasks resampled within each stratum.

    The resamples depend only on the sizes of the strata: all solvers of a law are resampled alike, so that
    differences of their replicates are paired replicates of the difference.

    Args:
        strata: one array `(tasks, ...)` for each seed.

    Returns:
        `(RESAMPLES, ...)`.

    Example:
        >>> bool(np.allclose(bootstrap_means([np.full(50, 3.0)]), 3.0))
        True
    """
    total = sum(len(losses) for losses in strata)
    return np.sum([weights(len(losses), index) @ losses for index, losses in enumerate(strata)], axis=0) / total


def two_level_means(strata: Sequence[Array]) -> Array:
    """Bootstrap replicates of the mean over seeds: seeds resampled with replacement, then tasks within each drawn seed.

    Args:
        strata: one array `(tasks,)` for each of S seeds, all of one length.

    Returns:
        `(RESAMPLES,)`.

    Source: Agarwal et al., "Deep RL at the edge of the statistical precipice", NeurIPS 2021 (stratified bootstrap);
        Davison & Hinkley, "Bootstrap methods and their application", 1997, §3.8 (two-stage resampling).

    Example:
        >>> seeds = [np.full(20, value) for value in (1.0, 2.0, 4.0)]
        >>> sorted(set(two_level_means(seeds).round(3).tolist()))[:2]
        [1.0, 1.333]
    """
    count = len(strata)
    table = np.stack(strata, axis=1)
    drawn = np.random.default_rng([20241008, count]).integers(0, count, size=(RESAMPLES, count))
    total = np.zeros(RESAMPLES)
    for slot in range(count):
        means = weights(len(table), slot) @ table / len(table)
        total += means[np.arange(RESAMPLES), drawn[:, slot]]
    return total / count


@lru_cache(maxsize=12)
def weights(count: int, stratum: int) -> Array:
    """How often each of `count` tasks occurs in each resample of a stratum: `(RESAMPLES, count)`."""
    generator = np.random.default_rng([20241007, stratum, count])
    return generator.multinomial(count, np.full(count, 1 / count), size=RESAMPLES).astype(np.float64)


def percentile(strata: Sequence[Array]) -> Ends:
    """Quantiles of the bootstrap replicates (Efron)."""
    low, high = np.quantile(bootstrap_means(strata), _TAILS, axis=0)
    return low, high


def bca(strata: Sequence[Array]) -> Ends:
    """Bias-corrected and accelerated percentiles.

    Source: B. Efron, "Better bootstrap confidence intervals", J. Am. Stat. Assoc. 82 (1987) 171-185.
    """
    sample, replicates = moments(strata), bootstrap_means(strata)
    below = np.clip((replicates < sample.mean).mean(axis=0), 1 / len(replicates), 1 - 1 / len(replicates))
    bias, acceleration = ndtri(below), sample.skewness / 6
    ordered = np.sort(replicates, axis=0)

    def end(z: float) -> Any:
        probability = ndtr(bias + (bias + z) / (1 - acceleration * (bias + z)))
        place = np.rint(probability * (len(ordered) - 1)).astype(int)
        return np.take_along_axis(ordered, place[None], axis=0)[0]

    return end(-Z), end(Z)


def bootstrap_t(strata: Sequence[Array]) -> Ends:
    """Studentised bootstrap on the logarithm of the mean; values must be positive.

    Source: Davison & Hinkley, "Bootstrap methods and their application", 1997, §5.2.
    """
    sample = moments(strata)
    scaled = [values / sample.mean for values in strata]
    means, squares = bootstrap_means(scaled), bootstrap_means([values**2 for values in scaled])
    errors = np.sqrt(np.maximum(squares - means**2, 1e-30) / sample.count) / means
    low, high = np.quantile(np.log(means) / errors, _TAILS, axis=0)
    relative = sample.standard_error / sample.mean
    return sample.mean * np.exp(-high * relative), sample.mean * np.exp(-low * relative)


METHODS: dict[str, Callable[[Sequence[Array]], Ends]] = {
    **intervals.METHODS,
    "bootstrap_t": bootstrap_t,
    "bca": bca,
    "percentile": percentile,
}
"""Every method. Each takes strata `[(tasks, ...), ...]` and gives both ends `(...)`."""


def two_level_percentile(strata: Sequence[Array]) -> tuple[float, float]:
    """95 % interval of the log mean from the two-level bootstrap; too narrow for few seeds, kept for comparison."""
    low, high = np.quantile(two_level_means(strata), _TAILS)
    return float(np.log(low)), float(np.log(high))
