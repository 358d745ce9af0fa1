"""Groups of solvers that are tied: sets in which no two can be told apart."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def tie_groups(tied: NDArray[np.bool_]) -> list[list[int]]:
    """All maximal groups of solvers that are pairwise tied; a solver may be in several, since ties are not transitive.

    Args:
        tied: `(k, k)` symmetric: whether the data cannot tell two solvers apart.

    Returns:
        Indices of the members of each group of at least 2, ascending, the groups in the order of their members.

    Source: Bron & Kerbosch, "Algorithm 457: finding all cliques of an undirected graph", CACM 16 (1973) 575-577.

    Example:
        >>> tied = np.array([[1, 1, 0], [1, 1, 1], [0, 1, 1]], bool)
        >>> tie_groups(tied)
        [[0, 1], [1, 2]]
    """
    neighbours = [set(np.flatnonzero(row).tolist()) - {index} for index, row in enumerate(tied)]
    found: list[list[int]] = []

    def extend(group: set[int], candidates: set[int], excluded: set[int]) -> None:
        if not candidates and not excluded:
            if len(group) > 1:
                found.append(sorted(group))
            return
        pivot = max(candidates | excluded, key=lambda index: len(neighbours[index] & candidates))
        for index in sorted(candidates - neighbours[pivot]):
            extend(group | {index}, candidates & neighbours[index], excluded & neighbours[index])
            candidates = candidates - {index}
            excluded = excluded | {index}

    extend(set(), set(range(len(tied))), set())
    return sorted(found)


def letters(groups: list[list[int]], count: int) -> list[str]:
    """Compact letter display: solvers that share a letter are tied.

    Example:
        >>> letters([[0, 1], [1, 2]], 4)
        ['a', 'ab', 'b', '']
    """

    def letter(index: int) -> str:
        return chr(ord("a") + index) if index < 26 else f"({index})"

    return ["".join(letter(index) for index, group in enumerate(groups) if i in group) for i in range(count)]
