"""Tasks drawn by importance sampling: what asks for more than a mean of weight times loss."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from benchmarks.statistics.intervals import Array


def weighted_quantile(values: Array, weights: Array, probability: float) -> float:
    """The least value up to which the tasks hold this share of the weight.

    Args:
        values: `(tasks,)`, ascending.
        weights: `(tasks,)` in the same order, above 0.
        probability: between 0 and 1.

    Example:
        >>> weighted_quantile(np.array([1.0, 2.0, 3.0]), np.array([1.0, 1.0, 8.0]), 0.5)
        3.0
    """
    up_to = np.cumsum(weights)
    return float(values[min(int(np.searchsorted(up_to, probability * up_to[-1])), len(values) - 1)])


def weighted_trimmed_mean(values: Array, weights: Array, trim: float) -> float:
    """Mean without this share of the weight at either end.

    Args:
        values: `(tasks,)`, ascending.
        weights: `(tasks,)` in the same order, above 0.
        trim: below 1/2.

    Example:
        >>> weighted_trimmed_mean(np.array([1.0, 2.0, 9.0]), np.array([1.0, 2.0, 1.0]), 0.25)
        2.0
    """
    share = weights / weights.sum()
    up_to = np.cumsum(share)
    within = np.maximum(np.minimum(up_to, 1 - trim) - np.maximum(up_to - share, trim), 0.0)
    kept = within > 0
    return float(values[kept] @ within[kept] / within.sum())


def thinned(weights: Array) -> NDArray[np.bool_]:
    """Which tasks to keep so that they are a sample of the law itself: each with the odds of its weight.

    Ranks, shares of tasks and tests of the typical task then need no weights. The choice is the same every time, so
    that solvers scored on the same tasks stay paired.

    Args:
        weights: `(tasks,)`, above 0.

    Source: rejection sampling; Devroye, Non-uniform random variate generation, 1986, II.3.

    Example:
        >>> thinned(np.ones(3)).tolist()
        [True, True, True]
    """
    return np.random.default_rng(0).random(len(weights)) < weights / weights.max()
