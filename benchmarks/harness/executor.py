"""The scores pass on one or several processes: the same cells, the same numbers, the same order."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator, Sequence
from typing import Any

from joblib import Parallel, delayed
from joblib.externals.loky.process_executor import TerminatedWorkerError

from benchmarks.errors import UserError
from benchmarks.harness.cell import Cell, CellResult, run_cell
from benchmarks.harness.fitting import ParameterStore
from benchmarks.harness.limits import pinned_threads
from benchmarks.harness.rows import Losses, score_rows
from benchmarks.schema import ScoreRow

WORTH_PROCESSES = 50
"""With fewer cells, starting other processes takes longer than it saves."""

Scored = tuple[CellResult, list[tuple[ScoreRow, Losses | None]]]
"""A cell's result without its per-task arrays, and its rows, each with the array it summarises."""


def run_cells(cells: Sequence[Cell], store: ParameterStore, jobs: int | None, threads: int) -> Iterator[Scored]:
    """Fit, solve, measure and summarise every cell.

    Args:
        cells: what is to be computed.
        store: of fitted parameters.
        jobs: processes; with 1 everything happens in this one. None is one for each core, if there are many cells.
        threads: CPU threads of every library in each process.

    Yields:
        One result a cell, in the order of the cells.

    Raises:
        UserError: if a worker process is ended from outside.
    """
    if jobs is None:
        jobs = (os.cpu_count() or 1) if len(cells) >= WORTH_PROCESSES else 1
    if jobs == 1:
        for cell in cells:
            yield _score(cell, store, threads)
        return
    batch_size: Any = 1  # the hint of joblib admits only "auto"
    parallel = Parallel(n_jobs=jobs, return_as="generator", batch_size=batch_size, pre_dispatch="2 * n_jobs")
    try:
        scored: Any = parallel(delayed(_score)(cell, store, threads) for cell in cells)
        yield from scored
    except TerminatedWorkerError:
        reason = "a worker process was ended from outside, perhaps for want of memory"
        raise UserError(f"{reason}; nothing was written; try fewer --jobs") from None


def _score(cell: Cell, store: ParameterStore, threads: int) -> Scored:
    with pinned_threads(threads):
        result = run_cell(cell, store)
        rows = list(score_rows(result))
    return dataclasses.replace(result, measured=[]), rows
