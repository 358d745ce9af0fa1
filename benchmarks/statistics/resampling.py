"""Shared bootstrap resamples: solvers of one law are resampled alike, so that their differences are paired."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 1000
"""Bootstrap resamples behind every bootstrap interval."""

Array = NDArray[np.float64]


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
