"""`memformer-bench run scaling`: the suite of growing tasks, fitted exponents, and the stopwatch in a sentence."""

from __future__ import annotations

from benchmarks.experiments.experiment import suite_experiment
from benchmarks.experiments.scaling.figure import scaling_figure
from benchmarks.experiments.scaling.growth import GROWS, growth, points, sentence, stopwatch
from benchmarks.reports.write import Report
from benchmarks.runs.read import Run


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


SCALING = suite_experiment("scaling", "time, work, memory and loss against d, N, batch and steps", report)
