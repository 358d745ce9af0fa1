"""Average ranks of solvers over tasks, Friedman's test and Nemenyi's critical difference."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats

from benchmarks.statistics.resampling import Array
from benchmarks.statistics.significance import ALPHA


@dataclass(frozen=True)
class Ranking:
    """Ranks of k solvers over n tasks.

    Attributes:
        average: `(k,)` average rank, 1 is best; ties share their mean rank.
        critical_difference: average ranks closer than this are not told apart at the 5 % level, all pairs together.
        friedman_p: p-value of the hypothesis that every order of the solvers is equally likely on a task.
        tasks: n.
    """

    average: Array
    critical_difference: float
    friedman_p: float
    tasks: int


def rank_solvers(losses: Array) -> Ranking:
    """Rank solvers on every task and average. It asks who is better on the typical task, whatever by how much.

    Args:
        losses: `(k, n)` per-task losses of k >= 2 solvers on the same n tasks; nan counts as the worst.

    Source: J. Demšar, "Statistical comparisons of classifiers over multiple data sets", JMLR 7 (2006) 1-30, eq. for
        `CD = q_α √(k(k+1)/(6n))`. There the blocks are data sets; here they are the tasks of one law and d.

    Example:
        >>> rank_solvers(np.array([[1.0, 1.0, 2.0], [2.0, 2.0, 1.0]])).average.round(2).tolist()
        [1.33, 1.67]
    """
    k, n = losses.shape
    ranks = stats.rankdata(np.where(np.isnan(losses), np.inf, losses), axis=0)
    average = ranks.mean(axis=1)
    # With ties, the variance of the ranks within tasks replaces (k³ - k)/12.
    spread = float(np.sum((ranks - (k + 1) / 2) ** 2)) / (n * (k - 1))
    statistic = n * float(np.sum((average - (k + 1) / 2) ** 2)) / spread if spread > 0 else 0.0
    quantile = float(stats.studentized_range.ppf(1 - ALPHA, k, np.inf)) / np.sqrt(2)
    critical = quantile * float(np.sqrt(k * (k + 1) / (6 * n)))
    return Ranking(average, critical, float(stats.chi2.sf(statistic, k - 1)), n)
