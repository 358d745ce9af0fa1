"""What the harness costs a cell beyond the solver's own work: many cells whose solver has next to nothing to do.

    python -m benchmarks.validation.overhead --output results/studies/overhead.md

The whole scores pass is timed, from the suite to the written tables, and taken apart by clocks on its functions:

- solver: `Solver.solve`;
- statistics: rows from per-task losses (means, intervals, quantiles, gaps), without the truth lines;
- ranks: paired tests of every two solvers of a law, at the end; here all cells are of one law;
- harness: everything else (building cells, their keys, tasks, metrics, keeping finished cells, writing tables);
- truth lines and floors: computed once for each law and seed and then found again, so they are no cost of a cell; what
  they take the first time is stated beside the table.

Two shapes of cell: the least one, one number of steps under one seed; and one as in the suite `core`, which has 40
rows for 15 points. A point is one number of steps under one seed: what a benchmark without intervals would measure.

Where benchopt is installed (the extra `anchors`), it computes the same points in the same rounds, see
`benchmarks.validation.overhead_benchopt`.
"""

from __future__ import annotations

import tempfile
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple
from unittest.mock import patch

from typer import Option, run

from baselines.gradient import GradientDescent
from benchmarks.cli.progress import _Lines
from benchmarks.harness.run import run_suite
from benchmarks.harness.scores import gaps
from benchmarks.harness.workers import cells as scoring
from benchmarks.reports.template import render
from benchmarks.runs import write
from benchmarks.runs.environment import describe
from benchmarks.suites.suite import Suite
from benchmarks.validation import overhead_benchopt as benchopt
from benchmarks.validation.overhead_clock import Clock

SHAPES = tomllib.loads(Path(__file__).with_suffix(".toml").read_text("utf-8"))
"""What a cell is asked for, by the title of its row."""


TASKS = {"d": 3, "N": 8}
"""Of the law `isotropic`."""


class Parts(NamedTuple):
    """Milliseconds a cell, in the order of the table.

    Attributes:
        processor: of `beyond_solver`, the milliseconds of the processor; `ranks_processor`: of `ranks`.
    """

    solver: float
    statistics: float
    ranks: float
    harness: float
    beyond_solver: float
    truth: float
    processor: float
    ranks_processor: float


class Rounds(NamedTuple):
    """What a cell cost in each round, and the largest relative difference of a loss."""

    ours: list[Parts]
    theirs: dict[benchopt.Way, list[benchopt.Cost]]
    difference: float


def main(
    cells: int = 200,
    repeats: int = 5,
    output: Annotated[Path | None, Option(help="Markdown file; by default the page is printed")] = None,
) -> None:
    """Measure; print milliseconds a cell, or write them as a page."""
    ways = benchopt.WAYS if benchopt.version() else ()
    measured, first = [], []
    with tempfile.TemporaryDirectory() as folder:
        for number, shape in enumerate(SHAPES.values()):
            warm = rounds(Path(folder, f"warm-up{number}"), shape, 1, 1, ways)
            first.append(warm.ours[0].truth)
            many = cells if number == 0 else max(1, cells // 5)
            measured.append(rounds(Path(folder, str(number)), shape, many, repeats, ways))
    text = page(measured, first, benchopt.version(), cpu=describe()["cpu"], repeats=repeats, cells=cells)
    if output is None:
        print(text)
    else:
        output.write_text(text, encoding="utf-8")


def page(measured: Sequence[Rounds], first: Sequence[float], version: str | None, **facts: Any) -> str:
    """The page.

    Args:
        measured: of each of `SHAPES`.
        first: milliseconds that truth lines and floors took in each.
        version: of benchopt; None if it is not installed.
        **facts: what else the template shows.
    """
    rows, beside = [], []
    for (title, shape), found in zip(SHAPES.items(), measured, strict=True):
        points = len(shape["steps"]) * len(shape["seeds"])
        a_point = [run.beyond_solver / points for run in found.ours]
        parts = list(zip(*found.ours, strict=True))[:5]
        rows.append([title, *map(benchopt.spread, parts), points, benchopt.spread(a_point)])
        ours = {"this harness": [_cost(run) for run in found.ours]}
        ours["this harness, ranks apart"] = [_cost(run, run.ranks, run.ranks_processor) for run in found.ours]
        beside.append((title, points, benchopt.compared(points, ours, found.theirs)))
    return render(
        "benchmarks.validation",
        "overhead.md.jinja",
        rows=rows,
        first=[f"{took / 1000:.1f} s" for took in first],
        version=version,
        beside=beside,
        difference=max(found.difference for found in measured),
        **facts,
    )


def _cost(run: Parts, apart: float = 0.0, apart_processor: float = 0.0) -> benchopt.Cost:
    return benchopt.Cost(run.solver, 0.0, run.beyond_solver - apart, run.processor - apart_processor)


def rounds(folder: Path, shape: dict[str, Any], cells: int, repeats: int, ways: Sequence[benchopt.Way]) -> Rounds:
    """Measure the harness and benchopt in turn, and hold their losses against each other."""
    found = Rounds([], {way: [] for way in ways}, 0.0)
    folder.mkdir()
    for number in range(repeats):
        name = f"round{number}"
        found.ours.append(measure(folder, name, shape, cells))
        for place, way in enumerate(ways):
            cost, losses = benchopt.measure(folder / f"{name}-{place}", way, TASKS, shape, _etas(cells))
            found.theirs[way].append(cost)
            differs = benchopt.difference(benchopt.in_run(folder / name), losses)
            found = found._replace(difference=max(found.difference, differs))
    return found


def _etas(cells: int) -> list[float]:
    """Step size of each cell."""
    return [0.1 / (1 + number) for number in range(cells)]


def measure(folder: Path, name: str, shape: dict[str, Any], cells: int) -> Parts:
    """Milliseconds a cell of a run of so many cells."""
    suite = Suite.model_validate(
        {
            "schema": 1,
            "name": "overhead",
            **shape,
            "timings": None,
            "tasks": [{"law": "isotropic", **TASKS}],
            "solvers": [{"name": "gradient_descent", "params": {"eta": eta}} for eta in _etas(cells)],
        }
    )
    solving, summarising, ranking, truth, whole = Clock(), Clock(), Clock(), Clock(), Clock()
    with (
        patch.object(GradientDescent, "solve", solving(GradientDescent.solve)),
        patch.object(scoring, "summarised", summarising(scoring.summarised)),
        patch.object(write, "standings", ranking(write.standings)),
        patch.object(gaps, "floor_losses", truth(gaps.floor_losses)),
        patch.object(gaps, "bayes_losses", truth(gaps.bayes_losses)),
        patch.object(scoring, "WORTH_PROCESSES", cells + 1),
        whole,
    ):
        run_suite(suite, folder, None, ["overhead"], _Lines(), name)
    beyond = whole.seconds - solving.seconds - truth.seconds
    statistics = summarising.seconds - truth.seconds
    parts = Parts(
        solver=solving.seconds,
        statistics=statistics,
        ranks=ranking.seconds,
        harness=beyond - statistics - ranking.seconds,
        beyond_solver=beyond,
        truth=truth.seconds,
        processor=whole.processor - solving.processor - truth.processor,
        ranks_processor=ranking.processor,
    )
    return Parts(*(1000 * seconds / cells for seconds in parts))


if __name__ == "__main__":
    run(main)
