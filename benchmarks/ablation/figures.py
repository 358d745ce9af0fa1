"""Figures of the memory ablation: gaps while training, and steps needed by depth."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median
from typing import TYPE_CHECKING

from benchmarks.ablation.conclusions import Summary
from benchmarks.ablation.settings import Ablation
from benchmarks.ablation.training import Curve
from benchmarks.views.style import CYCLE, caption, figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_LOWEST = 1e-3
"""Gaps below this are drawn there: the axis is logarithmic."""


def gap_figure(settings: Ablation, curves: Sequence[Curve]) -> Figure:
    """Gap by training step from the first start: a row a kind of Q, a column a depth, a line a rung of the ladder."""
    start, ladder = settings.starts[0].name, settings.ladder()
    shown = [curve for curve in curves if curve.start == start and curve.memory in ladder]
    depths = sorted({curve.depth for curve in shown})
    kinds = settings.preconditioners
    drawn, axes = figure(1.0 + 1.9 * len(depths), 2.2 * len(kinds) + 0.4, columns=1)
    axes[0].remove()
    grid = drawn.subplots(len(kinds), len(depths), sharex=True, sharey=True, squeeze=False)
    for row, kind in zip(grid, kinds, strict=True):
        for ax, depth in zip(row, depths, strict=True):
            for index, memory in enumerate(ladder):
                own = [c.gaps for c in shown if (c.preconditioner, c.memory, c.depth) == (kind, memory, depth)]
                if not own:
                    continue
                steps = [step for step in own[0] if step > 0]
                values = [[min(max(gaps[step], _LOWEST), 1e3) for gaps in own] for step in steps]
                ax.plot(steps, [median(v) for v in values], color=CYCLE[index], lw=1.2, label=memory)
                ax.fill_between(steps, [min(v) for v in values], [max(v) for v in values], color=CYCLE[index], alpha=0.15)
            ax.axhline(settings.within, color="#444444", ls="--", lw=0.8)
            ax.set_xscale("log")
            ax.set_yscale("log")
            ax.set_ylim(_LOWEST, 20)
            ax.set_title(f"L = {depth}, {kind} Q", fontsize=8)
        row[0].set_ylabel("gap to the floor")
    for ax in grid[-1]:
        ax.set_xlabel("training steps")
    grid[0][0].legend(fontsize=6.5, loc="lower left")
    drawn.suptitle(f"Start {start!r}: how soon each memory comes to its floor", fontsize=10, x=0.01, ha="left")
    caption(drawn, f"medians and ranges over seeds; dashed: {settings.within}; gaps below {_LOWEST:g} are drawn there")
    return drawn


def steps_figure(settings: Ablation, found: Sequence[Summary]) -> Figure:
    """Median steps to come within the tolerance by depth: a panel a start and kind of Q."""
    panels = [(start.name, kind) for kind in settings.preconditioners for start in settings.starts]
    drawn, _ = figure(9.6, 2.6 * len(settings.preconditioners), columns=1)
    drawn.axes[0].remove()
    grid = drawn.subplots(len(settings.preconditioners), len(settings.starts), sharey=True, squeeze=False)
    names = settings.ladder()
    top = 3 * settings.most_steps
    for ax, (start, kind) in zip(grid.flat, panels, strict=True):
        for index, memory in enumerate(names):
            own = [s for s in found if (s.start, s.preconditioner, s.memory) == (start, kind, memory)]
            own.sort(key=lambda s: s.depth)
            steps = [top if s.steps == math.inf else max(s.steps, 5.0) for s in own]
            # A little to the side, so that equal numbers can be told apart.
            depths = [s.depth + 0.06 * (index - (len(names) - 1) / 2) for s in own]
            ax.plot(depths, steps, marker="o", ms=4, lw=1, color=CYCLE[index], label=memory)
        ax.set_yscale("log")
        ax.axhline(top, color="#bbbbbb", lw=0.6)
        ax.set_title(f"start: {start}; {kind} Q", fontsize=8.5)
        ax.set_xticks(sorted({s.depth for s in found}))
    for row in grid:
        row[0].set_ylabel("steps needed")
    for ax in grid[-1]:
        ax.set_xlabel("layers")
    grid[0][0].legend(fontsize=7, loc="upper left")
    caption(drawn, f"steps to a gap of {settings.within}, medians over seeds; top line: never; bottom (5): at the start")
    return drawn
