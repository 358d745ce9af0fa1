"""The runs of many rows that the study makes are good ones, and its suites are suites."""

from __future__ import annotations

import tomllib
from pathlib import Path

import numpy as np
import pytest

from benchmarks.runs.compare import compare_runs
from benchmarks.runs.read import read_run
from benchmarks.runs.validate import problems
from benchmarks.suites.suite import Suite
from benchmarks.validation import growth_of_runs
from benchmarks.validation.growth_of_runs import BASE, CELL, suite, write_rows


@pytest.mark.parametrize("variable", BASE)
def test_what_grows_is_what_the_suite_asks_for(variable: str) -> None:
    made = Suite.model_validate(tomllib.loads(suite({**BASE, variable: 10 * BASE[variable]})) | {"name": "growth"})
    asked = {
        "tasks": made.scores.tasks,
        "d": made.tasks[0].d,
        "N": made.tasks[0].N,
        "steps": len(made.steps),
        "solvers": len(made.solvers),
        "seeds": len(made.seeds),
    }
    assert asked == {**BASE, variable: 10 * BASE[variable]}


def test_a_run_of_many_rows_is_whole_and_can_be_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(growth_of_runs, "SOLVERS", 3)
    monkeypatch.setattr(growth_of_runs, "CELL", {**CELL, "steps": 2, "seeds": 2})
    for name, shift in (("many", 0.0), ("other", 0.01)):
        write_rows(tmp_path, name, 100, shift)
    many, other = (read_run(tmp_path / "results" / "runs" / name) for name in ("many", "other"))
    assert len(many.scores) >= 100
    assert many.scores["solver"].nunique() == 3
    assert problems(many) == []
    assert np.allclose(other.scores["log_mean"] - many.scores["log_mean"], np.log(1.01), atol=1e-6)
    changes = compare_runs(many, other)
    assert changes.compared["loss"] > 0
    assert len(changes.worse["loss"]) == changes.compared["loss"]
