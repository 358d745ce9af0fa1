"""The result store: one folder a run, complete or absent, and checked against the schema when read."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks.errors import UserError
from benchmarks.runs.arrays import Arrays
from benchmarks.runs.migrate import Tables, migrated, readable
from benchmarks.runs.schema import SCHEMA_VERSION, ScoreRow, TimingRow
from benchmarks.runs.tables import checked, read_table

SCORES, TIMINGS = "scores.csv", "timings.csv"

LOSSES = "losses.npz"
"""Per-task losses of a run: one float32 array for each row of `scores.csv` with a seed, named by the row's number.

It is `(tasks,)`; or where tasks were drawn by importance sampling `(2, tasks)`, weight times loss and the weights."""

FIRST = "first_losses.npz.xz"
"""Beside or in place of them, where they would be too large to keep in git: losses of the first tasks of each seed, of
the metric that is shown, to 12 significant bits. Compressed as a whole, since rows resemble each other."""

RUNS = Path("results/runs")
"""Where runs are kept, relative to the folder the command is started in."""


@dataclass(frozen=True)
class Run:
    """A run read back.

    Attributes:
        path: its folder.
        scores: one `benchmarks.runs.schema.ScoreRow` a row.
        timings: one `benchmarks.runs.schema.TimingRow` a row.
        meta: suite, command, versions, machine, time.
    """

    path: Path
    scores: pd.DataFrame
    timings: pd.DataFrame
    meta: dict[str, Any]

    def losses(self, row: int) -> NDArray[np.float32]:
        """Per-task losses behind a row of `scores` that has a seed, `(tasks,)` in the order of the tasks.

        Of the first tasks alone where only `FIRST` is there. Where tasks have weights, losses are times their weights:
        the mean is always that over the law.

        Raises:
            UserError: if the run was stored without them, or the row has none.
        """
        stored = self.stored(row)
        return stored[0] if stored.ndim == 2 else stored

    def weights(self, row: int) -> NDArray[np.float32] | None:
        """Weights of the same tasks, `(tasks,)`; None where the law itself was drawn from."""
        stored = self.stored(row)
        return stored[1] if stored.ndim == 2 else None

    def stored(self, row: int) -> NDArray[np.float32]:
        """The array of a row as it is stored: see `LOSSES`."""
        if row not in self.with_losses:
            raise UserError(f"row {row} of {self.name} has no per-task losses; rows with a seed do")
        array, tasks = self._arrays[str(row)], int(self.scores.at[row, "num_tasks"])
        kept = tasks if self.has_losses else min(tasks, array.shape[-1] if array.ndim else 0)
        if array.shape not in ((kept,), (2, kept)) or array.dtype != np.float32:
            raise UserError(
                f"{self._losses}, row {row}: there are losses of shape {array.shape}, {array.dtype}, "
                f"and not {tasks} of float32"
            )
        return array

    @cached_property
    def with_losses(self) -> frozenset[int]:
        """Numbers of the rows whose per-task losses are stored.

        Raises:
            UserError: if there are none, or they cannot be read.
        """
        return frozenset(map(int, self._arrays.names))

    @cached_property
    def has_losses(self) -> bool:
        """Whether it was stored with the losses of all tasks."""
        return (self.path / LOSSES).is_file()

    @property
    def _losses(self) -> Path:
        return self.path / (LOSSES if self.has_losses else FIRST)

    @cached_property
    def _arrays(self) -> Arrays:
        path = self._losses
        if not path.is_file():
            raise UserError(f"the run {self.name} was stored without per-task losses ({LOSSES}); run its suite again")
        seeded = self.scores.loc[self.scores["seed"].notna(), "num_tasks"]
        return Arrays(path, {str(row): 8 * int(tasks) for row, tasks in seeded.items()}, path.name == FIRST)

    @property
    def name(self) -> str:
        """Its folder's name."""
        return self.path.name


def read_run(path: Path) -> Run:
    """Read a run and check every row.

    Raises:
        UserError: if it is not there, was written by a newer version, or does not fit the schema.
    """
    if not path.is_dir():
        raise UserError(f"no run {str(path)!r}; 'memformer-bench list runs' shows those there are")
    meta = read_meta(path)
    version: Any = meta.get("schema_version")
    if not readable(version):
        raise UserError(
            f"{path} has schema version {version!r:.40}; this memformer-bench reads versions 1 to {SCHEMA_VERSION}"
        )
    scores, timings = (read_table(path / name) for name in (SCORES, TIMINGS))
    if version < SCHEMA_VERSION:
        tables = Tables(pd.concat(scores), pd.concat(timings), meta)
        try:
            tables = migrated(tables, version)
        except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
            what = " ".join(f"{type(error).__name__}: {error}".split())
            raise UserError(f"{path} does not hold the tables of schema version {version}: {what:.200}") from None
        scores, timings = [tables.scores], [tables.timings]
    rows = checked(scores, path / SCORES, ScoreRow)
    return Run(path, rows, checked(timings, path / TIMINGS, TimingRow), meta)


def read_meta(path: Path) -> dict[str, Any]:
    """What a run says about itself.

    Raises:
        UserError: if it says nothing that can be read.
    """
    try:
        meta = json.loads((path / "meta.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path} is not a run: it has no meta.json") from None
    except (OSError, ValueError, RecursionError):
        raise UserError(f"{path / 'meta.json'} is not the description of a run") from None
    if not _describes(meta):
        raise UserError(f"{path / 'meta.json'} is not the description of a run")
    return meta


def _describes(meta: Any) -> bool:
    """Whether this can be the description of a run, or of one merged from others."""
    sources = meta.get("merged_from", []) if isinstance(meta, dict) else None
    return isinstance(sources, list) and all(_describes(one) for one in sources)


def list_runs(folder: Path = RUNS) -> list[Path]:
    """The complete runs in a folder, oldest first by the time they were measured."""

    def measured_at(path: Path) -> str:
        try:
            return str(read_meta(path).get("measured_at", ""))
        except UserError:
            return ""

    found = [path for path in folder.glob("*") if (path / "meta.json").is_file()] if folder.is_dir() else []
    return sorted(found, key=lambda path: (measured_at(path), path.name))
