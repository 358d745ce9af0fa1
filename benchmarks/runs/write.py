"""Writing a run: under a hidden name while it is unfinished, under its own once it is complete."""

from __future__ import annotations

import json
import os
import re
import shutil
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks.errors import UserError
from benchmarks.runs.cells import rows_of
from benchmarks.runs.read import LOSSES
from benchmarks.runs.schema import SCHEMA_VERSION, ScoreRow, TimingRow
from benchmarks.runs.standing import standings
from benchmarks.runs.tables import durable, table_of, write_table
from benchmarks.runs.unfinished import (
    UNFINISHED,
    describe_unfinished,
    discard,
    has_cells,
    locked,
    sweep,
    unfinished_runs,
)

__all__ = ["UNFINISHED", "NameTaken", "Part", "RunWriter", "describe_unfinished", "sweep", "unfinished_runs"]

Part = tuple[Sequence[ScoreRow], dict[int, NDArray[np.float32]]]
"""Some rows of `scores.csv`, and their per-task losses by the number of the row among them."""


ERRORS = "errors.log"
"""File of a run with the tracebacks of what failed in it, if something did."""


class NameTaken(UserError):
    """The run's name is in use."""


class RunWriter:
    """An unfinished run: a hidden folder that only this process uses, and that becomes the run in one step.

    Whatever happens, nothing but a complete run is ever seen under a run's name. What is finished of an unfinished
    one lies in `cells` and waits for `--resume`; the hidden folder goes when the run is complete.

    Args:
        folder: of the runs.
        name: of this one.
        resume: whether to go on with what an unfinished run of that name left.

    Raises:
        UserError: if the folder cannot be written, or the name is impossible, taken, or in use.
    """

    def __init__(self, folder: Path, name: str, resume: bool = False) -> None:
        check_name(name)
        self.path = folder / name
        self._hidden = folder / f"{UNFINISHED}{name}"
        self.cells, self.scratch = self._hidden / "cells", self._hidden / "scratch"
        self.errors = self._hidden / ERRORS
        self._refuse_taken()
        try:
            lock = locked(self._hidden, make=True)
        except OSError as error:
            raise self._unwritable(error) from None
        if lock is None:
            raise NameTaken(f"another process is writing the run {name!r}; wait for it, or choose another name")
        self._lock = lock
        try:
            self._refuse_taken()  # another process may have completed it in the meantime
            if not resume and has_cells(self._hidden):
                raise NameTaken(
                    f"an unfinished run {name!r} lies in {folder}; continue it with --resume, choose another name, "
                    "or remove it with 'memformer-bench results prune'"
                )
            shutil.rmtree(self.scratch, ignore_errors=True)
            for part in (self.cells, self.scratch):
                part.mkdir(exist_ok=True)
        except BaseException as error:
            self.__exit__()
            if isinstance(error, OSError):
                raise self._unwritable(error) from None
            raise

    def _refuse_taken(self) -> None:
        if os.path.lexists(self.path):
            name, folder = self.path.name, self.path.parent
            raise NameTaken(f"the run {name!r} exists already in {folder}; choose another name or remove it")

    def _unwritable(self, error: OSError) -> UserError:
        return UserError(f"results cannot be written to {self.path.parent}: {error.strerror or error}")

    def describe(self, state: dict[str, Any]) -> dict[str, Any]:
        """Keep a few words about the run, so that `--resume` finds it; returns those kept before, empty at first.

        Raises:
            UserError: if finished cells are there of another suite, which would be lost; or nothing can be written.
        """
        before = describe_unfinished(self._hidden)
        theirs, ours = (words.get("suite_hash") for words in (before, state))
        if theirs is not None and theirs != ours and has_cells(self._hidden):
            raise NameTaken(
                f"the unfinished run {self.path.name!r} is of another suite ({theirs}, and this is {ours}); resume it "
                "with that suite, or choose another name"
            )
        temporary = self._hidden / ".state.json"
        try:
            temporary.write_text(json.dumps(state), encoding="utf-8")
            os.replace(temporary, self._hidden / "state.json")
        except OSError as error:
            raise self._unwritable(error) from None
        return before

    def write(self, parts: Iterable[Part], timings: Iterable[TimingRow], meta: dict[str, Any]) -> Path:
        """Write the tables, then give the run its name.

        Args:
            parts: of `scores.csv`, in order; read once, one at a time.
            timings: rows of `timings.csv`.
            meta: content of `meta.json`.

        Returns:
            The run's folder.
        """
        whole = self._hidden / "complete"
        try:
            shutil.rmtree(whole, ignore_errors=True)
            whole.mkdir()
            with zipfile.ZipFile(whole / LOSSES, "w") as arrays:
                scores = table_of(_storing(parts, arrays), ScoreRow)
                stored = frozenset(int(name.removesuffix(".npy")) for name in arrays.namelist())
            del arrays  # what it says of each array takes as much memory as the row
            scores["rank"] = _ranks(scores, whole / LOSSES, stored)
            if not stored:
                (whole / LOSSES).unlink()
            write_table(scores, whole / "scores.csv")
            write_table(table_of(timings, TimingRow), whole / "timings.csv")
            with durable(whole / "meta.json") as file:
                file.write(json.dumps({"schema_version": SCHEMA_VERSION, **meta}, indent=1) + "\n")
            if self.errors.is_file():
                shutil.copyfile(self.errors, whole / ERRORS)
            _sync(whole)
            self._refuse_taken()
            whole.rename(self.path)
            _sync(self.path.parent)
        except OSError as error:
            raise self._unwritable(error) from None
        return self.path

    def __enter__(self) -> RunWriter:
        return self

    def __exit__(self, *_: object) -> None:
        """Remove the hidden folder, unless it holds finished cells of a run that is not complete."""
        if self.path.is_dir() or not has_cells(self._hidden):
            discard(self._hidden)
        self._lock.release()


def check_name(name: str) -> None:
    """Raise UserError unless a run can have that name."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}", name):
        raise UserError(f"{name[:60]!r} cannot name a run; use at most 200 letters, digits, '.', '_' and '-'")


def _storing(parts: Iterable[Part], arrays: zipfile.ZipFile) -> Iterator[ScoreRow]:
    """The rows of all parts, whose losses go into the archive on the way."""
    before = 0
    for rows, losses in parts:
        for number, array in losses.items():
            _add_array(arrays, str(before + number), array)
        before += len(rows)
        yield from rows


def _ranks(scores: pd.DataFrame, losses: Path, stored: frozenset[int]) -> pd.Series:
    """Ranks of all rows by the losses that were stored; none if some were not."""
    seeded = np.flatnonzero(scores["seed"].notna() & (scores["metric"] != ""))
    ranks: dict[int, int] = {}
    if stored.issuperset(seeded.tolist()):
        with np.load(losses) as arrays:
            ranks = standings(rows_of(scores), lambda number: arrays[str(number)])
    return pd.Series([ranks.get(number) for number in range(len(scores))], dtype="Int64")


def _add_array(archive: zipfile.ZipFile, name: str, array: NDArray[Any]) -> None:
    """One array more, as `numpy.savez` would write it."""
    with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as file:
        np.lib.format.write_array(file, array, allow_pickle=False)


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
