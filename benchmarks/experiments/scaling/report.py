"""`memformer-bench run scaling`: the suite of growing tasks, exponents, figures, and the stopwatch in a sentence."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from benchmarks.experiments.experiment import suite_experiment
from benchmarks.experiments.scaling.growth import GROWS, LEAST_POINTS, SWEEPS, growth, points, sentence, stopwatch
from benchmarks.reports.style import CYCLE, DASHES, caption, figure
from benchmarks.reports.write import Report
from benchmarks.runs.read import Run

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def report(run: Run, steps: int = 8) -> Report:
    """Exponents, races, a figure for each variable that grows, and who wins on the stopwatch.

    Args:
        run: that was timed.
        steps: at which iterative methods are drawn.

    Raises:
        UserError: if nothing was timed, or nothing grows.
    """
    table = points(run)
    raced = stopwatch(table)
    drawn = {f"scaling_{variable}": scaling_figure(table, variable, steps) for variable in GROWS["sweep"]}
    return Report(
        {"scaling_growth": growth(table), "scaling_stopwatch": raced},
        {name: one for name, one in drawn.items() if one is not None},
        {"scaling.md": f"# Scaling\n\n{sentence(raced)}\n"},
        "%.6g",
    )


def scaling_figure(table: pd.DataFrame, variable: str, steps: int) -> Figure | None:
    """A panel for each quantity against the variable, in the largest sweep of it; None where nothing grows.

    Args:
        table: of `points`.
        variable: `d`, `N`, `batch` or `steps`.
        steps: that iterative methods are drawn at, or the nearest they were timed at; direct ones at 1.
    """
    chosen: Any = _largest_sweep(table, variable)
    if chosen[variable].nunique() < LEAST_POINTS:
        return None
    if variable != "steps":
        away = (chosen["steps"] - steps).abs()
        chosen = chosen[away == away.groupby([chosen["solver"], chosen[variable]]).transform("min")]
    panels = GROWS["sweep"][variable]["drawn"]
    drawn, axes = figure(3.3 * len(panels) + 1.6, 3.2, len(panels))
    solvers = list(dict.fromkeys(chosen["solver"]))
    for one, quantity in zip(axes, panels, strict=True):
        for number, solver in enumerate(solvers):
            mine = chosen[(chosen["solver"] == solver) & chosen[quantity].notna()].sort_values(variable)
            style = {"color": CYCLE[number % len(CYCLE)], "ls": DASHES[number // len(CYCLE)], "label": solver}
            if not mine.empty:
                one.plot(mine[variable], mine[quantity], marker="o", ms=3, **style)
        _dress(one, variable, quantity, sorted(set(chosen[variable])))
    handles = {line.get_label(): line for one in axes for line in one.get_lines()}
    drawn.legend(handles=[handles[name] for name in solvers if name in handles], loc="outside right upper")
    what = chosen.iloc[0]
    held = {"d": f"N = {what['rows_per_d']:g} d", "N": f"d = {what['d']}", "batch": f"d = {what['d']}, N = {what['N']}"}
    fixed = held.get(variable, f"d = {what['d']}, N = {what['N']}, batch of {what['batch']}")
    at = "" if variable == "steps" else f"; iterative methods after {steps} steps or the nearest, direct ones after 1"
    caption(drawn, f"{what['law']}, {fixed}, noise std {what['noise_std']:g}{at}")
    return drawn


def _largest_sweep(table: pd.DataFrame, variable: str) -> pd.DataFrame:
    """The rows in which the variable takes most values while everything but the solver is held."""
    sweep = next(sweep for sweep in SWEEPS if sweep.variable == variable)
    held = [name for name in sweep.held if name not in ("solver", "steps")]
    groups: Any = table.groupby(held, sort=False)
    parts = [part for _, part in groups]
    return max(parts, key=lambda part: (part[variable].nunique(), len(part)))


def _dress(axes: Axes, variable: str, quantity: str, places: list[float]) -> None:
    axes.set_xscale("log")
    if variable == "steps":  # too few for a scale of powers of ten
        axes.set_xticks(places, [f"{place:g}" for place in places])
        axes.set_xticks([], minor=True)
    if quantity != "gap_to_bayes":
        axes.set_yscale("log")
    axes.set_xlabel(variable)
    axes.set_ylabel(GROWS["names"][quantity])


SCALING = suite_experiment("scaling", "time, work, memory and loss against d, N, batch and steps", report)
