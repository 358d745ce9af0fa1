"""The figure of `learned_families`: what a loss costs, in training and in a solve."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from benchmarks.reports.style import CYCLE, figure, label_ends, spread

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from benchmarks.validation.learned_families import Trained


def draw(found: Sequence[Trained]) -> Figure:
    """Loss against operations of training, and against those of a solve."""
    names = list(dict.fromkeys(one.name for one in found if one.budget != "none"))
    colours = {name: CYCLE[place] for place, name in enumerate(names)}
    drawn, (left, right) = figure(11, 4.6, 2)
    for name in names:
        mine = [one for one in found if one.name == name]
        left.plot([one.flops or math.nan for one in mine], [one.last for one in mine], "o-", color=colours[name], ms=4)
        large = mine[-1]
        right.plot(
            [work.flops for work in large.work], large.losses[large.middle].means, "o-", color=colours[name], ms=3
        )
    told = [one for one in found if one.budget == "none"]
    low, high = left.get_ylim()
    for one, place in zip(told, spread([one.last for one in told], 0.025 * (high - low)), strict=True):
        left.axhline(one.last, color="#888888", lw=0.8, ls="--")
        left.text(0.01, place, one.name, transform=left.get_yaxis_transform(), fontsize=6.5, va="bottom")
        right.plot([work.flops for work in one.work], one.losses[0].means, "s--", color="#888888", ms=2.5, lw=0.8)
    for axes, what in ((left, "of training, all starts"), (right, "of a solve, a task")):
        axes.set(xscale="log", xlabel=f"floating-point operations {what}", ylabel="log test loss")
    left.set_xlim(left=left.get_xlim()[0] / 30)  # room for the names of lines before the first point
    right.set_ylim(left.get_ylim())
    ends = [(one, colours.get(one.name, "#666666")) for one in found if one.budget != "small"]
    labels = [(one.name, one.last, colour) for one, colour in ends]
    label_ends(right, labels, [one.work[-1].flops for one, _ in ends], 4.0)
    return drawn
