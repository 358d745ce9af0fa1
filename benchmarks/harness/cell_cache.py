"""Finished cells on disk: each a file named by the cell's key, whole or not there, found when a run is resumed."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.errors import UserError
from benchmarks.harness.cell import Cell, CellResult
from benchmarks.harness.guard import guarded
from benchmarks.harness.scores.protocol import adapted_to, scored_tasks
from benchmarks.harness.scores.table import Scored
from benchmarks.runs.schema import ScoreRow, TimingRow
from benchmarks.runs.write import Part
from benchmarks.tasks.law import Purpose
from memformer.core import checkpoint
from memformer.core.solver import Solver


@dataclass(frozen=True)
class KeptCells:
    """The finished cells and timings of one run.

    Attributes:
        folder: where they are kept.
        errors: file of the tracebacks of what failed, None to keep none.
    """

    folder: Path
    errors: Path | None = None

    def keep(self, key: str, scored: Scored) -> None:
        """Write a finished cell.

        Raises:
            UserError: if it cannot be written.
        """
        self.keep_traceback(scored.result, "")
        header = {
            "key": key,
            "rows": json.dumps([row.model_dump() for row in scored.rows]),
            "result": json.dumps({name: getattr(scored.result, name) for name in _RESULT}),
        }
        tensors = {}
        if scored.losses:
            header["losses"] = json.dumps(list(scored.losses))
            tensors[_LOSSES] = torch.from_numpy(np.stack(list(scored.losses.values())))
        fitted = scored.result.fitted
        parameters = getattr(fitted[0], "parameters", None) if fitted else None
        tensors |= {f"{_FIT}{name}": tensor for name, tensor in (parameters or {}).items()}
        try:
            header["digest"] = _digest(header, tensors)
            checkpoint.save(self._path(key), tensors, header, durable=False)
        except OSError as error:
            raise UserError(f"a finished cell cannot be written to {self.folder}: {error.strerror}") from None

    def keep_traceback(self, result: CellResult, doing: str) -> None:
        """Append the traceback of what failed, if there is one, to those of others.

        Args:
            result: of the cell.
            doing: what failed of it, after its name.

        Raises:
            UserError: if it cannot be written.
        """
        if self.errors is None or not result.traceback:
            return
        cell = result.cell
        try:
            with self.errors.open("a", encoding="utf-8") as file:
                file.write(f"{cell.solver_name} on {cell.law_name} d={cell.law.d}{doing}\n{result.traceback}\n\n")
        except OSError as error:
            raise UserError(f"a traceback cannot be written to {self.errors}: {error.strerror}") from None

    def find(self, key: str, cell: Cell) -> CellResult | None:
        """What became of a finished cell, with its solver fitted under the first seed; None if it is not there."""
        found = self._read(key)
        if found is None:
            return None
        tensors, header = found
        result = json.loads(header["result"])
        if result["status"] != "ok":
            return CellResult(cell, **result)
        parameters = {name.removeprefix(_FIT): tensor for name, tensor in tensors.items() if name.startswith(_FIT)}
        try:
            with guarded(cell.law, cell.fitted_on):
                return CellResult(cell, fitted=[_fitted(cell, parameters)], **result)
        except Exception:  # it is computed again, and if it fails again it is a row
            scored_tasks.cache_clear()
            return None

    def part(self, key: str) -> Part | None:
        """A finished cell's rows, and their losses by the number of the row; None if it is not there or not whole."""
        found = self._read(key)
        if found is None:
            return None
        tensors, header = found
        rows = [ScoreRow.model_validate(row) for row in json.loads(header["rows"])]
        numbers = json.loads(header.get("losses", "[]"))
        return rows, dict(zip(numbers, tensors[_LOSSES].numpy(), strict=True)) if numbers else {}

    def _read(self, key: str) -> checkpoint.Checkpoint | None:
        try:
            found = checkpoint.load(self._path(key), expect={"key": key})
        except (OSError, checkpoint.CheckpointError):
            return None
        digest = found.header.pop("digest", None)
        return found if digest == _digest(found.header, found.parameters) else None

    def keep_timings(self, key: str, rows: Sequence[TimingRow]) -> None:
        """Write the timings of solvers that were raced together."""
        temporary = self.folder / f".{key}.json"
        try:
            temporary.write_text(json.dumps([row.model_dump() for row in rows]), encoding="utf-8")
            os.replace(temporary, self.folder / f"{key}.json")
        except OSError as error:
            raise UserError(f"timings cannot be written to {self.folder}: {error.strerror}") from None

    def find_timings(self, key: str) -> list[TimingRow] | None:
        """Timings of solvers that were raced together; None if they are not there or not whole."""
        try:
            content: Any = json.loads((self.folder / f"{key}.json").read_text(encoding="utf-8"))
            return [TimingRow.model_validate(row) for row in content]
        except (OSError, ValueError, TypeError):
            return None

    def __len__(self) -> int:
        return sum(1 for _ in self.folder.glob("*.safetensors"))

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}.safetensors"


_FIT, _LOSSES = "parameters.", "losses"
"""In a file, what stands before the names of fitted parameters, and the name of the losses of all rows that have some;
`losses` of the header are the numbers of these rows."""


def _digest(header: Mapping[str, str], tensors: Mapping[str, torch.Tensor]) -> str:
    """Of everything in a file: writing does not wait for the disk, and a loss of power may leave a part of it."""
    digest = hashlib.sha256(json.dumps(sorted(header.items())).encode())
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(tensors[name].detach().cpu().contiguous().numpy().reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


_RESULT = ("train_seconds", "train_reused", "shipped", "status", "reason")


def _fitted(cell: Cell, parameters: dict[str, torch.Tensor]) -> Solver:
    """The solver of a finished cell under its first seed.

    One that keeps nothing in `parameters` is fitted once more, at no cost (see `memformer.core.solver.Solver`).
    """
    solver = cell.solver
    if parameters:
        solver = dataclasses.replace(solver, parameters=parameters)  # type: ignore[type-var]
    elif solver.fitting.required:
        seed = cell.seeds[0]
        solver = solver.fit(cell.fitted_on.stream(seed, Purpose.TRAIN, cell.dtype, cell.device), cell.fitted_for, seed)
    if cell.protocol == "context_adapted":
        problem = scored_tasks(cell.law, cell.seeds[0], cell.tasks, cell.dtype, cell.device, cell.draw, Purpose.SCORE)
        solver = adapted_to(solver, problem)
    return solver
