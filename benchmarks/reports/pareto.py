"""Loss against warm wall-clock time, and the front of solvers that nothing else beats in both."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from benchmarks.errors import UserError
from benchmarks.reports.comparison import Setting
from benchmarks.reports.style import COLOURS, NEEDS, caption, figure, short_names

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def pareto(setting: Setting) -> pd.DataFrame:
    """One row for each solver and number of steps that was timed.

    Returns:
        The setting, `solver`, `needs`, `steps`, `seconds` (median warm time of one solve, a task), `log_loss` with its
        95 % interval `log_low`, `log_high`, and `on_front`: no other row is as fast and as good, and better in one.

    Raises:
        UserError: if nothing was timed.
    """
    rows = []
    for entry in setting.entries:
        for steps, seconds in entry.seconds.items():
            if steps not in entry.losses or not np.isfinite(entry.pooled(steps)).all():
                continue
            summary = entry.summary(steps)
            row = {"solver": entry.label, "needs": entry.needs, "steps": steps, "seconds": seconds}
            rows.append(row | {"log_loss": summary.log_mean, "log_low": summary.log_low, "log_high": summary.log_high})
    if not rows:
        raise UserError("the run has no timings; run its suite with a [timings] table")
    table = setting.table(rows)
    table["on_front"] = on_front(table["seconds"].to_numpy(float), table["log_loss"].to_numpy(float))
    return table


def on_front(seconds: np.ndarray, loss: np.ndarray) -> np.ndarray:
    """Whether no other point is at most as large in both coordinates and smaller in one.

    Example:
        >>> on_front(np.array([1.0, 2.0, 3.0]), np.array([5.0, 6.0, 1.0])).tolist()
        [True, False, True]
    """
    faster, better = seconds[None, :] <= seconds[:, None], loss[None, :] <= loss[:, None]
    strictly = (seconds[None, :] < seconds[:, None]) | (loss[None, :] < loss[:, None])
    return np.asarray(~(faster & better & strictly).any(axis=1))


def pareto_figure(setting: Setting, table: pd.DataFrame) -> Figure:
    """Log loss against time a task, logarithmic; a thin curve runs through a solver's numbers of steps."""
    from matplotlib.ticker import FuncFormatter, NullFormatter

    drawn, (axes,) = figure(7.0, 4.4)
    rows = table.to_dict("records")
    finite = [row["log_loss"] for row in rows if not setting.is_exact(row["log_loss"])]
    span = max(finite, default=0.0) - min(finite, default=-1.0)
    exact = len(finite) < len(rows)
    floor = min(finite, default=-1.0) - (0.12 * span + 0.2 if exact else 0.05 * span + 0.05)
    axes.set_ylim(floor, max(finite, default=0.0) + 0.05 * span + 0.2)
    axes.set_xscale("log")
    for solver in dict.fromkeys(table["solver"]):
        mine = [row for row in rows if row["solver"] == solver]
        x, y = [1e6 * row["seconds"] for row in mine], [max(row["log_loss"], floor) for row in mine]
        axes.plot(x, y, "o-", color=COLOURS[mine[0]["needs"]], lw=0.5, ms=2.5, mew=0, alpha=0.35, zorder=1)
    front = sorted((row for row in rows if row["on_front"]), key=lambda row: row["seconds"])
    x, y = [1e6 * row["seconds"] for row in front], [max(row["log_loss"], floor) for row in front]
    axes.step(x, y, where="post", color="black", lw=1.0, zorder=2)
    height = axes.get_ylim()[1] - floor
    solvers = list(dict.fromkeys(table["solver"]))
    names = dict(zip(solvers, short_names(solvers), strict=True))
    for i, row in enumerate(front):
        # Names of neighbours at one height stand above each other, the leftmost highest.
        crowd = sum(abs(other - y[i]) < 0.04 * height for other in y[i + 1 :])
        marked = {**row, "solver": names[row["solver"]], "exact": setting.is_exact(row["log_loss"])}
        _label(axes, marked, (x[i], y[i]), lift=9 * crowd)
    needs = [name for name in COLOURS if name in set(table["needs"])]
    handles = [axes.plot([], [], "o", ms=4, color=COLOURS[name], label=NEEDS[name])[0] for name in needs]
    drawn.legend(handles=handles, loc="outside right upper", handletextpad=0.2)
    times = [1e6 * row["seconds"] for row in rows]
    axes.set_xlim(0.75 * min(times), 1.5 * max(times))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    few = max(times) < 30 * min(times)
    minor = FuncFormatter(lambda value, _: f"{value:g}" if f"{value:e}"[0] in "25" else "")
    axes.xaxis.set_minor_formatter(minor if few else NullFormatter())
    axes.set_title(setting.title)
    axes.set_xlabel("warm time of a solve, µs a task")
    axes.set_ylabel(f"log of the mean {setting.metric.replace('_', ' ')}")
    text = f"black: Pareto front, each point named solver:steps; {setting.tasks:,} tasks"
    caption(drawn, text + ("; triangles at the lower edge: exact but for rounding" if exact else ""))
    return drawn


def _label(axes: Axes, row: dict[Any, Any], place: tuple[float, float], lift: float) -> None:
    from matplotlib.patheffects import withStroke

    colour, exact = COLOURS[row["needs"]], row["exact"]
    axes.plot(*place, "v" if exact else "o", ms=5, color=colour, zorder=3, clip_on=False)
    halo = [withStroke(linewidth=2.5, foreground="white")]
    text, offset = f"{row['solver']}:{row['steps']}", (6, (7 if exact else 4) + lift)
    axes.annotate(
        text, place, offset, textcoords="offset points", fontsize=7.5, color=colour, path_effects=halo, zorder=4
    )
