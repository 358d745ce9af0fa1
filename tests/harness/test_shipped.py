"""Parameters that come with the project: found by what they were fitted to, said in the row, and what they claim."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
import torch

from benchmarks.errors import UserError
from benchmarks.harness.cell import Cell
from benchmarks.harness.scores.fitting import ParameterStore, header_of
from benchmarks.harness.scores.measure import run_cell
from benchmarks.harness.scores.shipped import INDEX, SHIPPED, bound, file_name, index, shipped_parameters
from benchmarks.harness.scores.table import score_rows
from benchmarks.tasks.gaussian import Isotropic
from benchmarks.validation import ship
from memformer.core import checkpoint
from memformer.solvers.memformer import Memformer

KNOWN = index(SHIPPED)
CELLS = ship.cells([])
SMALL = Memformer(preconditioner="scalar", iterations=3, tasks=40, batch=20, starts=1)


def cell_of(**changed: object) -> Cell:
    cell = Cell(
        "isotropic", Isotropic(d=2, N=4), "linear_transformer", SMALL, {}, (1, 2), (0, 1), 30, torch.float64,
        torch.device("cpu"), 60.0,
    )  # fmt: skip
    return replace(cell, **changed)  # type: ignore[arg-type]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """With the small solver of `cell_of`."""
    monkeypatch.setattr(ship, "TASKS", 50)
    ship.ship(cell_of(), tmp_path)
    (tmp_path / INDEX).write_text(json.dumps(ship.entries(cell_of(), tmp_path)))
    return tmp_path


@cache
def cells_by_file() -> dict[str, Cell]:
    """The cell whose parameters each file holds."""
    return {file_name(header): cell for cell in CELLS for header in ship.headers(cell)}


def rows_from(store: ParameterStore, cell: Cell) -> set[str]:
    return {row.parameters for row, _ in score_rows(run_cell(cell, store))}


def test_they_are_used_where_nothing_else_is_found_and_the_row_says_so(folder: Path, tmp_path: Path) -> None:
    store = ParameterStore(tmp_path / "mine", shipped=folder)
    assert rows_from(store, cell_of()) == {"shipped"}
    assert not (tmp_path / "mine").exists()
    assert rows_from(ParameterStore(tmp_path / "mine"), cell_of()) == {"fitted"}
    assert rows_from(store, cell_of()) == {"fitted"}, "the user's own come first"


@pytest.mark.parametrize("changed", [{"seeds": (0, 7)}, {"steps": (1,)}, {"law": Isotropic(d=2, N=5)}], ids=str)
def test_they_are_not_used_for_anything_else(folder: Path, changed: dict) -> None:
    assert rows_from(ParameterStore(shipped=folder), cell_of(**changed)) == {"fitted"}


def test_another_dtype_or_source_is_no_matter_and_a_version_is(folder: Path) -> None:
    header = header_of("linear_transformer", SMALL, Isotropic(d=2, N=4), (1, 2), 0, torch.float64, torch.device("cpu"))
    for other in ({}, {"source": "x"}, {"torch": "x"}, {"dtype": "float32"}):
        found = shipped_parameters(folder, {**header, **other})
        assert found is not None
        assert found.parameters["Q"].dtype == getattr(torch, {**header, **other}["dtype"])
    for other in ({"solver_version": "99"}, {"law_version": "99"}, {"fingerprint": "x"}, {"plugin": "x"}):
        assert shipped_parameters(folder, {**header, **other}) is None


def test_a_file_that_is_not_the_one_of_the_index_is_refused(folder: Path) -> None:
    file = next(folder.glob("*.safetensors"))
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    with pytest.raises(UserError, match="is not the file that came with the project; install it again"):
        ParameterStore(shipped=folder).fit(
            "linear_transformer", SMALL, Isotropic(d=2, N=4), (1, 2), (0, 1), torch.float64, torch.device("cpu")
        )


def test_there_is_a_file_for_each_entry_and_an_entry_for_each_file() -> None:
    assert {path.name for path in SHIPPED.glob("*.safetensors")} == set(KNOWN)
    assert sum(path.stat().st_size for path in SHIPPED.iterdir()) < 4e6


def test_every_search_of_core_and_learned_is_there_and_nothing_else() -> None:
    assert set(cells_by_file()) == set(KNOWN)


@pytest.mark.parametrize("name", sorted(KNOWN))
def test_each_file_is_what_the_index_says_and_reaches_the_loss(name: str) -> None:
    entry = KNOWN[name]
    path = SHIPPED / name
    assert hashlib.sha256(path.read_bytes()).hexdigest() == entry["sha256"]
    found = checkpoint.load(path)
    assert {key: found.header[key] for key in bound(entry)} == bound(entry)
    assert found.header["licence"] == entry["licence"] == "Apache-2.0"
    assert {str(t.dtype) for t in found.parameters.values()} <= {"torch.float32", "torch.float64", "torch.int64"}
    assert ship.log_losses(cells_by_file()[name], path, int(entry["seed"])) == pytest.approx(
        entry["log_loss"], abs=1e-2
    )
