"""The scores pass: in this process, on local worker processes, or on a Dask cluster, with the same numbers.

Cells come back as they are finished, never more of them at once than there are workers: a slow reader slows the
workers down instead of filling the memory.
"""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Iterator, Sequence

from benchmarks.errors import UserError
from benchmarks.harness.cell import Cell
from benchmarks.harness.scores.fitting import ParameterStore
from benchmarks.harness.scores.table import Scored
from benchmarks.harness.workers.process import Job, perform
from benchmarks.harness.workers.supervisor import MEMORY_KNOWN, Worker

WORTH_PROCESSES = 50
"""With fewer cells, starting other processes takes longer than it saves."""

Numbered = tuple[int, Scored]
"""A finished cell and its place in the order of the cells."""


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
        jobs: local worker processes. None is one for each core if there are many cells or a memory limit, and
            this process itself otherwise.
        threads: CPU threads of every library in each process.
        scheduler: address of a Dask scheduler, whose workers take the place of local ones.

    Yields:
        Each cell once, as it is finished.

    Raises:
        UserError: if there are no workers to be had, or a memory limit cannot be held here.
    """
    limited = any(cell.memory_limit for cell in cells)
    if limited and not MEMORY_KNOWN:
        raise UserError("memory_limit needs a system with /proc, as Linux has; leave it out of the suite here")
    work = [Job.of(cell, store, threads) for cell in cells]
    if not work:
        return
    if scheduler is not None:
        from benchmarks.harness.workers.dask import run_on_cluster

        yield from run_on_cluster(work, scheduler)
    elif jobs is None and not limited and len(work) < WORTH_PROCESSES:
        yield from ((number, perform(job)) for number, job in enumerate(work))
    else:
        yield from _run_on_processes(work, min(jobs or os.cpu_count() or 1, len(work)))


def _run_on_processes(work: Sequence[Job], jobs: int) -> Iterator[Numbered]:
    """A thread for each worker process takes the next cell and waits for its answer."""
    todo = iter(enumerate(work))
    lock, stopped = threading.Lock(), threading.Event()
    finished: queue.Queue[Numbered | BaseException] = queue.Queue(maxsize=1)
    workers = [Worker() for _ in range(jobs)]

    def hand_over(what: Numbered | BaseException) -> None:
        while not stopped.is_set():
            try:
                return finished.put(what, timeout=0.1)
            except queue.Full:
                continue

    def serve(worker: Worker) -> None:
        try:
            while not stopped.is_set():
                with lock:
                    following = next(todo, None)
                if following is None:
                    break
                number, job = following
                hand_over((number, worker.score(job)))
        except BaseException as error:
            hand_over(error)
        finally:
            worker.close()

    for worker in workers:
        threading.Thread(target=serve, args=(worker,), daemon=True).start()
    try:
        for _ in work:
            what = finished.get()
            if isinstance(what, BaseException):
                raise what
            yield what
    finally:
        stopped.set()
        for worker in workers:
            worker.close()
