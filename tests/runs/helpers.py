"""What tests of finished runs share: runs of small suites, commands on them, edits of their tables."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd

from benchmarks.cli.progress import _Lines
from benchmarks.harness.run import run_suite
from benchmarks.suites.suite import load_suite
from tests.helpers import Done, call


def command(results: Path, *words: str) -> Done:
    return call("results", *words, "--results", results)


def edit(path: Path, change: Callable[[pd.DataFrame], object], keep: int | None = None) -> None:
    """Change a table in place, all cells as text, and keep only its first rows."""
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    change(table)
    table.iloc[:keep].to_csv(path, index=False, lineterminator="\n")


def drop(path: Path, query: str) -> None:
    """Leave out the rows that a query finds."""
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    table.drop(index=table.query(query).index).to_csv(path, index=False, lineterminator="\n")


def run(results: Path, name: str, text: str) -> Path:
    """The run of a suite."""
    file = results / f"{name}.toml"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return run_suite(load_suite(str(file)), results / "runs", None, ["x"], _Lines(), name).path


def fail_as_a_whole(path: Path, solver: str) -> None:
    """What a run is whose cell of a solver met its time limit: a row for each number of steps, and no number."""

    def scores(table: pd.DataFrame) -> None:
        rows = table["solver"] == solver
        first = rows & ~table.duplicated(["law", "solver", "steps"])
        table.loc[first, ["metric", "seed", "mean", "log_mean", "log_low", "log_high", "median", "tail_limited"]] = ""
        table.loc[first, ["trimmed_mean", "q90", "q99", "gap_to_floor", "gap_low", "gap_high", "gap_to_bayes"]] = ""
        table.loc[first, ["floor", "floor_exact", "floor_error", "alarm"]] = ""
        table.loc[first, ["num_tasks", "converged", "max_steps", "diverged", "breakdown", "nonfinite"]] = "0"
        table.loc[first, ["shown", "status", "reason"]] = ["True", "time_limit", "longer than 1 s"]

    def timings(table: pd.DataFrame) -> None:
        rows = table["solver"] == solver
        table.loc[rows, ["cold_seconds", "warm_median", "warm_q25", "warm_q75"]] = ""
        table.loc[rows, ["repeats", "status", "reason"]] = ["0", "time_limit", "longer than 1 s"]

    (path / "losses.npz").unlink(missing_ok=True)
    edit(path / "scores.csv", scores)
    drop(path / "scores.csv", f"solver == {solver!r} and metric != ''")
    edit(path / "timings.csv", timings)
