"""A run: build every cell of a suite, score them, time them, write the tables."""

from __future__ import annotations

import shlex
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import Protocol

import torch

from benchmarks import environment
from benchmarks.harness.build import build_device, build_law, build_solver
from benchmarks.harness.cell import Cell, CellResult
from benchmarks.harness.clock import time_cells
from benchmarks.harness.executor import run_cells
from benchmarks.harness.fitting import ParameterStore
from benchmarks.harness.limits import pinned_threads
from benchmarks.harness.rows import Losses
from benchmarks.schema import FAILURES, ScoreRow, TimingRow
from benchmarks.store import RunWriter
from benchmarks.suite import Suite


class Progress(Protocol):
    """Whoever wants to know how far a run is."""

    def start(self, title: str, total: int) -> None:
        """A pass of `total` pieces begins."""
        ...

    def advance(self, piece: str) -> None:
        """A piece is done."""
        ...


@dataclass(frozen=True)
class Finished:
    """A written run: its folder, the rows that failed and those that raised an alarm, a sentence each."""

    path: Path
    failures: list[str]
    alarms: list[str]


def build_cells(suite: Suite) -> list[Cell]:
    """Every cell of a suite, all of its words checked.

    Raises:
        UserError: naming the first thing that is wrong.
    """
    device = build_device(suite.device)
    laws = [(entry, build_law(entry)) for entry in suite.tasks]
    solvers = [(entry, build_solver(entry)) for entry in suite.solvers]
    return [
        Cell(
            law_name=task.law,
            law=law,
            solver_name=entry.name,
            solver=solver,
            solver_params=entry.params,
            steps=tuple(sorted(entry.steps or suite.steps)),
            seeds=tuple(suite.seeds),
            tasks=min(entry.tasks or suite.scores.tasks, suite.scores.tasks),
            dtype=getattr(torch, suite.dtype),
            device=device,
            time_limit=suite.scores.time_limit,
            protocol=entry.protocol,
        )
        for task, law in laws
        for entry, solver in solvers
        if entry.only.holds(task)
    ]


def run_suite(
    suite: Suite,
    folder: Path,
    parameters: Path | None,
    command: Sequence[str],
    progress: Progress,
    name: str | None = None,
    jobs: int | None = 1,
) -> Finished:
    """Run a suite and write its tables.

    Args:
        suite: what to run.
        folder: where the run's folder is made.
        parameters: folder of fitted parameters, None to fit everything anew and keep nothing.
        command: the command line, for `meta.json`.
        progress: told of every cell.
        name: of the run; by default the suite, the time (UTC) and the suite's hash.
        jobs: processes of the scores pass, None to choose; the numbers do not depend on it. Timings run alone.

    Returns:
        Where it was written, and what failed.

    Raises:
        UserError: before anything is computed, if the suite, the device or the folder is no good.
    """
    start, now = time.perf_counter(), datetime.now(UTC)
    cells = build_cells(suite)
    name = name or f"{suite.name}-{now:%Y%m%d-%H%M%S}-{suite.content_hash[:6]}"
    with RunWriter(folder, name) as writer, pinned_threads(suite.threads):
        results, scores, losses = _score(cells, ParameterStore(parameters), jobs, suite.threads, progress)
        timings = _time(results, suite, progress)
        meta = {
            "suite": suite.model_dump(mode="json", by_alias=True),
            "suite_hash": suite.content_hash,
            "command": shlex.join(command),
            "measured_at": now.isoformat(timespec="seconds"),
            "seconds": round(time.perf_counter() - start, 1),
            **environment.describe(),
        }
        path = writer.write(scores, timings, meta, losses)
    return Finished(path, failures([*scores, *timings]), alarms(scores))


def _score(
    cells: list[Cell], store: ParameterStore, jobs: int | None, threads: int, progress: Progress
) -> tuple[list[CellResult], list[ScoreRow], dict[int, Losses]]:
    """The scores pass: results without their per-task arrays, rows, and the arrays by the number of their row."""
    progress.start("scores", len(cells))
    results: list[CellResult] = []
    rows: list[ScoreRow] = []
    losses: dict[int, Losses] = {}
    for result, scored in run_cells(cells, store, jobs, threads):
        results.append(result)
        for row, array in scored:
            if array is not None:
                losses[len(rows)] = array
            rows.append(row)
        cell = result.cell
        progress.advance(f"{cell.law_name} d={cell.law.d} {cell.solver_name}")
    return results, rows, losses


def _time(results: list[CellResult], suite: Suite, progress: Progress) -> list[TimingRow]:
    if suite.timings is None:
        return []
    progress.start("timings", sum(len(result.cell.steps) for result in results))
    rows: list[TimingRow] = []
    for law, group in groupby(results, key=lambda result: result.cell.law):

        def tick(solver: str, title: str = f"{law.metadata.name} d={law.d}") -> None:
            progress.advance(f"{title} {solver}")

        rows.extend(time_cells(list(group), suite.timings, suite.threads, tick))
    return rows


def failures(rows: Sequence[ScoreRow | TimingRow]) -> list[str]:
    """What failed, once for each law, solver and reason."""
    seen: dict[str, None] = {}
    for row in rows:
        if row.status in FAILURES:
            where = f" at {row.steps} steps" if row.status in ("diverged", "nonfinite") else ""
            seen[f"{row.law} d={row.d} {row.solver}{where}: {row.status}: {row.reason}"] = None
    return list(seen)


def alarms(rows: Sequence[ScoreRow]) -> list[str]:
    """What raised an alarm, once for each law, solver, number of steps and metric."""
    suspicious = [row for row in rows if row.alarm]
    return [
        f"{row.law} d={row.d} {row.solver} ({row.protocol}) at {row.steps} steps, {row.metric}: {row.alarm}"
        for row in suspicious
        if row.seed is None or not any(other.seed is None for other in suspicious)
    ]
