"""An anchor for the harness's overhead: benchopt on the same cells, taken apart by the same clocks.

The folder `benchopt_benchmark` is a benchmark as benchopt wants one: the same tasks, the solver of our registry, the
same metrics. benchopt runs it, in this process, in a copy; no plots, no HTML, no progress, one job.

It is run in all ways that compute the same points: solved anew for each number of steps, as benchopt samples
iterations; solved once and called back after each step; solved once, and all numbers of steps told by that run. Each
with its cache, which keeps what has been finished as the harness does, and without. Every loss that it records must be
the one in the harness's table.

Needs the extra `anchors`.
"""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from importlib import import_module, metadata
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple
from unittest.mock import patch

import numpy as np
import pandas as pd

from baselines.gradient import GradientDescent
from benchmarks.errors import UserError
from benchmarks.harness.workers.limits import pinned_threads
from benchmarks.runs.read import read_run
from benchmarks.runs.schema import PREFERRED_METRICS
from benchmarks.validation.overhead_clock import Clock

BENCHMARK = Path(__file__).with_name("benchopt_benchmark")

CALLED = {
    "a run each": "a run for each number of steps",
    "callback": "called back after each step",
    "one run": "one run tells all numbers of steps",
}
"""The solvers of that benchmark: gradient descent, called in three ways."""

SAME = 5.1e-8
"""Relative difference of two losses that differ by rounding alone: the harness's table holds eight digits."""

Losses = dict[tuple[Any, ...], float]
"""Mean losses by eta, seed, steps and metric."""


class Way(NamedTuple):
    """How benchopt is run: by which of the solvers, and whether with its cache."""

    called: str
    cached: bool


WAYS = tuple(Way(called, cached) for called in CALLED for cached in (True, False))


class Cost(NamedTuple):
    """Milliseconds a cell, as in a row of the table: the last is of the processor, and of all but the solver too."""

    solver: float
    described: float
    beyond_solver: float
    processor: float


def version() -> str | None:
    """Which benchopt is installed; None without one."""
    try:
        return metadata.version("benchopt")
    except metadata.PackageNotFoundError:
        return None


def measure(
    folder: Path, way: Way, law: Mapping[str, Any], shape: Mapping[str, Any], etas: Sequence[float]
) -> tuple[Cost, Losses]:
    """Time a run of benchopt, from its folder to its table.

    Args:
        folder: where the benchmark is copied; not there yet.
        way: how it is run.
        law: `d` and `N` of the tasks.
        shape: steps, seeds and tasks of a cell.
        etas: step size of each cell.

    Returns:
        What a cell costs; and the losses.
    """
    shutil.copytree(BENCHMARK, folder, ignore=shutil.ignore_patterns("__pycache__"))
    solving, describing, whole = Clock(), Clock(), Clock()
    runner, callback = import_module("benchopt.runner"), import_module("benchopt.callback")
    with (
        patch.object(GradientDescent, "solve", solving(GradientDescent.solve)),
        patch.object(runner, "get_sys_info", describing(runner.get_sys_info)),
        patch.object(callback, "get_sys_info", describing(callback.get_sys_info)),
        redirect_stdout(io.StringIO()),
        pinned_threads(1),
        whole,
    ):
        table = runner.run_benchmark(
            folder,
            solver_names=[{way.called: {"eta": list(etas)}}],
            dataset_names=[{"isotropic": {**_listed(law), **_listed(shape["scores"]), "seed": list(shape["seeds"])}}],
            objective_filters=[{"mean losses": {"steps": [tuple(shape["steps"])]}}],
            max_runs=len(shape["steps"]) - 1,
            n_jobs=1,
            plot_result=False,
            display=False,
            html=False,
            show_progress=False,
            no_cache=not way.cached,
        )
    seconds = (
        solving.seconds,
        describing.seconds,
        whole.seconds - solving.seconds,
        whole.processor - solving.processor,
    )
    return Cost(*(1000 * part / len(etas) for part in seconds)), _theirs(pd.read_parquet(table))


def _listed(values: Mapping[str, Any]) -> dict[str, list[Any]]:
    return {name: [value] for name, value in values.items()}


def _theirs(table: pd.DataFrame) -> Losses:
    names = ["p_solver_eta", "p_dataset_seed", "objective_steps"]
    found = {
        (*point, metric): mean
        for metric in PREFERRED_METRICS
        for *point, mean in table[[*names, f"objective_{metric}"]].itertuples(index=False)
    }
    if len(found) != len(PREFERRED_METRICS) * len(table):
        raise UserError("benchopt computed a point twice")
    return found


def in_run(path: Path) -> Losses:
    """The same losses, of a run of the harness."""
    rows = read_run(path).scores
    own = rows.loc[rows["seed"].notna(), ["solver_params", "seed", "steps", "metric", "mean"]]
    return {(json.loads(params)["eta"], *point): mean for params, *point, mean in own.itertuples(index=False)}


def difference(ours: Losses, theirs: Losses) -> float:
    """The largest relative difference between losses of the same points.

    Raises:
        UserError: if it is more than rounding, or the points are not the same.
    """
    if ours.keys() != theirs.keys():
        raise UserError("benchopt and the harness did not compute the same points")
    largest = float(np.max([abs(theirs[point] - mean) / abs(mean) for point, mean in ours.items()]))
    if not largest <= SAME:
        raise UserError(f"a loss that benchopt recorded differs from the harness's by {largest:.1e} of itself")
    return largest


def compared(points: int, ours: Mapping[str, Sequence[Cost]], theirs: Mapping[Way, Sequence[Cost]]) -> list[list[str]]:
    """Rows of the page: the harness, and each way of benchopt beside it.

    Args:
        points: of a cell.
        ours: what a cell cost in each round, by name: first the whole, to which ratios are taken, then less than that.
        theirs: what it cost benchopt in the same rounds.
    """
    whole = next(iter(ours.values()))
    rows = [[name, "yes", *_cells(points, costs, whole)] for name, costs in ours.items()]
    for way, costs in theirs.items():
        kept = "yes" if way.cached else "no"
        rows.append([f"benchopt, {CALLED[way.called]}", kept, *_cells(points, costs, whole)])
    return rows


def _cells(points: int, costs: Sequence[Cost], whole: Sequence[Cost]) -> list[str]:
    solver, described, beyond, processor = (list(part) for part in zip(*costs, strict=True))
    machine = spread(described) if any(described) else "–"
    a_point = [[value / points for value in part] for part in (beyond, processor)]
    ratios = [cost.beyond_solver / own.beyond_solver for cost, own in zip(costs, whole, strict=True)]
    ratio = "1" if costs is whole else spread(ratios)
    return [spread(solver), machine, spread(beyond), *map(spread, a_point), ratio]


def spread(values: Sequence[float]) -> str:
    """The median of some numbers, from the least to the most.

    Example:
        >>> spread([3.0, 1.0, 2.0])
        '2.0 (1.0–3.0)'
    """
    return f"{median(values):.1f} ({min(values):.1f}–{max(values):.1f})"
