"""`memformer-bench run real`: the suite of rows of real tables, and a page of what it says."""

from __future__ import annotations

from benchmarks.experiments.experiment import suite_experiment
from benchmarks.experiments.real.findings import readings, table
from benchmarks.experiments.real.report import page, real_figure
from benchmarks.reports.write import Report
from benchmarks.runs.read import Run


def report(run: Run) -> Report:
    """Page, table and figure of a run on real data.

    Raises:
        UserError: if there is nothing to be read off it.
    """
    found = readings(run)
    return Report({"real": table(found)}, {"real": real_figure(found)}, {"real.md": page(run, found)}, "%.6g")


REAL = suite_experiment("real", "solvers on rows of real tables, against ridge and each other", report)
