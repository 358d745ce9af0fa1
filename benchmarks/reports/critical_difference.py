"""The critical-difference diagram: average ranks over tasks, and who cannot be told apart in them."""

from __future__ import annotations

from textwrap import wrap
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from benchmarks.reports.comparison import Setting
from benchmarks.reports.style import COLOURS, figure, short_names, spread
from benchmarks.statistics import tie_groups

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INCHES = 0.062
"""Width of a letter of a name."""


def rank_groups(table: pd.DataFrame) -> list[list[int]]:
    """Groups of rows, by position, whose average ranks differ by less than the critical difference."""
    ranks = table["average_rank"].to_numpy(float)
    return tie_groups(np.abs(ranks[:, None] - ranks[None, :]) < float(table["critical_difference"].iloc[0]))


def critical_difference_figure(setting: Setting, table: pd.DataFrame) -> Figure:
    """Solvers on an axis of average ranks, best on the left; a bar joins those that Nemenyi's test cannot tell apart.

    Args:
        setting: law, d, N, protocol.
        table: `benchmarks.reports.pairwise.standing` of the setting.

    Source: J. Demšar, JMLR 7 (2006) 1-30, Fig. 1.
    """
    table = table.sort_values("average_rank", kind="stable").reset_index(drop=True)
    count = len(table)
    groups = rank_groups(table)
    left = (count + 1) // 2
    row, bars = 0.17, 0.09 * max(len(groups), 1) + 0.1
    height = bars + row * left + 0.95
    names = short_names([str(name) for name in table["solver"]])
    start = max(2.15, INCHES * max(map(len, names)) + 0.65)
    end = start + 2.9
    drawn, (axes,) = figure(start + end, height)
    ranks = table["average_rank"].to_numpy(float)
    # Axes coordinates in inches, downwards from the scale of ranks.
    axes.set_xlim(0, start + end)
    axes.set_ylim(bars + row * left + 0.1, -0.5)
    axes.axis("off")
    low, high = np.floor(ranks.min()), np.ceil(ranks.max())

    def x(rank: float) -> float:
        return start + (end - start) * (rank - low) / max(high - low, 1)

    axes.plot([x(low), x(high)], [0, 0], color="black", lw=0.8)
    stride = max(1, int(np.ceil((high - low) / 10)))
    for tick in np.arange(low, high + 1, stride):
        axes.plot([x(tick)] * 2, [-0.06, 0], color="black", lw=0.8)
        axes.text(x(tick), -0.09, f"{tick:g}", ha="center", va="bottom", fontsize=7.5)
    critical = float(table["critical_difference"].iloc[0])
    axes.plot([x(low), x(low + critical)], [-0.36, -0.36], color="black", lw=2, solid_capstyle="butt")
    axes.text(x(low + critical) + 0.06, -0.36, f"critical difference {critical:.3g}", va="center", fontsize=7.5)
    for level, group in enumerate(groups):
        depth = 0.1 + 0.09 * level
        ends = [x(ranks[group[0]]) - 0.025, x(ranks[group[-1]]) + 0.025]
        axes.plot(ends, [depth, depth], color="black", lw=2.2, solid_capstyle="butt")
    halves = (list(range(left)), list(reversed(range(left, count))))
    for side, members in zip((-1, 1), halves, strict=True):
        places = spread([bars + row * (k + 0.5) for k in range(len(members))], row)
        for place, index in zip(places, members, strict=True):
            edge = start - 0.1 if side < 0 else end + 0.1
            colour = COLOURS[str(table["needs"][index])]
            axes.plot([x(ranks[index]), x(ranks[index]), edge], [0, place, place], color=colour, lw=0.7, alpha=0.8)
            axes.text(
                edge + side * 0.04,
                place,
                f"{names[index]}  {ranks[index]:.2f}" if side < 0 else f"{ranks[index]:.2f}  {names[index]}",
                ha="right" if side < 0 else "left",
                va="center",
                fontsize=7.5,
                color=colour,
            )
    steps = int(table["steps"].iloc[0])
    title = f"{setting.title}: average rank over {setting.tasks:,} tasks after {steps} step{'s' * (steps != 1)}"
    axes.set_title("\n".join(wrap(title, int(13 * (start + end)))), fontsize=9)
    return drawn
