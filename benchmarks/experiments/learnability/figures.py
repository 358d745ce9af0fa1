"""Figures of the learnability experiment: excess and loss against the number of training tasks."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from benchmarks.experiments.learnability.conclusions import ClassSummary
from benchmarks.experiments.learnability.settings import Learnability
from benchmarks.reports.style import CYCLE, caption, figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_HIGHEST = 3.0
"""Log losses above this are cut off: models fitted to few tasks explode on fresh ones."""


def excess_figure(settings: Learnability, over: Sequence[ClassSummary]) -> Figure:
    """Excess against m, a panel a depth, beside lines of slope -1/2 and -1."""
    drawn, panels = figure(2.2 + 2.2 * len(settings.depths), 3.4, columns=len(settings.depths), sharey=True)
    for ax, depth in zip(panels, settings.depths, strict=True):
        shown = []
        for index, kind in enumerate(settings.classes):
            own = [s for s in over if (s.kind, s.depth) == (kind.name, depth) and math.isfinite(s.excess)]
            _line(ax, own, [(s.excess, s.excess_low, s.excess_high) for s in own], index, kind.name)
            shown += [s.excess for s in own]
        sizes = [m for m, _ in settings.sizes]
        for slope, dash, name in ((-0.5, ":", "$m^{-1/2}$"), (-1.0, "--", "$m^{-1}$")):
            top = 1.5
            line = [math.exp(top + slope * math.log(m / sizes[0])) for m in sizes]
            ax.plot(sizes, line, dash, color="#666666", lw=1, label=name)
        ax.set_ylim(math.exp(min(shown, default=-5.0) - 0.7), math.exp(_HIGHEST))
        ax.set_title(f"{depth} layer{'s' * (depth > 1)}")
    panels[0].set_ylabel("excess over the floor")
    drawn.legend(*panels[-1].get_legend_handles_labels(), fontsize=7.5, loc="outside right upper")
    caption(drawn, "geometric means over training sets and 95 % intervals; the highest are cut off")
    return drawn


def loss_figure(
    settings: Learnability, over: Sequence[ClassSummary], baselines: Mapping[str, Sequence[float]]
) -> Figure:
    """Loss against m, a panel a depth, beside the baselines' on the same fresh tasks."""
    drawn, panels = figure(2.2 + 2.2 * len(settings.depths), 3.4, columns=len(settings.depths))
    for ax, depth in zip(panels, settings.depths, strict=True):
        lowest = [math.log(losses[depth]) for losses in baselines.values()]
        for index, kind in enumerate(settings.classes):
            own = [s for s in over if (s.kind, s.depth) == (kind.name, depth) and math.isfinite(s.loss)]
            _line(ax, own, [(s.loss,) for s in own], index, kind.name)
            lowest += [s.loss for s in own]
        for dash, (name, losses) in zip(("-", "--", ":", "-."), baselines.items(), strict=False):
            ax.axhline(losses[depth], ls=dash, color="black", lw=0.9, label=name)
        ax.set_ylim(math.exp(min(lowest) - 0.3), math.exp(_HIGHEST))
        ax.set_title(f"{depth} layer{'s' * (depth > 1)}")
    panels[0].set_ylabel("mean loss on fresh tasks")
    drawn.legend(*panels[-1].get_legend_handles_labels(), fontsize=7.5, loc="outside right upper")
    caption(drawn, "geometric means over training sets; the highest are cut off; horizontal lines are the baselines")
    return drawn


def _line(ax: Axes, own: Sequence[ClassSummary], values: Sequence[tuple[float, ...]], index: int, name: str) -> None:
    """A curve through the first of `values`, with a band between the second and third where there are such."""
    if not own:
        return
    sizes = [s.tasks for s in own]
    middle, *ends = ([math.exp(min(value, 50.0)) for value in column] for column in zip(*values, strict=True))
    ax.plot(sizes, middle, color=CYCLE[index], lw=1.4, label=name)
    if ends:
        low, high = ends
        ax.fill_between(sizes, low, high, color=CYCLE[index], alpha=0.15, lw=0)
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.minorticks_off()
    ax.set_xlabel("training tasks m")
