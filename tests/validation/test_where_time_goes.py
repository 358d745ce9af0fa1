"""Samples go to whom they belong, and each command keeps its own table."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from benchmarks.validation.where_time_goes import COMMANDS, keep, owner, shares

SOLVE = "main (benchmarks/cli/run.py:3);solve (baselines/krylov.py:9);matmul (torch/_ops.py:1)"


def test_a_sample_belongs_to_the_innermost_function_of_this_project() -> None:
    assert owner(SOLVE) == "baselines/krylov.py: solve"
    assert owner("f (numpy/core.py:1)") == "another library"
    assert owner("main (benchmarks/cli/run.py:3);exec_module (<frozen importlib._bootstrap_external>:9)") == "imports"
    assert owner("main (benchmarks/cli/run.py:3);lower (/x/numba/core/lowering.py:2)") == "compiling (numba)"
    assert owner("run (/x/_pytest/runner.py:3);call (/x/pluggy/_call.py:2)") == "pytest itself"


def test_shares_are_of_all_samples_the_largest_first() -> None:
    found = shares([f"{SOLVE} 3", "f (numpy/core.py:1) 1", f"{SOLVE} 4"])
    assert found == [("baselines/krylov.py: solve", 0.875), ("another library", 0.125)]


def test_a_command_that_is_measured_anew_leaves_the_others(tmp_path: Path) -> None:
    first, second = list(COMMANDS)[:2]
    keep(tmp_path, second, 20.0, 30.0, [("b", 1.0)])
    keep(tmp_path, first, 10.0, 15.0, [("a", 0.75), ("c", 0.25)])
    keep(tmp_path, first, 8.0, 12.0, [("d", 1.0)])
    table = pd.read_csv(tmp_path / "where_time_goes.csv")
    assert table[["command", "where", "cpu_seconds"]].values.tolist() == [[first, "d", 12], [second, "b", 30]]
    page = (tmp_path / "where_time_goes.md").read_text()
    assert page.index(f"## {first}: 8 s, 12 CPU seconds") < page.index(f"## {second}: 20 s")
    assert "| 12.0          | 100.0%  | `d`     |" in page
