"""The scores pass: in this process, on local worker processes, or on a Dask cluster, with the same numbers."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

from benchmarks.errors import UserError, one_line, traced
from benchmarks.harness.cell import Cell, CellResult
from benchmarks.harness.devices import is_lost
from benchmarks.harness.guard import guarded
from benchmarks.harness.scores.fitting import ParameterStore, modules_of
from benchmarks.harness.scores.measure import run_cell
from benchmarks.harness.scores.protocol import scored_tasks
from benchmarks.harness.scores.table import Scored, summarised
from benchmarks.harness.workers.limits import pinned_threads
from benchmarks.harness.workers.pool import as_finished
from benchmarks.harness.workers.supervisor import NO_LIMIT, Ended, Worker
from benchmarks.runs.source import SCORING, TOLD, plugin_sources, source_hash

WORTH_PROCESSES = 50
"""With fewer cells, starting other processes takes longer than it saves."""

GRACE = 2.0
"""Seconds that a cell has to obey its time limit before its worker is ended."""

CONTEXT = 4.0
"""GB of the host's memory that the libraries of an accelerator are granted beside what a cell holds."""

Numbered = tuple[int, Scored]
"""A finished cell and its place in the order of the cells."""


@dataclass(frozen=True)
class Job:
    """A cell to be computed, by the source with this hash, by default that of this process; and its plug-ins' source.

    Workers are sent the code of a plug-in file, not the file.
    """

    cell: Cell
    store: ParameterStore
    threads: int
    source: str = field(default_factory=lambda: source_hash(SCORING))
    plugins: dict[str, str | None] = field(default_factory=dict)


def perform(job: Job, solved: Callable[[], None] = lambda: None) -> Scored:
    """Fit, solve, measure and summarise; whatever goes wrong is a row.

    Args:
        job: what to do.
        solved: called when the solver has done its part, so that limits of it no longer hold.

    Raises:
        UserError: if this process has other source than the one that asks.
    """
    if job.source != source_hash(SCORING):
        raise UserError("a worker has other source than this process; install the same memformer-bench on both")
    TOLD.update({name: source for name, source in job.plugins.items() if source is not None})
    with pinned_threads(job.threads):
        result = run_cell(job.cell, job.store)
        solved()
        if result.status == "error" and is_lost(job.cell.device):
            return summarised(CellResult(job.cell, status="error", reason=result.reason, lost=True))
        try:
            with guarded(job.cell.law):
                return summarised(result)
        except Exception as error:
            scored_tasks.cache_clear()
            return summarised(CellResult(job.cell, status="error", reason=one_line(error), traceback=traced(error)))


def cell_worker() -> Worker:
    """A worker for `score`, which has imported everything before the limits of a cell begin."""
    return Worker(preload=__name__)


def score(worker: Worker, job: Job) -> Scored:
    """Compute a cell, once more in a new process if the first is lost; a limit that is exceeded becomes a row.

    Raises:
        UserError: if workers cannot compute it at all.
    """
    cell, task = job.cell, partial(perform, job)
    ended = Ended("error", "")
    for _ in range(2):
        fresh = not worker.started
        try:
            scored = worker.carry_out(task, cell.time_limit + GRACE, _memory(cell))
            if not scored.result.lost:
                return scored
            worker.restart()  # nothing more can be computed in it
            ended = Ended("error", "its device was lost", f": {scored.result.reason}")
        except UserError:
            raise
        except Ended as error:
            ended = error
        except BaseException as error:  # what came out of the cell cannot be sent or read, say
            return summarised(CellResult(cell, status="error", reason=one_line(error), traceback=traced(error)))
        # Memory that cells before it left behind is not the fault of this one.
        if ended.status == "time_limit" or (ended.status == "memory_limit" and fresh):
            break
    lost = ended.status == "error"
    reason = f"{ended.what} twice{ended.how}" if lost else str(ended)
    return summarised(CellResult(cell, status=ended.status, reason=reason, lost=lost))


def _memory(cell: Cell) -> float:
    """GB of the host's memory that its worker may hold: the limit is the cell's, a context of an accelerator is not."""
    if cell.memory_limit is None:
        return NO_LIMIT
    return cell.memory_limit + (0.0 if cell.device.type == "cpu" else CONTEXT)


def processes(cells: Sequence[Cell], jobs: int | None) -> int:
    """How many worker processes compute cells; 0 is this process itself.

    An accelerator has one: each would have a context there and keep tasks of its own, and wait for the others. It has
    one even for few cells, since a context that is lost ends with its process.
    """
    if jobs is not None:
        return min(jobs, len(cells))
    if any(cell.device.type != "cpu" for cell in cells):
        return 1
    many = len(cells) >= WORTH_PROCESSES or any(cell.memory_limit for cell in cells)
    return min(os.cpu_count() or 1, len(cells)) if many else 0


def run_cells(
    cells: Sequence[Cell], store: ParameterStore, jobs: int | None, threads: int, scheduler: str | None = None
) -> Iterator[Numbered]:
    """Fit, solve, measure and summarise every cell.

    Worker processes hold a cell to its time and memory limits by ending the process, whatever it is doing, and a
    cell whose process is lost gets another one once. In this process, a time limit acts between two Python
    instructions.

    Args:
        cells: what is to be computed.
        store: of fitted parameters.
        jobs: local worker processes. None is one for an accelerator; on the CPU, one for each core if there are many
            cells or a memory limit, and this process itself otherwise.
        threads: CPU threads of every library in each process.
        scheduler: address of a Dask scheduler, whose workers take the place of local ones.

    Yields:
        Each cell once, as it is finished.

    Raises:
        UserError: if there are no workers to be had.
    """
    work = [
        Job(cell, store, threads, plugins=plugin_sources(modules_of(cell.fitted_on, cell.solver))) for cell in cells
    ]
    if not work:
        return
    if scheduler is not None:
        from benchmarks.harness.workers.dask import run_on_cluster

        yield from run_on_cluster(work, scheduler)
    elif not (count := processes(cells, jobs)):
        yield from ((number, perform(job)) for number, job in enumerate(work))
    else:
        workers = [cell_worker() for _ in range(count)]
        yield from as_finished(work, score, workers, lambda job: id(job.cell.law))  # whose tasks and floors it has
