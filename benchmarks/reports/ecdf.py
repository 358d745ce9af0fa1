"""ECDF over (task, target): the share of pairs that a solver has solved after so many steps."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from benchmarks.reports.comparison import Setting
from benchmarks.reports.curves import best_curves
from benchmarks.reports.style import caption, figure, label_ends
from benchmarks.reports.targets import CLASSIC, first_hits, target_losses

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def ecdf(setting: Setting, classic: str = CLASSIC) -> pd.DataFrame:
    """One row for each solver and number of steps.

    A target is the mean loss of the classic after a number of steps; a pair (task, target) is solved once the loss
    *of that task* is at most the target.

    Returns:
        The setting, `classic`, `targets` (how many), `solver`, `needs`, `steps`, `share` of pairs solved within them.

    Source: Hansen et al., "COCO: a platform for comparing continuous optimizers", Optim. Methods Softw. 36 (2021).
    """
    losses = list(target_losses(setting, classic).values())
    hits = [(entry, first_hits(entry, losses)) for entry in setting.entries]
    rows = [
        {"solver": entry.label, "needs": entry.needs, "steps": steps, "share": float(np.mean(hit <= steps))}
        for entry, hit in hits
        for steps in setting.steps
        if steps <= max(entry.losses)
    ]
    return setting.table(rows, classic=classic, targets=len(losses))


def ecdf_figure(setting: Setting, table: pd.DataFrame) -> Figure:
    """Share of (task, target) pairs solved against steps, a staircase for each of the best solvers."""
    heights = table.pivot(index="solver", columns="steps", values="share").ffill(axis=1)
    order = list(dict.fromkeys(table["solver"]))
    curves, left_out = best_curves({name: heights.loc[name].to_numpy(float) for name in order})
    steps = [int(step) for step in heights.columns]
    drawn, (axes,) = figure(7.0, 3.7)
    end = steps[-1] + 0.5
    for curve in reversed(curves):
        y = [*curve.values, curve.values[-1]]
        axes.step([*steps, end], y, where="post", color=curve.colour, ls=curve.dash)
    axes.set_xlim(steps[0] - 0.1, end)
    axes.set_ylim(0, 1.02)
    axes.set_xticks(steps)
    axes.grid(axis="y", color="#eeeeee", lw=0.6)
    label_ends(axes, [(curve.label, float(curve.values[-1]), curve.colour) for curve in curves], end, 2.9)
    axes.set_title(setting.title)
    axes.set_xlabel("steps")
    axes.set_ylabel("share of (task, target) pairs solved")
    classic, targets = str(table["classic"].tolist()[0]), int(table["targets"].tolist()[0])
    more = f"; {left_out} weaker solvers not shown" if left_out else ""
    caption(drawn, f"{targets} targets: mean loss of {classic} after 1, 2, ... steps; {setting.tasks:,} tasks{more}")
    return drawn
