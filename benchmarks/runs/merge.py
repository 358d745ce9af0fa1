"""Merging runs: every row of every run, each once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.errors import UserError
from benchmarks.runs.cells import Cells, Row, grouped
from benchmarks.runs.pairing import refuse_other_tasks
from benchmarks.runs.read import Run
from benchmarks.runs.recompute import CELL, from_losses, from_seeds, tail_by_losses
from benchmarks.runs.schema import NAMED, TIMED, TRAITS, ScoreRow, TimingRow
from benchmarks.runs.write import Part, RunWriter

NUMBERS = ["mean", "log_mean", "median", "num_tasks", "status"]
"""Columns in which rows of one seed must agree."""

SAME = ["solver_version", *TRAITS]
"""Columns in which all rows of a cell must agree."""

TOLERANCE = 1e-6
"""Relative difference that counts as agreement: tables have 8 digits."""


def merge_runs(runs: Sequence[Run], folder: Path, name: str, last: bool = False) -> Path:
    """Write a new run with the rows of all.

    A cell (one solver on one law after one number of steps) has every seed that a run has of it, each from the run
    measured last. What failed as a whole gives way to numbers. The row of all seeds is that of a run which has them
    all; else it is computed anew, without what it takes more than the losses to know: the interval of a gap, and
    without losses intervals and quantiles. Times are told apart by machine, batch and threads.

    Args:
        runs: two or more.
        folder: of the runs.
        name: of the new one.
        last: settle disagreements in favour of the run measured last.

    Raises:
        UserError: if a law drew different tasks in two of them, they disagree about a row, or the name is taken.
    """
    if len(runs) < 2:
        raise UserError("merging needs two runs or more")
    refuse_other_tasks(runs)
    each = {run.path: run for run in runs}.values()  # one that is named twice counts once
    ordered = sorted(each, key=lambda run: str(run.meta.get("measured_at", "")))
    scores = Cells([run.scores for run in ordered], CELL)
    timings = Cells([run.timings for run in ordered], [*NAMED, *TIMED])
    for rows in _of_all(scores, ordered):
        _merged_cell(rows, last)  # what they disagree about is said before anything is written
    merged = (_merged_cell(rows, last) for rows in _of_all(scores, ordered))
    timed = (_numbers_first(rows)[-1] for rows in _of_all(timings, ordered))
    sources = [{"name": run.name, "has_losses": run.has_losses, **run.meta} for run in ordered]
    meta = {**ordered[-1].meta, "merged_from": sources}
    for key in ("schema_version", "suite", "suite_hash", "command", "seconds"):
        meta.pop(key, None)
    with RunWriter(folder, name) as writer:
        return writer.write(_written(merged), (TimingRow.model_validate(_plain(row)) for row in timed), meta)


def _of_all(cells: Cells, runs: Sequence[Run]) -> Iterator[list[Row]]:
    """The rows of each cell, by time of the run."""
    for of_runs in cells:
        yield [{**row, "run": run} for run, rows in zip(runs, of_runs, strict=True) for row in rows]


def _written(cells: Iterable[Sequence[Row]]) -> Iterator[Part]:
    for rows in cells:
        yield (
            [ScoreRow.model_validate(_plain(row)) for row in rows],
            {place: array for place, row in enumerate(rows) if (array := _array(row)) is not None},
        )


def _array(row: Row) -> NDArray[np.float32] | None:
    """Per-task losses of a row, if its run has them."""
    run: Run = row["run"]
    return run.stored(row["row"]) if run.has_losses and row["row"] in run.with_losses else None


def _plain(row: Row) -> Row:
    return {name: value for name, value in row.items() if name not in ("row", "run")}


def _numbers_first(rows: Sequence[Row]) -> list[Row]:
    """Rows of several runs that say the same thing, by time; but what has a number comes after what has none."""
    return sorted(rows, key=lambda row: row.get("warm_median") is not None)


def _merged_cell(rows: list[Row], last: bool) -> list[Row]:
    """Rows of one cell: of all runs, by time of the run."""
    measured = [row for row in rows if row["metric"]]
    if not measured:
        return [rows[-1]]
    odd = next((name for name in SAME if any(row[name] != measured[-1][name] for row in measured)), None)
    if odd is not None:
        if not last:
            raise _disagreement(next(row for row in measured if row[odd] != measured[-1][odd]), measured[-1], odd)
        measured = [row for row in measured if all(row[name] == measured[-1][name] for name in SAME)]
    merged: list[Row] = []
    for of_metric in grouped(measured, ["metric"]).values():
        by_seed = grouped([row for row in of_metric if row["seed"] is not None], ["seed"])
        for same in by_seed.values():
            for row in same[:-1]:
                odd = _odd(row, same[-1])
                if odd and not last:
                    raise _disagreement(row, same[-1], odd)
        seeds = [same[-1] for _, same in sorted(by_seed.items())]
        merged += next(_of_one_run(of_metric, seeds), [*seeds, *([_pooled(seeds)] if len(seeds) > 1 else [])])
    return merged


def _of_one_run(rows: Sequence[Row], seeds: Sequence[Row]) -> Iterator[list[Row]]:
    """All rows of a run that has every seed, and says of each what is wanted; the latest such run first."""
    for run in dict.fromkeys(row["run"].path for row in reversed(rows)):
        mine = [row for row in rows if row["run"].path == run]
        theirs = {row["seed"]: row for row in mine}
        if all(seed["seed"] in theirs and not _odd(theirs[seed["seed"]], seed) for seed in seeds):
            yield mine


def _pooled(seeds: Sequence[Row]) -> Row:
    """The row of all seeds, by those of each."""
    random = seeds[-1]["fitting"] == "random" or seeds[-1]["law"] == "real"
    found = {**seeds[-1], **from_seeds(seeds), "seed": None, "row": -1, "alarm": ""}
    found |= {"levels": "seeds_and_tasks" if random else "tasks", "tail_limited": None}
    found |= dict.fromkeys(("log_low", "log_high", "median", "trimmed_mean", "q90", "q99", "gap_low", "gap_high"))
    found["alarm"] = next((row["alarm"] for row in seeds if row["alarm"]), "")
    if found["gap_to_floor"] is None:
        found |= {"floor": "", "floor_exact": None, "floor_error": None}
    arrays = [array for row in seeds if (array := _array(row)) is not None]
    if len(arrays) == len(seeds):
        by_losses = from_losses(arrays, found["levels"])
        found |= {name: value for name, value in by_losses.items() if name not in ("mean", "log_mean")}
        if found["mean"] is not None:
            skewness, limit = tail_by_losses(arrays, found["reach"])
            found["tail_limited"] = skewness > limit
    return found


def _odd(one: Row, other: Row) -> str | None:
    """The first column in which rows of one seed disagree."""
    return next((name for name in NUMBERS if not _agree(one[name], other[name])), None)


def _disagreement(one: Row, other: Row, name: str) -> UserError:
    return UserError(
        f"{one['run'].name} and {other['run'].name} disagree about {one['solver']} on {one['law']} at d = {one['d']} "
        f"after {one['steps']} steps: {name} is {one[name]} and {other[name]}; --last takes the one measured last"
    )


def _agree(one: Any, other: Any) -> bool:
    if one is None or other is None or isinstance(one, str):
        return one == other
    return bool(np.isclose(one, other, rtol=TOLERANCE, atol=0.0))
