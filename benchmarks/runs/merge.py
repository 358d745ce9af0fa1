"""Merging runs: every row of every run, each once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.errors import UserError
from benchmarks.runs.pairing import keyed, refuse_other_tasks
from benchmarks.runs.read import LOSSES, Run
from benchmarks.runs.schema import NAMED, SCORED, ScoreRow, TimingRow
from benchmarks.runs.write import Part, RunWriter

NUMBERS = ["mean", "log_mean", "median", "num_tasks", "status", "solver_version"]
"""Columns in which rows that say the same thing must agree."""

TOLERANCE = 1e-6
"""Relative difference that counts as agreement: tables have 8 digits."""


def merge_runs(runs: Sequence[Run], folder: Path, name: str, last: bool = False) -> Path:
    """Write a new run with the rows of all.

    A cell (one solver on one law after one number of steps, all its seeds and metrics) is taken whole from one run:
    the only one that has it, or the one measured last if they agree, or if `last` is given.

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
    ordered = sorted(runs, key=lambda run: str(run.meta.get("measured_at", "")))
    if not last:
        _refuse_disagreement(ordered)
    owner: dict[tuple[Any, ...], int] = {}
    timed: dict[tuple[Any, ...], int] = {}
    for number, run in enumerate(ordered):
        owner |= dict.fromkeys(_keys(run.scores), number)
        timed |= dict.fromkeys(_keys(run.timings), number)
    timings = [
        TimingRow.model_validate(row)
        for number, run in enumerate(ordered)
        for row in _rows(_of(run.timings, timed, number))
    ]
    meta = {**ordered[-1].meta, "merged_from": [{"name": run.name, **run.meta} for run in ordered]}
    for key in ("schema_version", "suite", "suite_hash", "command", "seconds"):
        meta.pop(key, None)
    with RunWriter(folder, name) as writer:
        return writer.write(_parts(ordered, owner), timings, meta)


def _parts(runs: Sequence[Run], owner: dict[tuple[Any, ...], int]) -> Iterator[Part]:
    for number, run in enumerate(runs):
        mine = _of(run.scores, owner, number)
        stored = (run.path / LOSSES).is_file()
        losses = {
            place: run.stored(int(row))
            for place, (row, seed, metric) in enumerate(zip(mine.index, mine["seed"], mine["metric"], strict=True))
            if stored and not pd.isna(seed) and metric
        }
        yield [ScoreRow.model_validate(row) for row in _rows(mine)], losses


def _of(table: pd.DataFrame, owner: dict[tuple[Any, ...], int], number: int) -> pd.DataFrame:
    """The rows of a table that are taken from the run of that number."""
    return table.loc[[owner[key] == number for key in _keys(table)]]


def _keys(table: pd.DataFrame) -> Iterable[tuple[Any, ...]]:
    """What is taken whole from one run: everything of a cell after one number of steps, times by machine."""
    whole = [*NAMED, *(name for name in ("machine", "draw") if name in table)]
    return table[whole].itertuples(index=False, name=None)


def _rows(table: pd.DataFrame) -> list[dict[Any, Any]]:
    return table.astype(object).where(table.notna(), None).to_dict("records")


def _refuse_disagreement(runs: Sequence[Run]) -> None:
    seen: dict[tuple[Any, ...], tuple[str, dict[str, Any]]] = {}
    for run in runs:
        for key, row in keyed(run.scores, SCORED).items():
            before, other = seen.setdefault(key, (run.name, row))
            odd = next((name for name in NUMBERS if not _agree(row[name], other[name])), None)
            if odd is not None:
                raise UserError(
                    f"{before} and {run.name} disagree about {row['solver']} on {row['law']} at d = {row['d']} after "
                    f"{row['steps']} steps: {odd} is {other[odd]} and {row[odd]}; --last takes the one measured last"
                )


def _agree(one: Any, other: Any) -> bool:
    if isinstance(one, str) or isinstance(other, str):
        return one == other
    return bool(np.isclose(one, other, rtol=TOLERANCE, atol=0.0, equal_nan=True))
