"""Which curves a figure shows: the best ones, with solvers whose curves coincide drawn once and named together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.reports.style import CYCLE, DASHES

MOST_CURVES = 9
"""A figure shows no more curves than this; the table beside it has all."""

_NAMES = 2


@dataclass(frozen=True)
class LabelledCurve:
    """Solvers with one curve.

    Attributes:
        members: their labels.
        values: heights of the curve, `(points,)`.
        colour, dash: how it is drawn.
    """

    members: list[str]
    values: NDArray[np.float64]
    colour: str
    dash: str

    @property
    def label(self) -> str:
        """The names, the first two of them if there are many; where several share a curve, without hyper-parameters."""
        if len(self.members) == 1:
            return self.members[0]
        names = list(dict.fromkeys(member.split(" (")[0] for member in self.members))
        more = len(names) - _NAMES
        return ", ".join(names[:_NAMES]) + (f" + {more}" if more > 0 else "")


def best_curves(heights: Mapping[str, NDArray[np.float64]]) -> tuple[list[LabelledCurve], int]:
    """The curves with the largest mean height, best first, and how many solvers are left out.

    Args:
        heights: for each solver `(points,)`, all at the same abscissae.

    Example:
        >>> curves, left_out = best_curves({"a": np.array([0.1]), "b": np.array([0.9]), "c": np.array([0.9])})
        >>> [curve.label for curve in curves], left_out
        (['b, c', 'a'], 0)
    """
    groups: list[tuple[list[str], NDArray[np.float64]]] = []
    for label, values in heights.items():
        same = next((members for members, other in groups if np.allclose(values, other, atol=2e-3)), None)
        if same is None:
            groups.append(([label], values))
        else:
            same.append(label)
    groups.sort(key=lambda group: -float(group[1].mean()))
    shown = [
        LabelledCurve(members, values, CYCLE[index % len(CYCLE)], DASHES[index // len(CYCLE)])
        for index, (members, values) in enumerate(groups[:MOST_CURVES])
    ]
    return shown, sum(len(members) for members, _ in groups[MOST_CURVES:])
