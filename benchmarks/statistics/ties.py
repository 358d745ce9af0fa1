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
