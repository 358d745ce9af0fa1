"""The result store: one folder a run, complete or absent, and checked against the schema when read."""

from __future__ import annotations

import json
import os
import re
import shutil
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import BaseModel, ValidationError

from benchmarks.errors import UserError
from benchmarks.schema import SCHEMA_VERSION, ScoreRow, TimingRow

LOSSES = "losses.npz"
"""Per-task losses of a run: one float32 array for each row of `scores.csv` with a seed, named by the row's number."""

RUNS = Path("results/runs")
"""Where runs are kept, relative to the folder the command is started in."""

_UNFINISHED = re.compile(r"^\.unfinished-(\d+)-")


@dataclass(frozen=True)
class Run:
    """A run read back.

    Attributes:
        path: its folder.
        scores: one `benchmarks.schema.ScoreRow` a row.
        timings: one `benchmarks.schema.TimingRow` a row.
        meta: suite, command, versions, machine, time.
    """

    path: Path
    scores: pd.DataFrame
    timings: pd.DataFrame
    meta: dict[str, Any]

    def losses(self, row: int) -> NDArray[np.float32]:
        """Per-task losses behind a row of `scores` that has a seed, `(tasks,)` in the order of the tasks.

        Raises:
            UserError: if the run was stored without them (as the committed one is), or the row has none.
        """
        try:
            return self._arrays[str(row)]
        except KeyError:
            raise UserError(f"row {row} of {self.name} has no per-task losses; rows with a seed do") from None

    @cached_property
    def _arrays(self) -> Mapping[str, NDArray[np.float32]]:
        path = self.path / LOSSES
        if not path.is_file():
            raise UserError(f"the run {self.name} was stored without per-task losses ({LOSSES}); run its suite again")
        try:
            with np.load(path, allow_pickle=False) as arrays:
                return dict(arrays)
        except (OSError, ValueError, zipfile.BadZipFile) as error:
            raise UserError(f"{path} is not a file of arrays: {' '.join(str(error).split())}") from None

    @property
    def name(self) -> str:
        """Its folder's name."""
        return self.path.name


class RunWriter:
    """Writes a run under a hidden name and gives it its own name once it is complete.

    A process that dies at any moment leaves nothing under the run's name; what it left under the hidden
    name, the next run removes.

    Raises:
        UserError: if the folder cannot be written, or the name is taken.
    """

    def __init__(self, folder: Path, name: str) -> None:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
            raise UserError(f"{name!r} cannot name a run; use letters, digits, '.', '_' and '-'")
        self.path = folder / name
        self._hidden = folder / f".unfinished-{os.getpid()}-{name}"
        if self.path.exists():
            raise UserError(f"the run {name!r} exists already in {folder}; choose another name or remove it")
        try:
            folder.mkdir(parents=True, exist_ok=True)
            _remove_unfinished(folder)
            self._hidden.mkdir()
        except OSError as error:
            raise UserError(f"results cannot be written to {folder}: {error.strerror}") from None

    def write(
        self,
        scores: Sequence[ScoreRow],
        timings: Sequence[TimingRow],
        meta: dict[str, Any],
        losses: Mapping[int, NDArray[Any]],
    ) -> Path:
        """Write the tables, then give the run its name.

        Args:
            scores: rows of `scores.csv`.
            timings: rows of `timings.csv`.
            meta: content of `meta.json`.
            losses: per-task losses, by number of their row in `scores`.

        Returns:
            The run's folder.
        """
        try:
            self._write("scores.csv", _csv(scores, ScoreRow))
            self._write("timings.csv", _csv(timings, TimingRow))
            arrays: dict[str, Any] = {str(row): array.astype(np.float32) for row, array in losses.items()}
            np.savez(self._hidden / LOSSES, **arrays)
            self._write("meta.json", json.dumps({"schema_version": SCHEMA_VERSION, **meta}, indent=1) + "\n")
            _sync(self._hidden)
            self._hidden.rename(self.path)
            _sync(self.path.parent)
        except OSError as error:
            raise UserError(f"results cannot be written to {self.path.parent}: {error.strerror}") from None
        return self.path

    def _write(self, name: str, text: str) -> None:
        with open(self._hidden / name, "w", encoding="utf-8", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())

    def __enter__(self) -> RunWriter:
        return self

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self._hidden, ignore_errors=True)


def read_run(path: Path) -> Run:
    """Read a run and check every row.

    Raises:
        UserError: if it is not there, was written by a newer version, or does not fit the schema.
    """
    if not path.is_dir():
        raise UserError(f"no run {str(path)!r}; 'memformer-bench list runs' shows those in {RUNS}")
    try:
        meta = json.loads((path / "meta.json").read_text(encoding="utf-8"))
        version = meta["schema_version"]
    except FileNotFoundError:
        raise UserError(f"{path} is not a run: it has no meta.json") from None
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        raise UserError(f"{path / 'meta.json'} is not the description of a run") from None
    if version != SCHEMA_VERSION:
        raise UserError(f"{path} has schema version {version!r}; this memformer-bench reads version {SCHEMA_VERSION}")
    return Run(path, _read_table(path / "scores.csv", ScoreRow), _read_table(path / "timings.csv", TimingRow), meta)


def list_runs(folder: Path = RUNS) -> list[Path]:
    """The complete runs in a folder, oldest first by the time they were measured."""

    def measured_at(path: Path) -> str:
        try:
            return str(json.loads((path / "meta.json").read_text(encoding="utf-8"))["measured_at"])
        except (OSError, ValueError, KeyError, TypeError):
            return ""

    found = [path for path in folder.glob("*") if (path / "meta.json").is_file()] if folder.is_dir() else []
    return sorted(found, key=lambda path: (measured_at(path), path.name))


def _csv(rows: Sequence[BaseModel], model: type[BaseModel]) -> str:
    table = pd.DataFrame([row.model_dump() for row in rows], columns=list(model.model_fields))
    if "seed" in table:
        table["seed"] = table["seed"].astype("Int64")
    return table.to_csv(index=False, float_format="%.8g", lineterminator="\n")


def _read_table(path: Path, model: type[BaseModel]) -> pd.DataFrame:
    text = [name for name, field in model.model_fields.items() if "str" in str(field.annotation)]
    try:
        table = pd.read_csv(path, dtype=dict.fromkeys(text, str), keep_default_na=False, na_values=[""])
    except FileNotFoundError:
        raise UserError(f"{path.parent} is not complete: it has no {path.name}") from None
    except (OSError, ValueError, pd.errors.ParserError) as error:
        raise UserError(f"{path} is not a table: {' '.join(str(error).split())}") from None
    wanted = list(model.model_fields)
    if list(table.columns) != wanted:
        odd = sorted(set(table.columns) ^ set(wanted)) or ["their order"]
        raise UserError(f"{path} does not have the columns of schema version {SCHEMA_VERSION}: see {', '.join(odd)}")
    for number, row in enumerate(table.to_dict("records"), start=2):
        try:
            model.model_validate(row)
        except ValidationError as error:
            problem = error.errors()[0]
            where = f"{path}, line {number}, column {'.'.join(map(str, problem['loc']))}"
            raise UserError(f"{where}: {problem['msg']} (found {str(problem['input'])[:40]!r})") from None
    if "seed" in table:
        table["seed"] = table["seed"].astype("Int64")
    return table.fillna({name: "" for name in ("reason", "metric", "alarm") if name in table})


def _remove_unfinished(folder: Path) -> None:
    """Remove what runs left that died before they were complete."""
    for path in folder.glob(".unfinished-*"):
        match = _UNFINISHED.match(path.name)
        if match and not _alive(int(match[1])):
            shutil.rmtree(path, ignore_errors=True)


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _sync(folder: Path) -> None:
    """Make a rename in a folder durable, where the system can."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
