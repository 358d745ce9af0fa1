"""The two passes of a run: every cell is scored, then the solvers of each law are timed; what is kept is not redone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from typing import Protocol

from benchmarks.harness.cell import Cell, CellResult
from benchmarks.harness.cell_cache import KeptCells
from benchmarks.harness.cell_key import no_key, timings_key
from benchmarks.harness.timings.clock import time_cells
from benchmarks.harness.workers.cells import Numbered
from benchmarks.runs.schema import TimingRow
from benchmarks.suites.suite import Suite


class Progress(Protocol):
    """Whoever wants to know how far a run is."""

    def start(self, title: str, total: int) -> None:
        """A pass of `total` pieces begins."""
        ...

    def advance(self, piece: str) -> None:
        """A piece is done."""
        ...


Compute = Callable[[Sequence[Cell]], Iterator[Numbered]]
"""`benchmarks.harness.workers.cells.run_cells` with everything but the cells."""


def score_pass(
    cells: list[Cell], keys: list[str], kept: KeptCells, compute: Compute, progress: Progress
) -> list[CellResult]:
    """The scores pass: every cell that is not kept yet is computed and kept; results without per-task arrays."""
    results: dict[int, CellResult] = {}
    for number, (cell, key) in enumerate(zip(cells, keys, strict=True)):
        found = kept.find(key, cell)
        if found is not None:
            results[number] = found
    todo = [number for number in range(len(cells)) if number not in results]
    progress.start("scores" if not results else f"scores ({len(results)} found)", len(todo))
    for place, scored in compute([cells[number] for number in todo]):
        number, cell = todo[place], scored.result.cell
        if scored.result.lost:
            keys[number] = no_key()  # its row is for this table only: when the run is resumed, it is computed again
        kept.keep(keys[number], scored)
        results[number] = scored.result
        progress.advance(f"{cell.law_name} d={cell.law.d} {cell.solver_name}")
    return [results[number] for number in range(len(cells))]


def time_pass(
    results: list[CellResult], keys: list[str], kept: KeptCells, suite: Suite, progress: Progress
) -> list[TimingRow]:
    """The timings pass: solvers of one law are raced together, unless they were before the run was interrupted."""
    if suite.timings is None:
        return []
    progress.start("timings", sum(len(r.cell.steps) * max(1, len(r.cell.batches)) for r in results))
    rows: list[TimingRow] = []
    alike = groupby(zip(results, keys, strict=True), key=lambda pair: (pair[0].cell.law, pair[0].cell.batches))
    for (law, batches), group in alike:

        def tick(solver: str, title: str = f"{law.metadata.name} d={law.d}") -> None:
            progress.advance(f"{title} {solver}")

        raced = list(group)
        key = timings_key([key for _, key in raced], suite.timings, batches)
        found = kept.find_timings(key)
        if found is None:
            found = list(time_cells([r for r, _ in raced], suite.timings, suite.threads, tick, kept.keep_traceback))
            kept.keep_timings(key, found)
        else:
            for row in found:
                tick(row.solver)
        rows.extend(found)
    return rows
