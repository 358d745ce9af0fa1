"""Plug-in files, classes and laws that do what they must not: a sentence before anything is computed, or a row."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from benchmarks.catalogue.registry import LAWS, SOLVERS
from benchmarks.errors import UserError
from benchmarks.harness.resolve import build_cells, load_plugin
from benchmarks.harness.scores.fitting import header_of
from benchmarks.runs.validate import problems
from benchmarks.tasks.gaussian import Isotropic
from memformer.core.problem import Problem
from memformer.core.solver import Needs, Solver
from memformer.core.trace import Trace
from tests.harness.nasty import HONEST, answer, carried_out, rows, suite


class NoDataclass(Solver):
    needs = Needs.NOTHING

    def solve(self, problem: Problem, num_steps: int) -> Trace:
        return answer(problem, num_steps)


@dataclass(frozen=True)
class SaysNothing(NoDataclass):
    needs = None  # type: ignore[assignment]


@dataclass(frozen=True)
class OddVersion(NoDataclass):
    version = "1.0"  # type: ignore[assignment]


@dataclass(frozen=True)
class ExitsWhenMade(NoDataclass):
    def __post_init__(self) -> None:
        raise SystemExit(0)


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (NoDataclass, "must be a dataclass; put @dataclass"),
        (SaysNothing, "must declare needs, of type Needs; it is None"),
        (OddVersion, "must declare version, of type int; it is '1.0'"),
        (ExitsWhenMade, "cannot be made: SystemExit: 0"),
    ],
)
def test_a_class_that_is_no_solver_is_a_sentence(kind: type, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SOLVERS._entries, "nasty", replace(SOLVERS[HONEST], target=kind))
    with pytest.raises(UserError) as caught:
        build_cells(suite("nasty"))
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


class Grown(Isotropic):
    """A law that is nasty in one way or another."""

    metadata = replace(Isotropic.metadata, name="grown")


@dataclass(frozen=True, kw_only=True)
class DrawsNan(Grown):
    def draw(self, batch: int, generator: np.random.Generator) -> Any:
        drawn = super().draw(batch, generator)
        drawn.X[0, 0] = np.nan
        return drawn


@dataclass(frozen=True, kw_only=True)
class ExitsWhenDrawn(Grown):
    def draw(self, batch: int, generator: np.random.Generator) -> Any:
        raise SystemExit(0)


@dataclass(frozen=True, kw_only=True)
class Unhashable(Grown):
    table: list[int] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class NoJson(Grown):
    where: Path = Path("x")


@dataclass(frozen=True, kw_only=True)
class NoMoment(Grown):
    @cached_property
    def second_moment(self) -> Tensor:
        raise RuntimeError("nobody knows")


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (ExitsWhenDrawn, "it raised SystemExit: 0"),
        (Unhashable, "unhashable type: 'list'"),
        (NoJson, "not JSON serializable"),
        (NoMoment, "nobody knows"),
    ],
)
def test_a_nasty_law_is_a_sentence_before_anything_is_computed(
    tmp_path: Path, kind: type, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(LAWS._entries, "nasty", replace(LAWS["isotropic"], target=kind))
    with pytest.raises(UserError) as caught:
        carried_out(tmp_path, HONEST, law="nasty")
    assert said in str(caught.value)
    assert list(tmp_path.glob("runs/*")) == []


def test_a_law_that_draws_nan_is_an_outcome(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(LAWS._entries, "nasty", replace(LAWS["isotropic"], target=DrawsNan))
    run = carried_out(tmp_path, HONEST, law="nasty")
    assert {status for status, _ in rows(run, HONEST)} == {"nonfinite"}
    assert problems(run) == []


def test_a_law_that_fails_when_it_is_timed_is_a_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Isotropic.stream

    def fails(self: Isotropic, seed: int, purpose: Any, *arguments: Any, **options: Any) -> Any:
        if purpose.name == "TIMING":
            raise SystemExit(0)
        return stream(self, seed, purpose, *arguments, **options)

    monkeypatch.setattr(Isotropic, "stream", fails)
    run = carried_out(tmp_path, HONEST)
    assert rows(run, HONEST) == {("ok", "")}
    assert rows(run, HONEST, "timings") == {("error", "Misdeed: it raised SystemExit: 0")}


NASTY_FILES = {
    "raise SystemExit(0)": "it raised SystemExit: 0",
    "import os; os._exit(0)": "it called os._exit(0)",
    "import os; os.chdir('/')": "it changed the working folder",
    "raise OSError('\\udc80')": r"OSError: \udc80",
    "1 +": "SyntaxError",
}


@pytest.mark.parametrize("text", NASTY_FILES)
def test_a_file_that_is_nasty_when_imported_is_a_sentence(text: str, tmp_path: Path) -> None:
    (tmp_path / "mine_that_is_nasty.py").write_text(text)
    here = os.getcwd()
    for _ in range(2):  # the first leaves nothing that stands in the way of the second
        with pytest.raises(UserError) as caught:
            load_plugin(str(tmp_path / "mine_that_is_nasty.py"))
        assert NASTY_FILES[text] in str(caught.value)
        assert os.getcwd() == here
        str(caught.value).encode()


@pytest.mark.parametrize("name", ["torch.py", "json.py", "sys.py"])
def test_a_file_replaces_no_module(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("raise SystemExit('it was imported')\n")
    with pytest.raises(UserError, match="would replace the module"):
        load_plugin(str(tmp_path / name))


PLUGIN = """
from dataclasses import dataclass
from benchmarks.catalogue.registry import SOLVERS
from baselines.gradient import GradientDescent
@SOLVERS.register("mine_that_is_edited")
@dataclass(frozen=True)
class Mine(GradientDescent):
    eta: float = ETA
"""


def test_fitted_parameters_belong_to_the_code_of_the_plugin(tmp_path: Path) -> None:
    path, headers = tmp_path / "mine_that_is_edited.py", []
    for eta in ("1 / 3", "1 / 3", "1 / 4"):
        path.write_text(PLUGIN.replace("ETA", eta))
        SOLVERS._entries.pop("mine_that_is_edited", None)
        load_plugin(str(path))
        solver = SOLVERS.create("mine_that_is_edited", eta=0.1)
        about = (Isotropic(d=2, N=6), [1], 0, torch.float64, torch.device("cpu"))
        headers.append(json.dumps(header_of("mine", solver, *about)))
    assert headers[0] == headers[1] != headers[2]
    del SOLVERS._entries["mine_that_is_edited"]
    another = (
        'from benchmarks.api import SOLVERS\nSOLVERS.add("another_of_mine", "baselines.gradient:GradientDescent")\n'
    )
    (tmp_path / "another_of_mine.py").write_text(another)
    load_plugin(str(tmp_path / "another_of_mine.py"))  # what else is imported does not matter
    del SOLVERS._entries["another_of_mine"]
    assert json.dumps(header_of("mine", solver, *about)) == headers[2]
