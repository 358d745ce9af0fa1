"""Laws that need a package which may be missing, and laws that solvers are not fitted on."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from benchmarks.harness.resolve import available, build_cells
from benchmarks.runs.read import read_run
from benchmarks.suites.suite import Suite, load_suite
from benchmarks.tasks.tables import _built_in
from tests.helpers import call, mistake

REAL = 'law = "real"\nd = 10\nN = 12\nparams = { dataset = "diabetes" }\n'
ISOTROPIC = 'law = "isotropic"\nd = 2\nN = 6\n'
HEAD = (
    'schema = 1\nsteps = [1, 2]\nseeds = [0]\nsolvers = ["cg", "pcg"]\n'
    "[scores]\ntasks = 20\n[timings]\nbatch = 2\nrepeats = 1\n"
)


@pytest.fixture
def suite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)  # as if it were not installed
    _built_in.cache_clear()
    path = tmp_path / "s.toml"
    path.write_text(f"{HEAD}[[tasks]]\n{ISOTROPIC}[[tasks]]\n{REAL}optional = true\n")
    return path


def loaded(text: str, tmp_path: Path) -> Suite:
    path = tmp_path / "shift.toml"
    path.write_text(HEAD + text)
    return load_suite(str(path))


def test_an_optional_law_is_left_out_with_the_reason_and_the_run_is_good(suite: Path, tmp_path: Path) -> None:
    done = call("run", suite, "--results", tmp_path, "--name", "r")
    assert done.code == 0
    assert "left out: real: " in done.error
    assert "is part of another package" in done.error
    run = read_run(tmp_path / "runs" / "r")
    assert set(run.scores["law"]) == {"isotropic"}
    assert run.meta["left_out"][0].startswith("real: ")
    assert call("results", "validate", "r", "--results", tmp_path).code == 0


def test_one_that_is_not_optional_is_a_mistake(suite: Path, tmp_path: Path) -> None:
    suite.write_text(suite.read_text().replace("optional = true", ""))
    assert "is part of another package" in mistake("run", suite, "--results", tmp_path)


def test_nothing_left_is_a_mistake(suite: Path, tmp_path: Path) -> None:
    suite.write_text(f"{HEAD}[[tasks]]\n{REAL}optional = true\n")
    assert "no task of the suite s can be had here: real: " in mistake("run", suite, "--results", tmp_path)


def test_what_is_there_is_not_left_out(tmp_path: Path) -> None:
    suite = loaded(f"[[tasks]]\n{ISOTROPIC}optional = true\n", tmp_path)
    assert available(suite) == (suite, [])


def test_on_a_shifted_law_only_what_is_fitted_is_fitted_elsewhere(tmp_path: Path) -> None:
    text = HEAD.replace('"pcg"', '"pcg", { name = "lfom_optimal", trained_on = "gmm" }')
    path = tmp_path / "shift.toml"
    path.write_text(f'{text}[[tasks]]\n{ISOTROPIC}trained_on = {{ law = "anisotropic", noise_std = 0.5, N = 9 }}\n')
    cells = {cell.solver_name: cell for cell in build_cells(load_suite(str(path)))}
    assert {name: cell.trained_on for name, cell in cells.items()} == {
        "cg": "",
        "pcg": "anisotropic N=9 noise_std=0.5",
        "lfom_optimal": "gmm",
    }
    assert cells["pcg"].fitted_on.noise_std == 0.5
    assert (cells["pcg"].fitted_on.d, cells["pcg"].fitted_on.N) == (2, 9)
    assert call("run", path, "--results", tmp_path, "--name", "r").code == 0
    assert call("results", "validate", "r", "--results", tmp_path).code == 0
    shown = call("leaderboard", "r", "--results", tmp_path).output
    assert "isotropic, d = 2, N = 6; best" in shown, "two laws were fitted on, so each name says which"
    assert "pcg (anisotropic N=9 noise_std=0.5)" in shown
