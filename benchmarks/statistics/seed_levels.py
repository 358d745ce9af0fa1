"""Two levels of chance: training seeds, and tasks within a seed. For solvers that are learned anew under each seed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import stats

from benchmarks.statistics.intervals import Array
from benchmarks.statistics.student import student_interval

Levels = Literal["tasks", "seeds_and_tasks"]
"""What an interval holds random."""


@dataclass(frozen=True)
class TwoLevel:
    """A mean over seeds with its error.

    Attributes:
        estimate: mean over seeds of the seed's estimate.
        standard_error: of it, over seeds and tasks.
        freedom: degrees of freedom of the Student t that goes with it; inf where the seeds differ by no more than
            their tasks explain.
    """

    estimate: float
    standard_error: float
    freedom: float

    def interval(self) -> tuple[float, float]:
        """95 % interval of the estimate."""
        return student_interval(self.estimate, self.standard_error, self.freedom)[1:]

    def p_value(self) -> float:
        """Two-sided p-value of the hypothesis that the expectation is 0."""
        if self.standard_error == 0:
            return 1.0 if self.estimate == 0 else 0.0
        return float(2 * stats.t.sf(abs(self.estimate) / self.standard_error, self.freedom))


def two_level(estimates: Array, errors: Array) -> TwoLevel:
    """Combine one estimate a seed.

    With S seeds, `B` the variance of their estimates and `W` the mean of the squared standard errors over tasks:
    where `B > W` the seeds differ by more than chance in the tasks, and the error is `√(B/S)` with S - 1 degrees of
    freedom; otherwise it is `√(W/S)`, Gaussian. A resampling of three seeds cannot replace this: the bootstrap of S
    values underestimates their variance by (S - 1)/S and knows no Student t (the calibration study shows by how much).

    Args:
        estimates: `(S,)`, S at least 2.
        errors: `(S,)` standard errors over tasks.

    Source: random-effects analysis of variance; Snedecor & Cochran, "Statistical methods", 8th ed., §13.3.

    Example:
        >>> two_level(np.array([1.0, 1.0, 1.0]), np.full(3, 0.3)).freedom
        inf
    """
    count = len(estimates)
    between, within = float(np.var(estimates, ddof=1)), float(np.mean(np.square(errors)))
    error = float(np.sqrt(max(between, within) / count))
    return TwoLevel(float(np.mean(estimates)), error, count - 1 if between > within else np.inf)


def two_level_interval(strata: Sequence[Array]) -> tuple[float, float]:
    """95 % interval of the log mean over seeds and tasks.

    Args:
        strata: one array `(tasks,)` of positive losses for each of at least 2 seeds.

    Returns:
        Lower and upper end of the natural logarithm of the mean, around the logarithm of the pooled mean; nan where a
        seed's losses are all 0.

    Example:
        >>> generator = np.random.default_rng(0)
        >>> low, high = two_level_interval([generator.exponential(size=500) for _ in range(3)])
        >>> bool(low < 0 < high)
        True
    """
    means = np.array([values.mean() for values in strata])
    if means.min() <= 0:
        return math.nan, math.nan  # a seed without any loss has no logarithm to be averaged
    errors = np.array([values.std(ddof=1) / len(values) ** 0.5 for values in strata]) / means
    combined = two_level(np.log(means), errors)
    low, high = combined.interval()
    shift = float(np.log(means.mean())) - combined.estimate
    return low + shift, high + shift
