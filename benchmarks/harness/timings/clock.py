"""The timings pass: cold and warm wall-clock time of every solver, repetitions interleaved."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import numpy as np
import torch

from benchmarks.errors import UserError, one_line, traced
from benchmarks.harness.cell import Cell, CellResult
from benchmarks.harness.devices import is_lost, start_up
from benchmarks.harness.guard import Seal, guarded
from benchmarks.harness.scores.table import identity
from benchmarks.harness.timings.cost import Work, count_work
from benchmarks.harness.timings.once import no_collection, time_once
from benchmarks.harness.timings.repeats import repeats
from benchmarks.harness.workers.limits import TimeLimitExceeded, time_limit
from benchmarks.runs.environment import machine
from benchmarks.runs.schema import Status, TimingRow
from benchmarks.suites.entries import Timings
from benchmarks.tasks.law import Purpose
from memformer.core.problem import Problem
from memformer.core.solver import Solver

STABLE = 0.05
"""An accelerator is warm once a solve takes as long as the one before, within this share."""

_HOST = torch.device("cpu")
"""Where solvers work that do not work in torch, wherever their tasks lie."""

COUNTING = 10
"""A solve whose work is counted may take so many times its time limit."""

WARM_SECONDS = 0.5
"""So long an accelerator solves before it can be warm: its clock takes that long to rise."""

MOST_WARM_UPS = 20
"""Solves after which an accelerator counts as warm at the latest, once it has solved so long."""


@dataclass
class _Contender:
    """A solver in the race: its fitted result, the solver with its parameters on the device, and the times so far."""

    result: CellResult
    placed: Solver | None = None
    cold: float | None = None
    warm: list[float] = field(default_factory=list)
    status: Status = "ok"
    reason: str = ""
    work: Work | None = None
    traceback: str = ""


Failed = Callable[[CellResult, str], None]
"""Told of a cell whose solve failed while it was timed, with its traceback, and what it was doing."""


def time_cells(
    results: list[CellResult],
    settings: Timings,
    threads: int,
    tick: Callable[[str], None],
    failed: Failed = lambda result, doing: None,
) -> Iterator[TimingRow]:
    """Time the solvers of one law against each other.

    All of them solve the same batch, and none finds moments that another has computed: every call gets a
    fresh problem. Repetition r of every solver comes before repetition r + 1 of any.

    Args:
        results: cells of one law and device, scored before (their fitted solvers are timed).
        settings: batch and repetitions.
        threads: CPU threads that every library is pinned to, for the record.
        tick: called with a solver's name once for each number of steps, for progress.
        failed: called with what failed.

    Yields:
        One row for each cell and number of steps.
    """
    cell = results[0].cell
    for batch in cell.batches or (settings.batch,):
        tasks = _Batch(cell, batch)
        for steps in sorted({step for result in results for step in result.cell.steps}):
            contenders = [_Contender(result) for result in results if steps in result.cell.steps]
            with no_collection():
                try:
                    with guarded(cell.law):
                        tasks.draw()
                except Exception as error:
                    for contender in contenders:
                        if contender.result.status == "ok":
                            _fail(contender, error)
                _place(contenders)
                _race(contenders, tasks, steps, settings)
            for contender in contenders:
                if contender.traceback:
                    doing = f", a batch of {batch} for {steps} steps"
                    failed(replace(contender.result, traceback=contender.traceback), doing)
                tick(contender.result.cell.solver_name)
                yield _row(contender, steps, batch, threads)
        del tasks  # before the next, larger one


class _Batch:
    """The tasks that all solvers of a race solve: drawn when needed, and anew once a solver may have changed them."""

    def __init__(self, cell: Cell, size: int) -> None:
        self._cell, self._size = cell, size
        self._drawn: tuple[Problem, Seal] | None = None

    def draw(self) -> tuple[Problem, Seal]:
        """The tasks, and what tells whether they were changed."""
        if self._drawn is None:
            cell = self._cell
            stream = cell.law.stream(cell.seeds[0], Purpose.TIMING, cell.dtype, cell.device)
            problem = stream.sample(self._size).blinded()
            self._drawn = problem, Seal(problem)
        return self._drawn

    def forget(self) -> None:
        """Draw them anew when they are needed again."""
        self._drawn = None


def _place(contenders: list[_Contender]) -> None:
    """Bring to an accelerator what the clock must not see brought there: parameters, and the handles of libraries."""
    for contender in contenders:
        cell = contender.result.cell
        if cell.device.type == "cpu" or contender.status != "ok" or contender.result.status != "ok":
            continue
        try:
            with guarded():
                contender.placed = contender.result.fitted[0].placed(cell.dtype, cell.device)
                start_up(cell.device, cell.dtype)
        except Exception as error:
            _fail(contender, error)


def _race(contenders: list[_Contender], tasks: _Batch, steps: int, settings: Timings) -> None:
    for contender in contenders:
        if contender.status != "ok":
            continue
        if contender.result.status != "ok":
            contender.status, contender.reason = contender.result.status, contender.result.reason
            continue
        contender.cold = _attempt(contender, tasks, steps, seal=True)
        if contender.result.cell.device.type != "cpu":
            _warm_up(contender, tasks, steps)
    for repeat in range(settings.repeats):
        for contender in contenders:
            if contender.status == "ok" and repeat < repeats(contender.warm, settings):
                seconds = _attempt(contender, tasks, steps)
                if seconds is not None:
                    contender.warm.append(seconds)
    for contender in contenders:
        if contender.status == "ok" and contender.result.cell.solver.countable:
            _attempt(contender, tasks, steps, seal=True, count=True)


def _warm_up(contender: _Contender, tasks: _Batch, steps: int) -> None:
    """Solve until times are stable: an accelerator's clock rises under load, and kernels are loaded when first used."""
    last, solves, began = contender.cold, 0, time.perf_counter()
    while last is not None:
        seconds, solves = _attempt(contender, tasks, steps), solves + 1
        stable = seconds is None or abs(seconds - last) <= STABLE * last
        if time.perf_counter() - began >= WARM_SECONDS and (stable or solves >= MOST_WARM_UPS):
            return
        last = seconds


def _attempt(contender: _Contender, tasks: _Batch, steps: int, seal: bool = False, count: bool = False) -> float | None:
    """Seconds of one solve, or None and a status.

    Args:
        contender: whose solver.
        tasks: what it solves.
        steps: how many.
        seal: whether to look if it changed the tasks, which reads them and so is not done between repetitions.
        count: whether its work is counted instead, and None is no failure.
    """
    cell = contender.result.cell

    def solve(fresh: Problem) -> object:
        return (contender.placed or contender.result.fitted[0]).solve(fresh, steps)

    try:
        with time_limit(cell.time_limit * (COUNTING if count else 1)), guarded():
            problem, unchanged = tasks.draw()
            if contender.cold is None:
                contender.result.fitted[0].prepare(cell.dtype, cell.device)
            if count:
                contender.work, seconds = count_work(solve, problem), None
            else:
                seconds = time_once(solve, problem)
        if seal:
            unchanged.check()
        return seconds
    except TimeLimitExceeded as error:
        contender.status, contender.reason = "time_limit", str(error)
    except Exception as error:
        _fail(contender, error, "its work cannot be counted: " if count else "")
        if is_lost(cell.device):
            what = f"{cell.solver_name} on {cell.law_name}, {steps} steps: {contender.reason}"
            raise UserError(f"the device was lost while solvers were timed ({what}); go on with --resume") from None
    tasks.forget()
    return None


def _fail(contender: _Contender, error: Exception, doing: str = "") -> None:
    contender.status, contender.reason, contender.traceback = "error", doing + one_line(error), traced(error)


def _row(contender: _Contender, steps: int, batch: int, threads: int) -> TimingRow:
    result, good = contender.result, contender.status == "ok" and bool(contender.warm)
    low, median, high = np.quantile(contender.warm, [0.25, 0.5, 0.75]) if good else (None, None, None)
    work = contender.work
    columns = {
        "machine": machine(result.cell.device if result.cell.solver.countable else _HOST),
        "batch": batch,
        "threads": threads,
        "repeats": len(contender.warm) if good else 0,
        "cold_seconds": contender.cold,
        "warm_median": median,
        "warm_q25": low,
        "warm_q75": high,
        "train_seconds": result.train_seconds,
        "train_reused": result.train_reused,
        "products": work and work.products,
        "flops": work and work.flops,
        "peak_bytes": work and work.peak_bytes,
        "status": contender.status,
        "reason": contender.reason,
    }
    return TimingRow.model_validate({**identity(result.cell, steps), **columns})
