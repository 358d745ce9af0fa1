"""Resuming: what is done is not done again, the tables are those of an uninterrupted run, nothing stale is served."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.catalogue.registry import SOLVERS
from benchmarks.cli.progress import _Lines
from benchmarks.errors import UserError
from benchmarks.harness import passes
from benchmarks.harness import run as running
from benchmarks.harness.cell import Cell
from benchmarks.harness.cell_cache import KeptCells
from benchmarks.harness.cell_key import cell_key
from benchmarks.harness.resolve import build_cells, load_plugin
from benchmarks.harness.run import Finished, run_suite
from benchmarks.harness.scores.fitting import ParameterStore
from benchmarks.harness.workers.cells import run_cells
from benchmarks.runs.read import read_run
from benchmarks.runs.schema import TIMES
from benchmarks.runs.unfinished import abandoned_runs, unfinished_runs
from benchmarks.runs.write import RunWriter
from benchmarks.suites.suite import Suite, load_suite
from benchmarks.tasks.gaussian import Isotropic
from tests.helpers import call, forked

FITTED = """
schema = 1
steps = [1, 2]
seeds = [0, 1]
solvers = ["cg", { name = "heavy_ball_tuned", params = { num_tasks = 300 } }, "bayes", "ols", "gradient_descent"]
[scores]
tasks = 40
[timings]
batch = 4
repeats = 3
[[tasks]]
law = "isotropic"
d = 2
N = 6
noise_std = 0.1
[[tasks]]
law = "anisotropic"
d = 2
N = 6
"""


class Interrupted(Exception):
    """What the tests interrupt a run with."""


@pytest.fixture
def suite(tmp_path: Path) -> Suite:
    path = tmp_path / "fitted.toml"
    path.write_text(FITTED)
    return load_suite(str(path))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing interrupted."""
    folder = tmp_path_factory.mktemp("whole")
    (folder / "fitted.toml").write_text(FITTED)
    return run(load_suite(str(folder / "fitted.toml")), folder, "one").path


def run(suite: Suite, folder: Path, name: str | None = None, **options: Any) -> Finished:
    return run_suite(suite, folder / "runs", folder / "parameters", ["x"], _Lines(), name, **options)


def interrupt(monkeypatch: pytest.MonkeyPatch, after: int) -> Callable[[], None]:
    """Make the scores pass raise after so many cells; returns what undoes it."""

    def few(*arguments: Any) -> Any:
        for number, cell in enumerate(run_cells(*arguments)):
            if number == after:
                raise Interrupted
            yield cell

    monkeypatch.setattr(running, "run_cells", few)
    return monkeypatch.undo


@pytest.mark.parametrize("after", [1, 4, 9])
def test_a_resumed_run_ends_with_the_same_tables_and_recomputes_nothing(
    suite: Suite, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    undo = interrupt(monkeypatch, after)
    with pytest.raises(Interrupted):
        run(suite, tmp_path / "b", "one")
    undo()
    asked: list[int] = []

    def counted(cells: Any, *arguments: Any) -> Any:
        asked.append(len(cells))
        return run_cells(cells, *arguments)

    monkeypatch.setattr(running, "run_cells", counted)
    resumed = run(suite, tmp_path / "b", "one", resume=True).path
    assert asked == [10 - after]
    for file in ("scores.csv", "losses.npz"):
        assert (whole / file).read_bytes() == (resumed / file).read_bytes(), file
    timings = [read_run(path).timings.drop(columns=list(TIMES)) for path in (whole, resumed)]
    assert timings[0].equals(timings[1])
    assert os.listdir(tmp_path / "b" / "runs") == ["one"]
    assert not list((tmp_path / "b").rglob(".*"))


def test_timings_that_are_done_are_not_done_again(
    suite: Suite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured = passes.time_cells
    raced: list[str] = []

    def once(results: Any, *arguments: Any) -> Any:
        raced.append(results[0].cell.law_name)
        if raced == ["isotropic", "anisotropic"]:
            raise Interrupted
        return measured(results, *arguments)

    monkeypatch.setattr(passes, "time_cells", once)
    with pytest.raises(Interrupted):
        run(suite, tmp_path, "one")
    assert len(read_run(run(suite, tmp_path, "one", resume=True).path).timings) == 20
    assert raced == ["isotropic", "anisotropic", "anisotropic"]


def test_without_a_name_the_unfinished_run_of_the_same_suite_goes_on(
    suite: Suite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    undo = interrupt(monkeypatch, 3)
    for name in ("mine", "other"):
        with pytest.raises(Interrupted):
            run(suite if name == "mine" else suite.model_copy(update={"seeds": [5]}), tmp_path, name)
    undo()
    assert run(suite, tmp_path, resume=True).path.name == "mine"
    assert [path.name for path in unfinished_runs(tmp_path / "runs")] == [".unfinished-other"]


def test_resuming_what_is_complete_says_so_and_computes_nothing(
    suite: Suite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = run(suite, tmp_path, "one")
    (tmp_path / "runs" / ".unfinished-one" / "cells").mkdir(parents=True)  # killed just before it was removed
    monkeypatch.setattr(running, "run_cells", None)
    assert run(suite, tmp_path, "one", resume=True).path == first.path
    assert os.listdir(tmp_path / "runs") == ["one"]
    with pytest.raises(UserError, match="exists already"):
        run(suite.model_copy(update={"seeds": [5]}), tmp_path, "one", resume=True)


def test_a_damaged_cell_is_computed_again(
    suite: Suite, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    undo = interrupt(monkeypatch, 5)
    with pytest.raises(Interrupted):
        run(suite, tmp_path / "b", "one")
    undo()
    kept = sorted((tmp_path / "b/runs/.unfinished-one/cells").glob("*.safetensors"))
    assert len(kept) == 5
    kept[0].write_bytes(kept[0].read_bytes()[:-1])
    kept[1].write_bytes(b"")
    kept[2].write_bytes(kept[3].read_bytes())  # another cell's result in its place
    resumed = run(suite, tmp_path / "b", "one", resume=True).path
    assert (whole / "scores.csv").read_bytes() == (resumed / "scores.csv").read_bytes()


CHANGES: dict[str, Callable[[Cell], Cell]] = {
    "law parameter": lambda cell: dataclasses.replace(cell, law=Isotropic(d=2, N=6, noise_std=0.1, law_seed=1)),
    "noise": lambda cell: dataclasses.replace(cell, law=Isotropic(d=2, N=6, noise_std=0.2)),
    "solver": lambda cell: dataclasses.replace(cell, solver=SOLVERS.create("cgls")),
    "solver parameters": lambda cell: dataclasses.replace(cell, solver_params={"x": 1}),
    "steps": lambda cell: dataclasses.replace(cell, steps=(1, 2, 3)),
    "fewer steps": lambda cell: dataclasses.replace(cell, steps=(2,)),
    "seeds": lambda cell: dataclasses.replace(cell, seeds=(0,)),
    "tasks": lambda cell: dataclasses.replace(cell, tasks=41),
    "protocol": lambda cell: dataclasses.replace(cell, protocol="transductive"),
    "dtype": lambda cell: dataclasses.replace(cell, dtype=torch.float32),
    "device": lambda cell: dataclasses.replace(cell, device=torch.device("meta")),
    "time limit": lambda cell: dataclasses.replace(cell, time_limit=1.0),
    "memory limit": lambda cell: dataclasses.replace(cell, memory_limit=1.0),
}


@pytest.mark.parametrize("what", CHANGES)
def test_whatever_can_change_a_number_changes_the_key(suite: Suite, what: str) -> None:
    cell = build_cells(suite)[0]
    changed = CHANGES[what](cell)
    assert cell_key(changed, 1) != cell_key(cell, 1)
    assert cell_key(cell, 1) == cell_key(build_cells(suite)[0], 1)


@pytest.mark.parametrize("what", ["threads", "source", "version of a law", "version of a solver", "torch"])
def test_so_does_what_it_is_computed_with(suite: Suite, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    cell = build_cells(suite)[0]
    before = cell_key(cell, 1)
    if what == "source":
        monkeypatch.setattr("benchmarks.harness.cell_key.source_hash", lambda parts: "other")
    elif what == "torch":
        monkeypatch.setattr("benchmarks.harness.cell_key._versions", lambda: {"torch": "0"})
    elif what == "version of a solver":
        monkeypatch.setattr(type(cell.solver), "version", 99)
    elif what == "version of a law":
        newer = dataclasses.replace(type(cell.law).metadata, version=99)
        monkeypatch.setattr(type(cell.law), "metadata", newer)
    assert cell_key(cell, 2 if what == "threads" else 1) != before


def test_a_change_in_a_plugin_or_in_what_it_imports_changes_the_key(tmp_path: Path) -> None:
    (tmp_path / "helper_of_thirds.py").write_text("ETA = 1 / 3\n")
    (tmp_path / "thirds.py").write_text(
        f"import sys\nsys.path.insert(0, {str(tmp_path)!r})\nfrom helper_of_thirds import ETA\n"
        "from dataclasses import dataclass\nfrom baselines.gradient import GradientDescent\n"
        "from benchmarks.catalogue.registry import SOLVERS\n"
        "@SOLVERS.register('thirds')\n@dataclass(frozen=True)\nclass Thirds(GradientDescent):\n    eta: float = ETA\n"
    )
    (tmp_path / "p.toml").write_text(FITTED.replace('"cg", ', '"thirds", '))

    def print_keys() -> None:
        load_plugin(str(tmp_path / "thirds.py"))
        print([cell_key(cell, 1) for cell in build_cells(load_suite(str(tmp_path / "p.toml")))[:2]])

    def keys() -> list[str]:
        return eval(*forked(print_keys))

    first = keys()
    assert keys() == first
    (tmp_path / "helper_of_thirds.py").write_text("ETA = 1 / 3  # commented\n")
    second = keys()
    assert second[0] != first[0]
    assert second[1] == first[1]  # a solver of this project does not depend on it


def test_a_solver_without_source_is_never_found_again(suite: Suite) -> None:
    cell = build_cells(suite)[0]
    homeless = type("Homeless", (type(cell.solver),), {"__module__": "nowhere"})
    changed = dataclasses.replace(cell, solver=homeless())
    assert cell_key(changed, 1) != cell_key(changed, 1)


def test_only_one_process_writes_a_run(suite: Suite, tmp_path: Path) -> None:
    def write() -> None:
        with pytest.raises(UserError) as caught:
            RunWriter(tmp_path / "runs", "one", resume=True)
        print(caught.value)

    with RunWriter(tmp_path / "runs", "one"):
        (said,) = forked(write)
        assert "another process is writing the run 'one'" in said
        assert abandoned_runs(tmp_path / "runs") == []
    assert os.listdir(tmp_path / "runs") == []


def test_two_runs_at_once_into_one_folder_are_both_written(suite: Suite, tmp_path: Path) -> None:
    def begin() -> None:
        done = call("run", tmp_path / "fitted.toml", folder=tmp_path)
        assert done.code == 0, done.error

    forked(begin, begin)
    runs = sorted((tmp_path / "results" / "runs").iterdir())
    assert len(runs) == 2
    assert runs[0].joinpath("scores.csv").read_bytes() == runs[1].joinpath("scores.csv").read_bytes()


def test_a_cell_comes_back_as_it_was_kept(suite: Suite, tmp_path: Path) -> None:
    kept = KeptCells(tmp_path)
    for number, scored in run_cells(build_cells(suite), ParameterStore(), None, 1):
        kept.keep(f"key{number}", scored)
        rows, losses = kept.part(f"key{number}") or ([], {})
        assert rows == scored.rows
        assert losses.keys() == scored.losses.keys()
        assert all((losses[row] == scored.losses[row]).all() for row in losses)
        found = kept.find(f"key{number}", scored.result.cell)
        assert found is not None
        problem = scored.result.cell.law.stream(0, 2).sample(3).blinded()
        assert torch.equal(
            found.fitted[0].solve(problem, 2).predict(problem.x_query),
            scored.result.fitted[0].solve(problem, 2).predict(problem.x_query),
        )
    assert kept.find("key99", build_cells(suite)[0]) is None
