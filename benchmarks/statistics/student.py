"""Student's 95 % intervals: of an estimate with a standard error, of a mean of few values, of a slope."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from benchmarks.statistics.intervals import LEVEL


class Interval(NamedTuple):
    """An estimate and the ends of its interval."""

    estimate: float
    low: float
    high: float


def student_interval(estimate: float, standard_error: float, freedom: float) -> Interval:
    """`estimate ± t standard_error`; with infinite `freedom` t is Gaussian."""
    half = float(stats.t.ppf((1 + LEVEL) / 2, freedom)) * standard_error
    return Interval(estimate, estimate - half, estimate + half)


def mean_interval_of_few(values: ArrayLike) -> Interval:
    """Mean of at least 2 independent values `(n,)`.

    Example:
        >>> [round(x, 2) for x in mean_interval_of_few([0.0, 1.0, 2.0])]
        [1.0, -1.48, 3.48]
    """
    given = np.asarray(values, np.float64)
    error = float(given.std(ddof=1)) / len(given) ** 0.5
    return student_interval(float(given.mean()), error, len(given) - 1)


def power_law_interval(x: ArrayLike, y: ArrayLike) -> Interval:
    """The exponent p of `y = c x^p`: slope of `log y` against `log x` by least squares, of at least 3 points.

    Example:
        >>> x = np.array([1.0, 2.0, 4.0, 8.0])
        >>> [round(value, 6) for value in power_law_interval(x, 5 * x**3)]
        [3.0, 3.0, 3.0]
    """
    line: Any = stats.linregress(np.log(x), np.log(y))
    return student_interval(float(line.slope), float(line.stderr), len(np.asarray(x)) - 2)
