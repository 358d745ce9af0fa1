"""Two solvers on the same tasks: difference and ratio of their mean losses, with intervals and tests."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import cast

import numpy as np
from scipy.optimize import brentq

from benchmarks.statistics.intervals import TAIL_LIMIT, cautious_z_of_one, level_z, mean_interval, moments
from benchmarks.statistics.sample import Array, Sample
from benchmarks.statistics.seed_levels import Levels, TwoLevel, two_level
from benchmarks.statistics.significance import equal_means_test, wilcoxon_log_test
from benchmarks.statistics.weighted import thinned


@dataclass(frozen=True)
class Comparison:
    """Losses a of one solver against b of another on the same tasks; negative means that a is better.

    Attributes:
        difference: `mean(a) - mean(b)` in units of y squared, with its 95 % interval `difference_low`,
            `difference_high`.
        log_ratio: `log(mean(a)/mean(b))`, natural, with its 95 % interval `log_ratio_low`, `log_ratio_high`.
        p_value: of the hypothesis of equal mean losses (`equal_means_test`; Student t over seeds for learned solvers).
        p_typical: of the hypothesis that neither is better on the typical task (Wilcoxon on the log ratio).
        share_better: share of tasks on which a has the lower loss, ties counted half.
        tail_limited: whether so few tasks carry the difference that its interval and test cannot be trusted.
    """

    difference: float
    difference_low: float
    difference_high: float
    log_ratio: float
    log_ratio_low: float
    log_ratio_high: float
    p_value: float
    p_typical: float
    share_better: float
    tail_limited: bool


def compare(
    first: Sequence[Array],
    second: Sequence[Array],
    levels: Levels = "tasks",
    weights: Sequence[Array] | None = None,
) -> Comparison:
    """Compare two solvers on the same tasks.

    Args:
        first: one array `(tasks,)` of per-task losses for each seed; nan where there is no finite answer.
        second: the other solver's, on the same tasks in the same order.
        levels: `seeds_and_tasks` if either solver was learned anew under each seed.
        weights: of the tasks, if both losses are times them; the typical task is then one of the law all the same.

    Returns:
        The comparison; all nan where a task has no finite answer. With both solvers alike on every task the
        interval is the point 0 and the p-values are 1.

    Example:
        >>> b = np.random.default_rng(0).exponential(size=2000)
        >>> result = compare([1.05 * b], [b])
        >>> round(result.log_ratio_low, 3), round(result.log_ratio_high, 3)
        (0.049, 0.049)
    """
    a, b = np.concatenate(list(first)), np.concatenate(list(second))
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        return Comparison(*[float("nan")] * 9, tail_limited=False)
    scale = float((a.mean() + b.mean()) / 2) or 1.0
    differences = [(x - y) / scale for x, y in zip(first, second, strict=True)]
    sample = moments(differences)
    if weights is not None:
        like_law = thinned(np.concatenate(list(weights)))
        a, b = a[like_law], b[like_law]  # a weight changes neither order nor ratio of two losses
    share = float(np.mean(a < b) + np.mean(a == b) / 2)
    typical = wilcoxon_log_test(a, b)
    tail = bool(abs(sample.skewness) > TAIL_LIMIT)
    ratio = log_ratio_interval(first, second, levels)
    if levels == "seeds_and_tasks" and len(differences) > 1:
        by_seed = np.array([values.mean() for values in differences])
        errors = np.array([values.std(ddof=1) / len(values) ** 0.5 for values in differences])
        combined = two_level(by_seed, errors)
        (low, high), p_value = combined.interval(), combined.p_value()
    else:
        low, high = mean_interval(differences, "cautious")
        p_value = equal_means_test(np.concatenate(differences))
    return Comparison(scale * float(sample.mean), scale * low, scale * high, *ratio, p_value, typical, share, tail)


def log_ratio_interval(
    first: Sequence[Array], second: Sequence[Array], levels: Levels = "tasks"
) -> tuple[float, float, float]:
    """`log(mean(a)/mean(b))` with its paired 95 % interval: every ρ for which "a - e^ρ b has mean 0" is not rejected.

    It excludes 0 exactly where the `cautious` interval of the paired difference does.

    Args:
        first: losses a, one array `(tasks,)` for each seed.
        second: losses b on the same tasks.
        levels: what the interval holds random; over `seeds_and_tasks` it is that of `two_level`, around the same
            estimate.

    Returns:
        Estimate, lower end, upper end; an end is infinite where no ratio is rejected on that side.

    Source: Fieller, J. R. Stat. Soc. B 16 (1954) 175-185, with `cautious_z` as its statistic.
    """
    if levels == "seeds_and_tasks" and len(first) > 1:
        return _seeds_log_ratio(first, second)
    count = sum(len(a) for a in first)
    mine, theirs = Sample.of(first), Sample.of(second)
    estimate, means = _log_ratio(mine, theirs)
    limit = level_z(count, len(first))
    if math.isnan(limit):  # a task for each seed: nothing tells chance from difference
        return estimate, math.nan, math.nan
    if min(means) <= 0:
        return estimate, estimate, estimate
    a, b = mine.deviations, theirs.deviations
    a2, b2 = a * a, b * b
    aa, ab, bb = (float(left @ right) / count for left, right in ((a, a), (a, b), (b, b)))
    aaa, aab, abb, bbb = (float(left @ right) / count for left, right in ((a2, a), (a2, b), (b2, a), (b2, b)))

    def z(delta: float) -> float:
        """Statistic of `mean(a) - e^delta mean(b) = 0`, both scaled to mean 1."""
        r = math.exp(delta)
        variance = max(aa - 2 * r * ab + r * r * bb, 0.0) * count / max(count - len(first), 1)
        third = aaa - 3 * r * aab + 3 * r * r * abb - r**3 * bbb
        return cautious_z_of_one(count, 1 - r, variance, third)

    error = float(np.sqrt(max(aa - 2 * ab + bb, 0.0) / count))
    if error < 1e-9:  # alike but for rounding
        return estimate, estimate, estimate
    return estimate, estimate + _crossing(z, limit, -error), estimate + _crossing(z, -limit, error)


def log_ratio(first: Sequence[Array], second: Sequence[Array]) -> float:
    """The estimate of `log_ratio_interval`, over tasks alone."""
    return _log_ratio(first, second)[0]


def _log_ratio(first: Sequence[Array], second: Sequence[Array]) -> tuple[float, list[float]]:
    """`log(mean(a)/mean(b))`, and both means; a mean of 0 stands for the least positive number."""
    means = [Sample.of(part).mean for part in (first, second)]
    if min(means) > 0:
        return float(np.log(means[0] / means[1])), means
    tiny = float(np.finfo(np.float64).tiny)
    return float(np.log(max(means[0], tiny)) - np.log(max(means[1], tiny))), means


def log_ratio_p_value(first: Sequence[Array], second: Sequence[Array], levels: Levels = "tasks") -> float:
    """Two-sided p-value of equal mean losses that agrees with `log_ratio_interval`: below 5 % where that excludes 0.

    Over `seeds_and_tasks` it is that of Student's t on the log ratios of the seeds; else `equal_means_test`.
    """
    if levels == "seeds_and_tasks" and len(first) > 1 and min(values.mean() for values in (*first, *second)) > 0:
        combined = _log_ratio_by_seed(first, second)
        return replace(combined, estimate=_seeds_log_ratio(first, second)[0]).p_value()
    return compare(first, second).p_value


def _crossing(z: Callable[[float], float], level: float, step: float) -> float:
    """Where the decreasing function z reaches a level, searched from 0 in growing steps; infinite if nowhere."""
    inside, outside = 0.0, step
    while (z(outside) - level) * step > 0:
        inside, outside = outside, 2 * outside
        if abs(outside) > 20:
            return float(np.copysign(np.inf, step))
    return float(cast(float, brentq(lambda delta: z(delta) - level, inside, outside, xtol=1e-9)))


def _seeds_log_ratio(first: Sequence[Array], second: Sequence[Array]) -> tuple[float, float, float]:
    """Log ratio over seeds and tasks: estimate, lower end, upper end."""
    means = np.array([[values.mean() for values in part] for part in (first, second)])
    if means.min() <= 0:
        return log_ratio_interval(first, second)
    combined = _log_ratio_by_seed(first, second)
    low, high = combined.interval()
    pooled = float(np.log(means[0].mean()) - np.log(means[1].mean()))
    shift = pooled - combined.estimate
    return pooled, low + shift, high + shift


def _log_ratio_by_seed(first: Sequence[Array], second: Sequence[Array]) -> TwoLevel:
    means = np.array([[values.mean() for values in part] for part in (first, second)])
    errors = [
        float(np.std(a / a.mean() - b / b.mean(), ddof=1)) / len(a) ** 0.5 for a, b in zip(first, second, strict=True)
    ]
    return two_level(np.log(means[0]) - np.log(means[1]), np.array(errors))
