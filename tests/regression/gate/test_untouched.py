"""A case is measured if, and only if, something that it runs differs."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from benchmarks.regression.gate.cases import loss_cases, speed_cases
from benchmarks.regression.gate.report import Verdict, markdown
from benchmarks.regression.gate.speed import SpeedResult
from benchmarks.regression.gate.untouched import touched
from benchmarks.runs.source import OWN
from tests.regression.gate.conftest import ROOT, change, run_check

CATALOGUE = "benchmarks/catalogue/built_in.toml"

OF_ALL = {f"{case.kind} {case.solver or case.law}" for case in speed_cases()}


@pytest.fixture(scope="module")
def copied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("copied")
    for package in OWN:
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__", "*.safetensors"))
    return folder


@pytest.fixture
def tree(copied: Path) -> Iterator[Path]:
    """A copy of this project, whose files are what they were for the next test."""
    known = {file: file.read_bytes() for file in copied.rglob("*.*") if file.is_file()}
    yield copied
    for file, content in known.items():
        if not file.is_file() or file.read_bytes() != content:
            file.write_bytes(content)


def append(file: str, text: str) -> Callable[[Path], object]:
    return lambda tree: (tree / file).write_text((tree / file).read_text() + text)


def in_catalogue(old: str, new: str) -> Callable[[Path], object]:
    return lambda tree: change(tree, old, new, CATALOGUE)


@pytest.mark.parametrize(
    ("edit", "found"),
    [
        (lambda _: None, set()),
        (append("benchmarks/cli/check.py", "x = 1\n"), set()),
        (append("baselines/lasso.py", "x = 1\n"), {"solve lasso"}),
        (append("baselines/lasso.py", "no Python\n"), {"solve lasso"}),
        (append("baselines/lasso.py", "\0"), {"solve lasso"}),
        (append("benchmarks/tasks/sparse.py", "x = 1\n"), {"draw sparse"}),
        (append("baselines/learned/parts.py", "x = 1\n"), None),
        (append("memformer/core/problem.py", "x = 1\n"), OF_ALL),
        (append("memformer/__init__.py", "x = 1\n"), OF_ALL),
        (in_catalogue("[solvers]", '[solvers]\nmine = ["baselines.lasso:Lasso", "another lasso"]'), set()),
        (
            lambda tree: change(tree, "lasso =", 'lasso = ["baselines.direct:Ridge", "x"]\nold =', CATALOGUE),
            {"solve lasso"},
        ),
        (append(CATALOGUE, "no TOML\n"), OF_ALL),
        (lambda tree: (tree / CATALOGUE).unlink(), OF_ALL),
        (lambda tree: (tree / "benchmarks/api.py").unlink(), OF_ALL),
    ],
)
def test_what_an_edit_touches(edit: Callable[[Path], object], found: set[str] | None, tree: Path) -> None:
    edit(tree)
    measured = {case.name for case in touched(ROOT, tree, speed_cases())}
    if found is None:
        assert {"solve lstm_optimizer", "fit lstm_optimizer", "solve delta_net"} <= measured
        assert not {"solve cg", "solve memformer_gdpp", "draw isotropic"} & measured
    else:
        assert measured == found


def test_a_loss_hangs_on_the_law_too(tree: Path) -> None:
    append("benchmarks/tasks/mixture.py", "x = 1\n")(tree)
    assert {case.law for case in touched(ROOT, tree, loss_cases())} == {"gmm"}


@pytest.mark.usefixtures("few_laws")
def test_a_change_that_touches_nothing_passes_at_once_and_with_all_it_is_measured(
    clone: Path,
) -> None:
    (clone / "README.md").write_text("new")
    done = run_check(clone, "--against", "HEAD", "--only", "speed")
    assert done.code == 0, done.error
    assert f"Cases compared: speed 0 of 0, {len(speed_cases())} untouched." in done.output
    assert "**Passed.**" in done.output
    every = run_check(clone, "--against", "HEAD", "--all", "--only", "losses", "--solver", "ols")
    assert (every.code, "losses 1 of 1." in every.output) == (0, True), every.error


def test_a_new_solver_beside_cases_that_are_untouched_is_judged() -> None:
    new = [SpeedResult(speed_cases()[0], status="new")]
    verdict = Verdict("a", "b", "c", 1.0, new, [], untouched=(100, 0))
    assert verdict.passed
    assert "Cases compared: speed 0 of 0 and 1 new, 100 untouched." in markdown(verdict)
    assert not Verdict("a", "b", "c", 1.0, new, []).passed
