"""Performance profiles, and the pairwise speed-ups that a profile alone does not tell."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd

from benchmarks.errors import UserError
from benchmarks.reports.comparison import Setting, SolverLosses
from benchmarks.reports.curves import best_curves
from benchmarks.reports.style import caption, figure
from benchmarks.reports.targets import CLASSIC, first_hits, in_seconds, target_losses

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Cost = Literal["steps", "seconds"]


def costs(setting: Setting, classic: str = CLASSIC, cost: Cost = "steps") -> tuple[list[str], np.ndarray]:
    """What each solver pays to solve each (task, target), inf where it does not solve it; no steps are no payment.

    Returns:
        Labels, and costs `(solvers, targets * tasks)`.

    Raises:
        UserError: if seconds are asked of a run without timings, or the classic took no step.
    """
    losses = [loss for steps, loss in target_losses(setting, classic).items() if steps]
    if not losses:
        raise UserError(f"{classic!r} was scored after no steps alone; name another with --classic")
    stepped = [_after_a_step(entry) for entry in setting.entries if any(entry.losses)]
    entries = [entry for entry in stepped if cost == "steps" or entry.seconds]
    if not entries:
        raise UserError("the run has no timings; profiles of it can only count steps")
    hits = [first_hits(entry, losses) for entry in entries]
    paid = hits if cost == "steps" else [in_seconds(e, h) for e, h in zip(entries, hits, strict=True)]
    return [entry.label for entry in entries], np.stack([values.ravel() for values in paid])


def _after_a_step(entry: SolverLosses) -> SolverLosses:
    return replace(entry, losses={steps: losses for steps, losses in entry.losses.items() if steps})


def profile(setting: Setting, classic: str = CLASSIC, cost: Cost = "steps") -> pd.DataFrame:
    """Share of (task, target) pairs that a solver solves at no more than tau times the least cost of any solver.

    The curve of a solver depends on which others are in the run: read two curves against each other only with
    `speedups` beside them.

    Returns:
        The setting, `classic`, `cost`, `solver`, `tau`, `share`.

    Source: Dolan & Moré, "Benchmarking optimization software with performance profiles", Math. Program. 91 (2002);
        Gould & Scott, "A note on performance profiles", ACM TOMS 43 (2016), on what they do not tell.
    """
    labels, paid = costs(setting, classic, cost)
    best = paid.min(axis=0)
    solved = np.isfinite(best)
    ratios = np.where(solved, paid / np.where(solved, best, 1.0), np.inf)
    taus = _taus(ratios)
    rows = [
        {"solver": label, "tau": tau, "share": float(np.mean(row <= tau * (1 + 1e-9)))}
        for label, row in zip(labels, ratios, strict=True)
        for tau in taus
    ]
    return setting.table(rows, classic=classic, cost=cost)


def speedups(setting: Setting, classic: str = CLASSIC, cost: Cost = "steps") -> pd.DataFrame:
    """One row for each ordered pair of solvers, over the (task, target) pairs that both solve.

    Returns:
        The setting, `cost`, `solver`, `over`, `speedup` (geometric mean of the costs of `over` by those of
        `solver`: 2 is twice as fast; missing where they solve none in common), `both` (share of pairs both solve),
        `wins` and `losses` (shares of all pairs on which `solver` is strictly cheaper, or dearer; unsolved is dearest).
    """
    labels, paid = costs(setting, classic, cost)
    rows = []
    for label, mine in zip(labels, paid, strict=True):
        for over, other in zip(labels, paid, strict=True):
            both = np.isfinite(mine) & np.isfinite(other)
            speedup = float(np.exp(np.mean(np.log(other[both] / mine[both])))) if both.any() else np.nan
            shares = {"both": both.mean(), "wins": np.mean(mine < other), "losses": np.mean(mine > other)}
            rows.append({"solver": label, "over": over, "speedup": speedup, **shares})
    return setting.table(rows, classic=classic, cost=cost)


def profile_figure(setting: Setting, curves: pd.DataFrame, pairs: pd.DataFrame) -> Figure:
    """Profiles of the best solvers on the left, their pairwise speed-ups on the right."""
    heights = curves.pivot(index="solver", columns="tau", values="share")
    order = list(dict.fromkeys(curves["solver"]))
    shown, left_out = best_curves({name: heights.loc[name].to_numpy(float) for name in order})
    taus = heights.columns.to_numpy(float)
    cost, classic = str(curves["cost"].tolist()[0]), str(curves["classic"].tolist()[0])
    drawn, (left, right) = figure(9.8, 3.9, columns=2, width_ratios=[1.15, 1.0])
    for index, curve in reversed(list(enumerate(shown))):
        label = f"{index + 1}  {curve.label}"
        x, y = [*taus, 1.1 * taus[-1]], [*curve.values, curve.values[-1]]
        left.step(x, y, where="post", color=curve.colour, ls=curve.dash, label=label)
    left.set_xscale("log", base=2)
    left.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    left.set_xlim(taus[0], 1.1 * taus[-1])
    left.set_ylim(0, 1.02)
    left.grid(axis="y", color="#eeeeee", lw=0.6)
    left.set_xlabel(f"τ: {cost} as a multiple of the least of any solver")
    left.set_ylabel("share of (task, target) pairs")
    handles, labels = left.get_legend_handles_labels()
    place = {"loc": "upper left", "bbox_to_anchor": (1.0, 1.02), "handlelength": 1.6, "labelspacing": 0.4}
    left.legend(handles[::-1], labels[::-1], fontsize=7.5, **place)
    _matrix(right, pairs, [curve.members[0] for curve in shown])
    drawn.suptitle(setting.title, fontsize=10, x=0.01, ha="left")
    more = f"; {left_out} weaker solvers not shown" if left_out else ""
    text = f"targets: mean loss of {classic} after 1, 2, ... steps; {setting.tasks:,} tasks{more}"
    caption(drawn, f"{text}; speed-up: geometric mean over the (task, target) pairs that both solve")
    return drawn


def _matrix(axes: Axes, pairs: pd.DataFrame, shown: list[str]) -> None:
    table = pairs.pivot(index="solver", columns="over", values="speedup").loc[shown, shown]
    values = np.log2(table.to_numpy(float))
    largest = max(float(np.nanmax(np.abs(values))), 0.1)
    axes.imshow(values, cmap="PuOr", vmin=-1.7 * largest, vmax=1.7 * largest, aspect="auto")
    for (i, j), value in np.ndenumerate(values):
        text = "" if i == j else "–" if np.isnan(value) else f"{2**value:.2g}"
        axes.text(j, i, text, ha="center", va="center", fontsize=7)
    numbers = [str(index + 1) for index in range(len(shown))]
    axes.set_xticks(range(len(shown)), numbers)
    axes.set_yticks(range(len(shown)), numbers)
    axes.tick_params(length=0)
    axes.spines[["left", "bottom"]].set_visible(False)
    axes.set_title("Speed-up, row over column", fontsize=9)


def _taus(ratios: np.ndarray) -> np.ndarray:
    """Every ratio that occurs, or 200 of them evenly spread in their logarithm."""
    found = np.unique(ratios[np.isfinite(ratios)].round(9))
    if len(found) <= 200:
        return found
    return np.geomspace(found[0], found[-1], 200)
