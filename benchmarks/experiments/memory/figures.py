"""Figures of the experiment `memory`: gaps while training, and steps needed by depth."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import product
from statistics import median
from typing import TYPE_CHECKING

from benchmarks.experiments.memory.conclusions import Summary
from benchmarks.experiments.memory.settings import MemorySettings
from benchmarks.experiments.memory.training import Curve
from benchmarks.reports.style import CYCLE, caption, figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_LOWEST = 1e-3
"""Gaps below this are drawn there: the axis is logarithmic."""


def gap_figure(settings: MemorySettings, curves: Sequence[Curve]) -> Figure:
    """Gap by budget from the first start: a row a law, a column a depth, a line a rung of the ladder."""
    start, ladder = settings.starts[0].name, settings.ladder()
    shown = [c for c in curves if c.start == start and c.memory in ladder and c.depth in settings.drawn]
    depths, laws = sorted({curve.depth for curve in shown}), list(dict.fromkeys(curve.tasks for curve in shown))
    drawn, axes = figure(
        2.2 + 1.8 * len(depths), 2.2 * len(laws) + 0.6, len(depths), len(laws), sharex=True, sharey=True
    )
    for ax, (law, depth) in zip(axes, product(laws, depths), strict=True):
        for index, memory in enumerate(ladder):
            own = [c.gaps for c in shown if (c.tasks, c.memory, c.depth) == (law, memory, depth)]
            if not own:
                continue
            values = [[min(max(gaps[step], _LOWEST), 1e3) for gaps in own] for step in own[0]]
            ax.plot(list(own[0]), [median(v) for v in values], color=CYCLE[index], lw=1.2, label=memory)
            low, high = [min(v) for v in values], [max(v) for v in values]
            ax.fill_between(list(own[0]), low, high, color=CYCLE[index], alpha=0.15, lw=0)
        ax.axhline(settings.within, color="#444444", ls="--", lw=0.8)
        ax.set_xscale("log")
        ax.set_yscale("log")
        ax.set_ylim(_LOWEST, 20)
        ax.minorticks_off()
        ax.set_title(f"L = {depth}, {law}", fontsize=7)
    _frame(drawn, axes, len(depths), "gap to the floor", "training steps")
    drawn.suptitle(f"Start {start!r}: how soon each memory comes to its floor", fontsize=10, x=0.01, ha="left")
    caption(drawn, f"medians and ranges over seeds; dashed: {settings.within}; gaps below {_LOWEST:g} are drawn there")
    return drawn


def steps_figure(settings: MemorySettings, found: Sequence[Summary]) -> Figure:
    """Median steps to come within the tolerance by depth: a row a law, a column a start."""
    laws, starts = list(dict.fromkeys(s.tasks for s in found)), [start.name for start in settings.starts]
    drawn, axes = figure(8.4, 2.6 * len(laws), len(starts), len(laws), sharex=True, sharey=True)
    names, top = settings.ladder(), 3 * settings.most_steps
    for ax, (law, start) in zip(axes, product(laws, starts), strict=True):
        for index, memory in enumerate(names):
            own = [s for s in found if (s.start, s.tasks, s.memory) == (start, law, memory)]
            own.sort(key=lambda s: s.depth)
            steps = [top if s.steps == math.inf else s.steps for s in own]
            # A little to the side, so that equal numbers can be told apart.
            depths = [s.depth + 0.08 * (index - (len(names) - 1) / 2) for s in own]
            ax.plot(depths, steps, marker="o", ms=4, lw=1, color=CYCLE[index], label=memory)
        ax.set_yscale("log")
        ax.minorticks_off()
        ax.axhline(top, color="#bbbbbb", lw=0.6)
        ax.set_title(f"start: {start}; {law}", fontsize=8.5)
        ax.set_xticks(sorted({s.depth for s in found}))
    _frame(drawn, axes, len(starts), "steps needed", "layers")
    caption(drawn, f"steps to a gap of {settings.within}, medians over seeds; top line: never")
    return drawn


def _frame(drawn: Figure, axes: Sequence[Axes], columns: int, y: str, x: str) -> None:
    """Labels at the left and at the bottom, and a legend beside the panels."""
    for ax in axes[::columns]:
        ax.set_ylabel(y)
    for ax in axes[-columns:]:
        ax.set_xlabel(x)
    drawn.legend(*axes[0].get_legend_handles_labels(), fontsize=7.5, loc="outside right upper")
