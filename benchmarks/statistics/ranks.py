"""Average ranks of solvers over tasks, Friedman's test, Nemenyi's critical difference; and groups of tied solvers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from benchmarks.statistics.intervals import Array
from benchmarks.statistics.significance import ALPHA, holm


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
    quantile = float(stats.studentized_range.ppf(1 - ALPHA, k, np.inf)) / np.sqrt(2)
    critical = quantile * float(np.sqrt(k * (k + 1) / (6 * n)))
    return Ranking(average, critical, _friedman_p(ranks), n)


def _friedman_p(ranks: Array) -> float:
    """Friedman's test on ranks `(k, n)`; of two solvers it is the sign test, which is exact."""
    if np.ptp(ranks) == 0:
        return 1.0
    if len(ranks) == 2:
        better, worse = int(np.sum(ranks[0] < ranks[1])), int(np.sum(ranks[0] > ranks[1]))
        return float(stats.binomtest(better, better + worse).pvalue)
    return float(stats.friedmanchisquare(*ranks).pvalue)


def shared_ranks(means: Sequence[float], p_value: Callable[[int, int], float]) -> list[int]:
    """Ranks by mean loss, which solvers share that cannot be told apart.

    The first solver shares its rank with all whose test against it is not rejected at `ALPHA`, with Holm's correction
    for as many tests; the first of the rest then shares the next rank likewise.

    Args:
        means: `(k,)`; 1 is least.
        p_value: of the hypothesis that two solvers, by their indices, have equal mean losses; nan where nobody knows,
            which tells nobody apart.

    Returns:
        `(k,)`, each 1 more than the number of solvers with lower ranks.

    Example:
        >>> shared_ranks([3.0, 1.0, 1.1], lambda i, j: 0.5 if {i, j} == {1, 2} else 0.001)
        [3, 1, 1]
    """
    rest, ranks = sorted(range(len(means)), key=lambda index: means[index]), [0] * len(means)
    while rest:
        first, *others = rest
        corrected = holm([p_value(first, other) for other in others])
        tied = {first, *(one for one, p in zip(others, corrected, strict=True) if not p <= ALPHA)}
        for index in tied:
            ranks[index] = len(means) - len(rest) + 1
        rest = [index for index in rest if index not in tied]
    return ranks


def tie_groups(tied: NDArray[np.bool_]) -> list[list[int]]:
    """All maximal groups of solvers that are pairwise tied; a solver may be in several, since ties are not transitive.

    Args:
        tied: `(k, k)` symmetric: whether the data cannot tell two solvers apart.

    Returns:
        Indices of the members of each group of at least 2, ascending, the groups in the order of their members.

    Source: Bron & Kerbosch, "Algorithm 457: finding all cliques of an undirected graph", CACM 16 (1973) 575-577; by
        networkx.

    Example:
        >>> tied = np.array([[1, 1, 0], [1, 1, 1], [0, 1, 1]], bool)
        >>> tie_groups(tied)
        [[0, 1], [1, 2]]
    """
    import networkx  # only where it is needed: it takes a third of a second to import

    graph = networkx.from_numpy_array(tied & ~np.eye(len(tied), dtype=bool))
    return sorted(sorted(group) for group in networkx.find_cliques(graph) if len(group) > 1)


def letters(groups: list[list[int]], count: int) -> list[str]:
    """Compact letter display: solvers that share a letter are tied.

    Example:
        >>> letters([[0, 1], [1, 2]], 4)
        ['a', 'ab', 'b', '']
    """

    def letter(index: int) -> str:
        return chr(ord("a") + index) if index < 26 else f"({index})"

    return ["".join(letter(index) for index, group in enumerate(groups) if i in group) for i in range(count)]
