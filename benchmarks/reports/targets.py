"""Steps and time to a target, in the mean and on each task; a tuned classic sets the targets after 1, 2, ... steps."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks.errors import UserError
from benchmarks.reports.comparison import Setting, SolverLosses, is_named
from benchmarks.reports.style import COLOURS, caption, figure, short_names

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CLASSIC = "heavy_ball_tuned"
"""Whose mean losses are the targets unless another is named."""


def target_losses(setting: Setting, classic: str = CLASSIC) -> dict[int, float]:
    """Mean loss of the classic after each number of steps (those with a finite mean): the targets.

    Raises:
        UserError: if the classic was not scored, or has no finite loss.
    """
    entry = setting.entry(classic)
    found = {steps: float(entry.pooled(steps).mean()) for steps in entry.losses}
    found = {steps: loss for steps, loss in found.items() if np.isfinite(loss)}
    if not found:
        raise UserError(f"{classic!r} has no finite loss on {setting.title}; name another with --classic")
    return found


def steps_needed(entry: SolverLosses, target: float) -> int | None:
    """Fewest steps after which the mean loss is at most the target; None if it never is in this run."""
    reached = [steps for steps in entry.losses if float(entry.pooled(steps).mean()) <= target * (1 + 1e-9)]
    return min(reached) if reached else None


def first_hits(entry: SolverLosses, targets: list[float]) -> NDArray[np.float64]:
    """Fewest steps after which a task's loss is at most a target, inf where it never is.

    Args:
        entry: a solver; a learned one is another model at each number of steps, and the first that hits counts.
        targets: losses.

    Returns:
        `(targets, tasks)`.
    """
    tasks = len(entry.sample(min(entry.losses)))
    hits = np.full((len(targets), tasks), np.inf)
    for steps in sorted(entry.losses, reverse=True):
        losses = entry.sample(steps)
        for row, target in zip(hits, targets, strict=True):
            row[losses <= target * (1 + 1e-9)] = steps
    return hits


def in_seconds(entry: SolverLosses, hits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Steps as warm time a task, in seconds; inf where a number of steps was not timed."""
    seconds = np.full(hits.shape, np.inf)
    for steps, value in entry.seconds.items():
        seconds[hits == steps] = value
    return seconds


def targets(setting: Setting, classic: str = CLASSIC) -> pd.DataFrame:
    """One row for each solver and target.

    Returns:
        The setting, `classic`, `classic_steps` (the target is its mean loss after so many), `log_target`, `solver`,
        `needs`, `steps` to reach it (missing: not within `most_steps`), `seconds` a task that takes (median warm
        time; missing without a timing), and `seconds_ratio` to the classic's own time.
    """
    losses, reference = target_losses(setting, classic), setting.entry(classic)
    rows = []
    for entry in setting.entries:
        for classic_steps, target in losses.items():
            steps = steps_needed(entry, target)
            seconds = None if steps is None else entry.seconds.get(steps)
            # The classic may itself reach the target in fewer steps, if its loss is not monotone.
            own = reference.seconds.get(steps_needed(reference, target) or classic_steps)
            rows.append(
                {
                    "classic_steps": classic_steps,
                    "log_target": float(np.log(target)),
                    "solver": entry.label,
                    "needs": entry.needs,
                    "steps": steps,
                    "most_steps": max(entry.losses),
                    "seconds": seconds,
                    "seconds_ratio": None if seconds is None or not own else seconds / own,
                }
            )
    return setting.table(rows, classic=classic).astype({"steps": "Int64", "seconds": float, "seconds_ratio": float})


def targets_figure(setting: Setting, table: pd.DataFrame) -> Figure:
    """Two matrices, solvers by targets: steps needed, and warm time as a multiple of the classic's."""
    steps = table.pivot(index="solver", columns="classic_steps", values="steps").astype(float)
    ratio = table.pivot(index="solver", columns="classic_steps", values="seconds_ratio").astype(float)
    # Best first: most targets reached, then fewest steps in all, then least time.
    order = sorted(
        steps.index, key=lambda name: (steps.loc[name].isna().sum(), steps.loc[name].sum(), ratio.loc[name].sum())
    )
    steps, ratio = steps.loc[order], ratio.loc[order]
    needs = table.drop_duplicates("solver").set_index("solver")["needs"]
    classic = str(table["classic"].iloc[0])
    log_target = table.drop_duplicates("classic_steps").set_index("classic_steps")["log_target"]
    drawn, (left, right) = figure(7.4, 0.19 * len(order) + 1.5, columns=2, sharey=True)
    most = float(np.nanmax(steps.to_numpy()))
    _matrix(left, steps, "YlGnBu_r", (0.5, most + 1.5), lambda value: f"{value:.0f}")
    largest = max(abs(np.log(ratio.to_numpy()[ratio.notna().to_numpy()])).max(initial=0.1), 0.1)
    _matrix(right, np.log(ratio), "PuOr_r", (-1.3 * largest, 1.3 * largest), lambda value: f"{np.exp(value):.2g}")
    left.set_yticks(range(len(order)), short_names(order))
    for tick, name in zip(left.get_yticklabels(), order, strict=True):
        tick.set_color(COLOURS[str(needs[name])])
        tick.set_fontweight("bold" if is_named(name, classic) else "normal")
    names = [f"{k}\n{log_target[k]:.2f}" for k in steps.columns]
    for axes, title in ((left, "Steps to target"), (right, "Warm time, the classic = 1")):
        axes.set_xticks(range(len(names)), names)
        axes.tick_params(length=0)
        axes.set_title(title, fontsize=9)
        axes.spines[["left", "bottom"]].set_visible(False)
    text = f"target: mean loss of {classic} after so many steps, below it its logarithm; – not reached in this run"
    caption(drawn, f"{text}; {setting.tasks:,} tasks")
    drawn.suptitle(setting.title, fontsize=10, x=0.01, ha="left")
    return drawn


def _matrix(axes, table: pd.DataFrame, colours: str, limits: tuple[float, float], text) -> None:
    values = table.to_numpy(float)
    image = axes.imshow(values, cmap=colours, vmin=limits[0], vmax=limits[1], aspect="auto")
    for (i, j), value in np.ndenumerate(values):
        if np.isnan(value):
            axes.text(j, i, "–", ha="center", va="center", fontsize=7, color="#888888")
            continue
        red, green, blue, _ = image.cmap(image.norm(value))
        dark = 0.3 * red + 0.59 * green + 0.11 * blue < 0.5
        axes.text(j, i, text(value), ha="center", va="center", fontsize=7, color="white" if dark else "black")
