"""A run: build every cell of a suite, score them, time them, write the tables."""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.errors import UserError, one_line
from benchmarks.harness.cell import Cell
from benchmarks.harness.cell_cache import KeptCells
from benchmarks.harness.cell_key import cell_key
from benchmarks.harness.guard import guarded
from benchmarks.harness.passes import Progress, score_pass, time_pass
from benchmarks.harness.resolve import available, build_cells
from benchmarks.harness.scores.fitting import ParameterStore
from benchmarks.harness.scores.shipped import SHIPPED
from benchmarks.harness.workers.cells import run_cells
from benchmarks.harness.workers.limits import pinned_threads
from benchmarks.runs import environment
from benchmarks.runs.read import read_run
from benchmarks.runs.schema import FAILURES, ScoreRow, TimingRow
from benchmarks.runs.write import UNFINISHED, NameTaken, Part, RunWriter, describe_unfinished, sweep, unfinished_runs
from benchmarks.suites.suite import Suite


@dataclass(frozen=True)
class Finished:
    """A written run: its folder; rows that failed, those that raised an alarm, laws left out, a sentence each."""

    path: Path
    failures: list[str]
    alarms: list[str]
    left_out: list[str] = field(default_factory=list)


def run_suite(
    suite: Suite,
    folder: Path,
    parameters: Path | None,
    command: Sequence[str],
    progress: Progress,
    name: str | None = None,
    jobs: int | None = None,
    scheduler: str | None = None,
    resume: bool = False,
) -> Finished:
    """Run a suite and write its tables.

    Each finished cell is kept in the unfinished run's own folder, and the tables are made from what is kept there,
    so that a run that was interrupted and resumed ends with the tables of one that was not.

    Args:
        suite: what to run.
        folder: where the run's folder is made.
        parameters: folder of fitted parameters, None to fit everything anew and keep nothing; otherwise those that
            come with the project are used too.
        command: the command line, for `meta.json`.
        progress: told of every cell.
        name: of the run; by default the suite, the time (UTC) and the suite's hash.
        jobs: processes of the scores pass, None to choose; the numbers do not depend on it. Timings run alone.
        scheduler: address of a Dask scheduler that computes the scores pass instead.
        resume: go on with the unfinished run of that name, or the latest one of this suite; begin one if none is left.

    Returns:
        Where it was written, and what failed.

    Raises:
        UserError: before anything is computed, if the suite, the device or the folder is no good.
    """
    start, now = time.perf_counter(), datetime.now(UTC)
    suite, left_out = available(suite)
    cells = build_cells(suite)
    if resume and name is not None and (done := _complete(folder, name, suite)) is not None:
        return done
    with open_run(folder, suite, name, resume, now) as writer, pinned_threads(suite.threads):
        stamp = now.isoformat(timespec="seconds")
        before = writer.describe({"suite_hash": suite.content_hash, "started_at": stamp})
        kept = KeptCells(writer.cells, writer.errors)
        keys = _keys(cells, suite.threads)
        store = ParameterStore(parameters and parameters.absolute(), writer.scratch.absolute(), parameters and SHIPPED)
        results = score_pass(
            cells, keys, kept, lambda todo: run_cells(todo, store, jobs, suite.threads, scheduler), progress
        )
        conditions = environment.conditions()
        timings = time_pass(results, keys, kept, suite, progress)
        meta = {
            "suite": suite.model_dump(mode="json", by_alias=True),
            "suite_hash": suite.content_hash,
            "command": shlex.join(command),
            "measured_at": stamp,
            "seconds": round(time.perf_counter() - start, 1),
            **({"left_out": left_out} if left_out else {}),
            **({"resumed_from": before["started_at"]} if "started_at" in before else {}),
            **environment.describe(),
            "conditions": {"before_timings": conditions, "after_timings": environment.conditions()},
        }
        rows: list[ScoreRow] = []
        path = writer.write(_parts(keys, kept, rows), timings, meta)
    return Finished(path, failures([*rows, *timings]), alarms(rows), left_out)


def open_run(folder: Path, suite: Suite, name: str | None, resume: bool, now: datetime) -> RunWriter:
    """The writer of a new run, or of an unfinished one that is resumed.

    Raises:
        UserError: if the name is impossible or taken, or the folder cannot be written.
    """
    sweep(folder)
    if name is None and resume:
        unfinished = unfinished_runs(folder)
        left = [path for path in unfinished if describe_unfinished(path).get("suite_hash") == suite.content_hash]
        name = left[-1].name.removeprefix(UNFINISHED) if left else None
    if name is not None:
        return RunWriter(folder, name, resume)
    name = f"{suite.name}-{now:%Y%m%d-%H%M%S}-{suite.content_hash[:6]}"
    for number in range(2, 100):
        try:
            return RunWriter(folder, name)
        except NameTaken:  # by another run of this suite, begun in the same second
            name = f"{name.removesuffix(f'-{number - 1}')}-{number}"
    return RunWriter(folder, name)


def _complete(folder: Path, name: str, suite: Suite) -> Finished | None:
    """The run of that name, if it is complete and of this suite."""
    sweep(folder)
    if not (folder / name / "meta.json").is_file():
        return None
    run = read_run(folder / name)
    if run.meta.get("suite_hash") != suite.content_hash:
        return None
    rows = [*run.scores.itertuples(), *run.timings.itertuples()]
    return Finished(run.path, failures(rows), [])  # type: ignore[arg-type]


def _keys(cells: Sequence[Cell], threads: int) -> list[str]:
    """The address of every cell.

    Raises:
        UserError: if a law cannot be drawn from, or it or a solver cannot be described.
    """
    for law in {id(cell.law): cell.law for cell in cells}.values():
        try:
            with guarded(law):
                hash(law)
                _ = law.fingerprint
        except Exception as error:
            raise UserError(f"no task can be drawn from the law {law.metadata.name!r}: {one_line(error)}") from None
    keys = []
    for cell in cells:
        try:
            with guarded():
                keys.append(cell_key(cell, threads))
        except Exception as error:
            what = f"the solver {cell.solver_name!r} on {cell.law_name!r}"
            raise UserError(f"{what} cannot say what it is: {one_line(error)}") from None
    return keys


def _parts(keys: list[str], kept: KeptCells, rows: list[ScoreRow]) -> Iterator[Part]:
    """Every cell's rows and losses, read back in order; the rows are also appended to `rows`."""
    for key in keys:
        part = kept.part(key)
        if part is None:
            raise UserError(f"a finished cell in {kept.folder} is gone or damaged; continue with --resume")
        rows.extend(part[0])
        yield part


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
