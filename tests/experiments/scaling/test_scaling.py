"""Growth of time, work and memory, and who wins on the stopwatch."""

from pathlib import Path
from unittest import mock

import numpy as np
import pandas as pd
import pytest

from benchmarks.cli.progress import make_progress
from benchmarks.errors import UserError
from benchmarks.experiments.scaling.growth import growth, points, sentence, stopwatch
from benchmarks.harness.resolve import build_cells
from benchmarks.harness.run import run_suite
from benchmarks.runs.read import Run, read_run
from benchmarks.suites.suite import load_suite
from tests.helpers import call

SUITE = """
schema = 1
steps = [1, 2, 4]
seeds = [0]
solvers = ["cg", "cgls", { name = "ridge", steps = [1] }, { name = "lfom_optimal", params = { num_tasks = 50 } },
  { name = "lfom", steps = [1], params = { iterations = 2, batch = 8 }, only = { d = 60 } }]
[scores]
tasks = 10
[timings]
batch = 10
repeats = 1
"""
TASK = '[[tasks]]\nlaw = "isotropic"\nd = {d}\nN = {N}\nnoise_std = 1.0\nbatch = {batch}\n'


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scaling")
    sizes = [(30, 60), (60, 120), (90, 180), (30, 120), (30, 240)]
    tasks = "".join(TASK.format(d=d, N=N, batch=[2, 4, 8] if N == 60 else [4]) for d, N in sizes)
    (folder / "grow.toml").write_text(SUITE + tasks)
    with make_progress() as progress, mock.patch("baselines.lfom.VALIDATION_TASKS", 64):
        run_suite(load_suite(str(folder / "grow.toml")), folder / "runs", None, ["test"], progress, "grow")
    return folder


@pytest.fixture(scope="module")
def run(folder: Path) -> Run:
    return read_run(folder / "runs" / "grow")


def test_counted_work_and_memory_grow_as_expected(run: Run) -> None:
    table = growth(points(run))
    assert set(table["variable"]) == {"d", "N", "batch", "steps"}
    known = table[table["quantity"].isin(["flops", "bytes_a_task", "bytes"]) & table["expected"].notna()]
    assert {"cg", "cgls", "ridge", "lfom_optimal"} == set(known["solver"])
    far = known[(known["exponent"] - known["expected"]).abs() > 0.35]
    assert far.empty, far[["variable", "quantity", "solver", "steps", "exponent", "expected"]]
    cg = table[(table["solver"] == "cg") & (table["variable"] == "d") & (table["quantity"] == "flops")]
    assert (cg["low"] > 2.5).all()
    assert (table.loc[table["variable"] == "d", "points"] == 3).all()


def row(solver: str, seconds: float, loss: float, learned: bool = False, **more: object) -> dict[str, object]:
    task = {"law": "isotropic", "law_params": "{}", "device": "cpu", "dtype": "float64", "d": 5, "N": 20}
    task |= {"machine": "one", "threads": 1}
    times = {"seconds_a_task": seconds, "seconds_low": 0.9 * seconds, "seconds_high": 1.1 * seconds}
    told = {"noise_std": 1.0, "batch": 10, "steps": 2, "gap_to_bayes": loss, "train_seconds": np.nan}
    return {**task, **told, "solver": solver, "learned": learned, "log_loss": loss, **times, **more}


def test_the_rival_is_the_fastest_that_is_as_good() -> None:
    rows = [row("cg", 2.0, 0.5), row("ridge", 5.0, 0.1), row("cgls", 1.0, 0.9)]
    learned = row("anything", 1.5, 0.5, learned=True, train_seconds=100.0)
    raced = stopwatch(pd.DataFrame([*rows, learned]))
    assert raced[["rival", "wins", "break_even"]].to_dict("records") == [
        {"rival": "cg", "wins": True, "break_even": 200}
    ]
    assert "on 1 of 1" in sentence(raced)
    assert "1.3 times" in sentence(raced)
    close = stopwatch(pd.DataFrame([*rows, {**learned, "seconds_high": 1.9}]))
    assert not close["wins"].any(), "quartiles that overlap are no win"
    assert "nowhere" in sentence(close)
    alone = stopwatch(pd.DataFrame([row("cgls", 1.0, 0.9), learned]))
    assert alone[["rival", "wins"]].to_dict("records") == [{"rival": "", "wins": True}]
    assert "on 1 of 1" in sentence(alone)
    assert "on 1 of them where no other is as good at all. On 0" in sentence(alone)


def test_times_of_two_machines_are_two_races() -> None:
    rows = [row("anything", 1.5, 0.5, learned=True), row("cg", 2.0, 0.5), row("cg", 1.0, 0.5, machine="faster")]
    assert stopwatch(pd.DataFrame(rows))["rival_seconds"].tolist() == [2.0]


def test_the_command_writes_tables_and_figures_and_says_who_wins(folder: Path, tmp_path: Path) -> None:
    done = call("views", "scaling", "grow", "--results", folder, "--output", tmp_path, "--steps", "4")
    assert done.code == 0, done.error
    assert "On the stopwatch a learned method is" in done.output
    names = {path.name for path in tmp_path.iterdir()}
    assert {"scaling_growth.csv", "scaling_stopwatch.csv"} < names
    for variable in ("d", "N", "batch", "steps"):
        assert (tmp_path / f"scaling_{variable}.svg").stat().st_size > 1000


def test_a_run_in_which_nothing_grows_is_refused(run: Run) -> None:
    few = points(run)
    with pytest.raises(UserError, match="nothing grows"):
        growth(few[(few["N"] == 180) & (few["d"] == 90) & (few["steps"] == 1)])


@pytest.mark.parametrize("name", ["scaling", "scaling-quick"])
def test_the_suites_span_what_they_say(name: str) -> None:
    cells = build_cells(load_suite(name))
    ratios = {cell.law.N / cell.law.d for cell in cells}
    learned = [cell for cell in cells if cell.solver.learned]
    if name == "scaling":
        assert {cell.law.d for cell in cells} >= {5, 50, 500, 1000, 2000}
        assert (min(ratios), max(ratios)) == (0.5, 100)
        assert max(batch for cell in cells for batch in cell.batches) == 1_000_000
        assert max(cell.law.d for cell in learned) == 500
        assert any(c.solver_name == "cg" and c.law.d == 1000 and c.batches == (64,) for c in cells)
    assert learned
    assert all(cell.tasks * cell.law.d * (cell.law.N + cell.law.d) * 8 < 2**31 for cell in cells)
