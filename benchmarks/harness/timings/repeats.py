"""How often a timed solve is repeated: until the interval of its median is narrow, or its budget is spent."""

from __future__ import annotations

import math

import numpy as np

from benchmarks.suites.entries import Timings

LEAST_REPEATS = 3
"""A solve that is slower than its budget is still repeated this often,"""

LONG = 4
"""unless it takes this many budgets: such a solve is repeated once."""

ENOUGH = 6
"""After so many repetitions, the fewest that tell an interval of the median, a solve is repeated no more"""

NARROW = 0.05
"""if that interval is no wider than this share of the median;"""

MEDIAN_LEVEL = 0.95
"""its level."""


def repeats(warm: list[float], settings: Timings) -> int:
    """How often a solve is repeated in all, as far as the times so far tell."""
    if len(warm) >= ENOUGH and _width(warm) <= NARROW:
        return len(warm)
    if sum(warm) <= settings.budget:
        return settings.repeats
    return min(1 if warm[0] > LONG * settings.budget else LEAST_REPEATS, settings.repeats)


def _width(warm: list[float]) -> float:
    """Width of a distribution-free interval of the median time, at a level of 95 % or more, relative to the median.

    With n times the interval from the k-th smallest to the k-th largest holds the median of their law but for
    `2 P(fewer than k of n fair coins show heads)`.

    Example:
        >>> round(_width([1.0, 1.01, 1.02, 1.03, 1.04, 1.3]), 2)
        0.29
    """
    times, below, k = sorted(warm), 0.5 ** len(warm), 1
    while 2 * (below + math.comb(len(warm), k) * 0.5 ** len(warm)) <= 1 - MEDIAN_LEVEL:
        below += math.comb(len(warm), k) * 0.5 ** len(warm)
        k += 1
    return (times[-k] - times[k - 1]) / float(np.median(times))
