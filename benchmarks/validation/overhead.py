"""What the harness costs a cell beyond the solver's own work: many cells whose solver has next to nothing to do.

    python -m benchmarks.validation.overhead --output results/studies/overhead.md

The whole scores pass is timed, from the suite to the written tables, and taken apart by clocks on its functions:

- solver: `Solver.solve`;
- statistics: rows from per-task losses (means, intervals, quantiles, gaps), without the truth lines;
- harness: everything else (building cells, their keys, tasks, metrics, keeping finished cells, writing tables);
- truth lines and floors: computed once for each law and seed and then found again, so they are no cost of a cell; what
  they take the first time is stated beside the table.

Two shapes of cell: the least one, one number of steps under one seed; and one as in the suite `core`, which has 40
rows for 15 points. A point is one number of steps under one seed: what a benchmark without intervals would measure.
"""

from __future__ import annotations

import tempfile
import time
import tomllib
from collections.abc import Sequence
from contextlib import ContextDecorator
from pathlib import Path
from statistics import median
from typing import Annotated, Any, NamedTuple
from unittest.mock import patch

from typer import Option, run

from baselines.gradient import GradientDescent
from benchmarks.cli.progress import _Lines
from benchmarks.harness.run import run_suite
from benchmarks.harness.scores import gaps
from benchmarks.harness.workers import cells as scoring
from benchmarks.reports.template import render
from benchmarks.runs.environment import describe
from benchmarks.suites.suite import Suite

SHAPES = tomllib.loads(Path(__file__).with_suffix(".toml").read_text("utf-8"))
"""What a cell is asked for, by the title of its row."""


class Clock(ContextDecorator):
    """Seconds spent inside the functions it decorates."""

    seconds = 0.0

    def __enter__(self) -> None:
        self._began = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self.seconds += time.perf_counter() - self._began


class Parts(NamedTuple):
    """Where the time goes, in the order of the table."""

    solver: float
    statistics: float
    harness: float
    beyond_solver: float
    truth: float


def main(
    cells: int = 200,
    repeats: int = 5,
    output: Annotated[Path | None, Option(help="Markdown file; by default the page is printed")] = None,
) -> None:
    """Measure; print milliseconds a cell, or write them as a page."""
    rows, first = [], []
    with tempfile.TemporaryDirectory() as folder:
        for number, (title, shape) in enumerate(SHAPES.items()):
            warm = measure(Path(folder), f"warm-up{number}", shape, 1)
            first.append(f"{warm.truth / 1000:.1f} s")
            many = cells if number == 0 else max(1, cells // 5)
            runs = [measure(Path(folder), f"{number}-{k}", shape, many) for k in range(repeats)]
            points = len(shape["steps"]) * len(shape["seeds"])
            a_point = [run.beyond_solver / points for run in runs]
            rows.append([title, *map(_spread, list(zip(*runs, strict=True))[:4]), points, _spread(a_point)])
    page = render(
        "benchmarks.validation",
        "overhead.md.jinja",
        cpu=describe()["cpu"],
        repeats=repeats,
        cells=cells,
        rows=rows,
        first=first,
    )
    if output is None:
        print(page)
    else:
        output.write_text(page, encoding="utf-8")


def _spread(values: Sequence[float]) -> str:
    return f"{median(values):.1f} ({min(values):.1f}–{max(values):.1f})"


def measure(folder: Path, name: str, shape: dict[str, Any], cells: int) -> Parts:
    """Milliseconds a cell of a run of so many cells."""
    suite = Suite.model_validate(
        {
            "schema": 1,
            "name": "overhead",
            **shape,
            "timings": None,
            "tasks": [{"law": "isotropic", "d": 3, "N": 8}],
            "solvers": [{"name": "gradient_descent", "params": {"eta": 0.1 / (1 + number)}} for number in range(cells)],
        }
    )
    solving, summarising, truth = Clock(), Clock(), Clock()
    with (
        patch.object(GradientDescent, "solve", solving(GradientDescent.solve)),
        patch.object(scoring, "summarised", summarising(scoring.summarised)),
        patch.object(gaps, "floor_losses", truth(gaps.floor_losses)),
        patch.object(gaps, "bayes_losses", truth(gaps.bayes_losses)),
        patch.object(scoring, "WORTH_PROCESSES", cells + 1),
    ):
        start = time.perf_counter()
        run_suite(suite, folder, None, ["overhead"], _Lines(), name)
        whole = time.perf_counter() - start
    beyond = whole - solving.seconds - truth.seconds
    statistics = summarising.seconds - truth.seconds
    parts = solving.seconds, statistics, beyond - statistics, beyond, truth.seconds
    return Parts(*(1000 * seconds / cells for seconds in parts))


if __name__ == "__main__":
    run(main)
