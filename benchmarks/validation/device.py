"""What an accelerator changes: whether losses agree with the CPU's, and what its times are made of.

    python -m benchmarks.validation.device --device cuda --output results/studies/device.md

Solvers of a suite are fitted on the CPU and score the same tasks on both. Then some solve batches of up to a million
tasks, each timed as `timings.csv` is and by a clock on the wall. With one task a solve is next to nothing but launches:
what that takes is the launch share of a larger one. Bytes are what operations read and write, and the bandwidth that
they have a share of is that of a copy on the device.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from typer import Exit, Option, run

from benchmarks import api
from benchmarks.errors import UserError
from benchmarks.harness.devices import build_device, full_precision, holds_double, start_up, synchronise
from benchmarks.harness.resolve import build_cells
from benchmarks.harness.scores.fitting import ParameterStore
from benchmarks.harness.scores.measure import measure
from benchmarks.harness.timings.clock import WARM_SECONDS
from benchmarks.harness.timings.once import time_once
from benchmarks.reports.template import render
from benchmarks.runs.environment import machine
from benchmarks.suites.suite import load_suite
from memformer.core.problem import Problem
from memformer.core.solver import Solver

ROUNDING = {"float32": 2e-4, "float64": 1e-9}
"""Largest relative difference of mean losses by type; a loss is taken for at least this share of that of no steps."""

TIMED = ("gradient_descent", "cg", "ols", "memformer_first_order", "memformer_gdpp")
BATCHES, STEPS, REPEATS, SAMPLE = (1, 200, 20_000, 1_000_000), 4, 5, 64
COPIED = 2**28
"""Bytes of the copy that gives the bandwidth."""

CPU = torch.device("cpu")


def main(
    device: str = "cuda",
    suite: str = "smoke",
    output: Annotated[Path | None, Option(help="Markdown file; by default the page is printed")] = None,
) -> None:
    """Measure; print the page or write it. Exit status 1 if losses disagree, 2 without an accelerator."""
    try:
        place = accelerator(device)
    except UserError as error:
        print(error)
        raise Exit(2) from None
    dtype = "float64" if holds_double(place) else "float32"
    with full_precision():
        differences = agreement(suite, dtype, place)
        rows = [row for name in TIMED for row in times(name, getattr(torch, dtype), place)]
    worst = max(differences, key=lambda name: math.inf if math.isnan(differences[name]) else differences[name])
    facts = {"worst": worst, "difference": differences[worst], "rounding": ROUNDING[dtype], "solvers": len(differences)}
    facts |= {"command": f"--device {device} --suite {suite}", "machine": machine(place), "dtype": dtype}
    page = render("benchmarks.validation", "device.md.jinja", rows=rows, steps=STEPS, **facts)
    if output is None:
        print(page)
    else:
        output.write_text(page, encoding="utf-8")
    if not differences[worst] <= ROUNDING[dtype]:
        raise Exit(1)


def accelerator(name: str) -> torch.device:
    """The device of that name.

    Raises:
        UserError: if it is the CPU, or is not here.
    """
    place = build_device(name)
    if place.type == "cpu":
        raise UserError("this study compares an accelerator with the CPU; name one, such as --device cuda")
    return place


def agreement(suite: str, dtype: str, place: torch.device) -> dict[str, float]:
    """Largest relative difference between the mean losses of each solver of a suite on the CPU and elsewhere."""
    found: dict[str, float] = {}
    for cell in build_cells(load_suite(suite).model_copy(update={"device": "cpu", "dtype": dtype})):
        if cell.solver.skip(cell.law.stream(0, api.Purpose.TRAIN, cell.dtype, CPU))[0]:
            continue
        fit = ParameterStore().fit(cell.solver_name, cell.solver, cell.law, cell.steps, [0], cell.dtype, CPU)
        tasks, solver, steps = (
            cell.law.stream(0, api.Purpose.SCORE, cell.dtype).sample(cell.tasks),
            fit.solvers[0],
            cell.steps,
        )
        on_both = ((solver, tasks), (solver.placed(cell.dtype, place), tasks.to(device=place)))
        here, there = (measure(one, problem, (0, *steps)).losses for one, problem in on_both)
        all_of_it = [difference(here[name], there[name], ROUNDING[dtype]) for name in here]
        found[cell.solver_name] = float(np.max([*all_of_it, found.get(cell.solver_name, 0.0)]))  # nan if one is nan
    return found


def difference(here: NDArray[np.float64], there: NDArray[np.float64], rounding: float) -> float:
    """Largest relative difference of mean losses, given `(1 + steps, tasks)` from no steps on.

    Example:
        >>> difference(np.array([[4.0], [2.0]]), np.array([[4.0], [2.5]]), 1e-9)
        0.25
    """
    mine, other = here.mean(1), there.mean(1)
    return float((np.abs(other - mine) / np.maximum(mine, rounding * mine[0])).max())


def times(name: str, dtype: torch.dtype, place: torch.device) -> list[list[str]]:
    """Rows of the table: a solver at every batch."""
    law = api.law("isotropic", d=5, N=20)
    made: Solver = api.solver(name, **({"starts": 1} if name.startswith("memformer") else {}))
    solver = api.fitted(made, law, [STEPS]).placed(dtype, place)
    start_up(place, dtype)
    peak, least, rows = bandwidth(place), 0.0, []
    for batch in BATCHES:
        problem = law.stream(0, api.Purpose.TIMING, dtype, place).sample(batch).blinded()
        seconds, wall = timed(lambda fresh: solver.solve(fresh, STEPS), problem)
        least = least or seconds
        moved = traffic(lambda fresh: solver.solve(fresh, STEPS), problem.first(min(batch, SAMPLE)))
        moved *= batch / min(batch, SAMPLE)
        shares = [f"{launch_share(least, seconds):.0%}", f"{bandwidth_share(moved, seconds, peak):.0%}"]
        rows.append([name, f"{batch:,}", f"{1e3 * seconds:.3g}", f"{1e3 * wall:.3g}", *shares])
    return rows


def timed(call: Callable[[Problem], Any], problem: Problem) -> tuple[float, float]:
    """Median seconds of a call on a warm device: by events in its stream, and by a clock on the wall."""
    began = time.perf_counter()
    while time.perf_counter() - began < WARM_SECONDS:
        time_once(call, problem)
    events, walls = [], []
    for _ in range(REPEATS):
        events.append(time_once(call, problem))
        fresh = problem.blinded()
        synchronise(problem.device)
        start = time.perf_counter()
        call(fresh)
        synchronise(problem.device)
        walls.append(time.perf_counter() - start)
    return median(events), median(walls)


def launch_share(least: float, seconds: float) -> float:
    """Share of a solve that its launches take, given the seconds of the same on one task.

    Example:
        >>> launch_share(0.5, 2.0), launch_share(0.5, 0.4)
        (0.25, 1.0)
    """
    return min(1.0, least / seconds)


def bandwidth_share(moved: float, seconds: float, peak: float) -> float:
    """Share of a bandwidth, bytes a second, at which bytes were moved.

    Example:
        >>> bandwidth_share(3e9, 2.0, 6e9)
        0.25
    """
    return moved / seconds / peak


def bandwidth(place: torch.device) -> float:
    """Bytes a second that a copy on the device reads and writes."""
    source = torch.zeros(COPIED, dtype=torch.uint8, device=place)
    target, seconds = torch.empty_like(source), []
    for _ in range(REPEATS):
        synchronise(place)
        start = time.perf_counter()
        target.copy_(source)
        synchronise(place)
        seconds.append(time.perf_counter() - start)
    return 2 * COPIED / min(seconds)


def traffic(call: Callable[[Problem], Any], problem: Problem) -> int:
    """Bytes of what the operations of a call read and write.

    Example:
        >>> one = Problem(torch.ones(1, 2, 1), torch.ones(1, 2), torch.ones(1, 1, 1))
        >>> traffic(lambda fresh: fresh.y.neg(), one)
        16
    """
    with _Traffic() as watch:
        call(problem.blinded())
    return watch.moved


class _Traffic(TorchDispatchMode):
    """Adds up the bytes of arguments and results, but for views, which move nothing."""

    moved = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        if not func.is_view:
            self.moved += sum(one.nbytes for one in tree_leaves((args, kwargs, found)) if isinstance(one, Tensor))
        return found


if __name__ == "__main__":
    run(main)
