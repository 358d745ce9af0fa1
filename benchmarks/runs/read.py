"""The result store: one folder a run, complete or absent, and checked against the schema when read."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from benchmarks.errors import UserError
from benchmarks.runs.arrays import read_arrays
from benchmarks.runs.migrate import Tables, migrated, readable
from benchmarks.runs.schema import SCHEMA_VERSION, ScoreRow, TimingRow

SCORES, TIMINGS = "scores.csv", "timings.csv"

LOSSES = "losses.npz"
"""Per-task losses of a run: one float32 array for each row of `scores.csv` with a seed, named by the row's number.

It is `(tasks,)`; or where tasks were drawn by importance sampling `(2, tasks)`, weight times loss and the weights."""

FIRST = "first_losses.npz.xz"
"""Beside or in place of them, where they would be too large to keep in git: losses of the first tasks of each seed, of
the metric that is shown, to 12 significant bits. Compressed as a whole, since rows resemble each other."""

TEXT = pd.StringDtype("python", na_value=np.nan)
"""Of columns of words: rows are read one by one, which strings held by Arrow are slow at."""

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
        return frozenset(int(name) for name in self._arrays)

    @cached_property
    def has_losses(self) -> bool:
        """Whether it was stored with the losses of all tasks."""
        return (self.path / LOSSES).is_file()

    @property
    def _losses(self) -> Path:
        return self.path / (LOSSES if self.has_losses else FIRST)

    @cached_property
    def _arrays(self) -> Mapping[str, NDArray[np.float32]]:
        path = self._losses
        if not path.is_file():
            raise UserError(f"the run {self.name} was stored without per-task losses ({LOSSES}); run its suite again")
        seeded = self.scores.loc[self.scores["seed"].notna(), "num_tasks"]
        return read_arrays(path, {str(row): 8 * int(tasks) for row, tasks in seeded.items()}, path.name == FIRST)

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
        raise UserError(f"no run {str(path)!r}; 'memformer-bench list runs' shows those in {RUNS}")
    meta = read_meta(path)
    version: Any = meta.get("schema_version")
    if not readable(version):
        raise UserError(
            f"{path} has schema version {version!r:.40}; this memformer-bench reads versions 1 to {SCHEMA_VERSION}"
        )
    tables = Tables(_read_table(path / SCORES), _read_table(path / TIMINGS), meta)
    try:
        tables = migrated(tables, version)
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        what = " ".join(f"{type(error).__name__}: {error}".split())
        raise UserError(f"{path} does not hold the tables of schema version {version}: {what:.200}") from None
    scores = _checked(tables.scores, path / SCORES, ScoreRow)
    return Run(path, scores, _checked(tables.timings, path / TIMINGS, TimingRow), tables.meta)


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


def _read_table(path: Path) -> pd.DataFrame:
    """A table as text, missing cells as nan."""
    try:
        table = pd.read_csv(path, dtype=TEXT, keep_default_na=False, na_values=[""])
    except FileNotFoundError:
        raise UserError(f"{path.parent} is not complete: it has no {path.name}") from None
    except (OSError, ValueError, pd.errors.ParserError) as error:
        raise UserError(f"{path} is not a table: {' '.join(str(error).split())}") from None
    return table


def _checked(table: pd.DataFrame, path: Path, model: type[BaseModel]) -> pd.DataFrame:
    """A table of which every row fits the model.

    Raises:
        UserError: naming the first that does not.
    """
    wanted = list(model.model_fields)
    if list(table.columns) != wanted:
        odd = repr(", ".join(sorted(set(table.columns) ^ set(wanted)) or ["their order"]))
        raise UserError(f"{path} does not have the columns of schema version {SCHEMA_VERSION}: see {odd:.200}")
    rows: list[BaseModel] = []
    for number, row in enumerate(table.to_dict("records"), start=2):
        try:
            rows.append(model.model_validate(row))
        except ValidationError as error:
            problem = error.errors()[0]
            where = f"{path}, line {number}, column {'.'.join(map(str, problem['loc']))}"
            raise UserError(f"{where}: {problem['msg']} (found {str(problem['input'])[:40]!r})") from None
        wrong = _ill_formed(rows[-1])
        if wrong:
            raise UserError(f"{path}, line {number}, {wrong}")
    try:
        return pd.DataFrame({name: column(rows, name, field) for name, field in model.model_fields.items()})
    except (OverflowError, TypeError, ValueError) as error:
        raise UserError(f"{path} holds a number that is too large: {' '.join(str(error).split())}") from None


def _ill_formed(row: BaseModel) -> str:
    """What a row says that its model cannot refuse, and that no reader could use; empty if nothing."""
    for name in ("law_params", "solver_params"):
        try:
            given = json.loads(getattr(row, name))
        except (ValueError, RecursionError):
            given = None
        if not isinstance(given, dict):
            return f"column {name}: it must be a JSON object (found {getattr(row, name)[:40]!r})"
    if isinstance(row, ScoreRow) and row.seed is not None and not 0 <= row.seed < 2**63:
        return f"column seed: {str(row.seed)[:20]!r} is no seed, which is at least 0 and below 2^63"
    return ""


def column(rows: Sequence[BaseModel], name: str, field: FieldInfo) -> pd.Series:
    """A column of a table, in the type that the schema says: a large seed is no float on its way."""
    types: dict[Any, Any] = {int: "int64", float: "float64", bool: "bool", float | None: "float64", int | None: "Int64"}
    types[bool | None] = "boolean"
    return pd.Series([getattr(row, name) for row in rows], dtype=types.get(field.annotation, TEXT))
