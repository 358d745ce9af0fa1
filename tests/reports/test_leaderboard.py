"""The leaderboard: ranks, groups, forms, and what it refuses."""

from __future__ import annotations

import io
import json
import re
import shutil
from pathlib import Path

import pandas as pd
import pytest

from benchmarks.cli.progress import _Lines
from benchmarks.errors import UserError
from benchmarks.harness.run import run_suite
from benchmarks.reports.board import Board
from benchmarks.reports.leaderboard import render
from benchmarks.runs.ranking import rank
from benchmarks.runs.read import Run, read_run
from benchmarks.suites.suite import load_suite
from tests.helpers import SMALL


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("board")
    (folder / "small.toml").write_text(SMALL.replace('"cg", ', '"cg", "steepest_descent", '))
    suite = load_suite(str(folder / "small.toml"))
    return read_run(run_suite(suite, folder / "runs", None, ["x"], _Lines(), "one").path)


def test_ranks_follow_the_loss_within_a_group(run: Run) -> None:
    table = rank([run]).query("steps == 2").set_index("solver")
    assert set(table["metric"]) == {"expected_test_loss"}
    assert table.loc["cg", "rank"] == 1
    assert table.loc["steepest_descent", "rank"] == 2
    assert table.loc["ols", "rank"] == 1  # alone among the direct ones
    assert table.loc["heavy_ball", "rank"] == 1
    assert len(table) == 4


def test_the_interval_holds_the_loss(run: Run) -> None:
    table = rank([run])
    assert (table["log_low"] <= table["log_loss"]).all()
    assert (table["log_loss"] <= table["log_high"]).all()


@pytest.mark.parametrize("form", ["terminal", "markdown", "latex", "csv"])
def test_every_form_shows_every_solver(run: Run, form) -> None:
    text = render([run], form)
    for solver in ("cg", "steepest_descent", "heavy_ball", "ols"):
        assert solver in text.replace(r"\_", "_")


def test_groups_come_in_the_order_of_what_they_know(run: Run) -> None:
    text = render([run], "terminal")
    places = [text.index(title) for title in ("told nothing", "told mu and L", "direct:")]
    assert places == sorted(places)
    first, second = (re.search(rf"^ *{solver} ", text, re.MULTILINE) for solver in ("cg", "steepest_descent"))
    assert first is not None
    assert second is not None
    assert first.start() < second.start()


def test_csv_is_a_table(run: Run) -> None:
    table = pd.read_csv(io.StringIO(render([run], "csv")))
    assert len(table) == 8
    assert table["rank"].min() == 1


def test_the_caption_tells_the_rule_that_ranks_are_shared_by(run: Run) -> None:
    old = Run(run.path, run.scores.assign(rank=pd.NA), run.timings, run.meta)
    for runs, said in (
        ([run], "paired tests with Holm"),
        ([run, run], "intervals overlap"),
        ([old], "intervals overlap"),
    ):
        assert said in render(runs, "markdown")
        assert ("paired tests" in render(runs, "terminal")) == ("paired" in said)


def test_one_variant_on_fewer_tasks_takes_no_other_with_it(run: Run) -> None:
    few = run.scores["solver"] == "cg"
    variant = run.scores[few].assign(solver_params='{"few": 1}', num_tasks=1)
    both = pd.concat([run.scores, variant], ignore_index=True)
    lines = render([Run(run.path, both, run.timings, run.meta)], "terminal").splitlines()
    at = {
        name: next(i for i, line in enumerate(lines) if line.strip().startswith(name)) for name in ("cg  ", "cg (few")
    }
    title = next(index for index, line in enumerate(lines) if "scored on the first" in line)
    assert at["cg  "] < title < at["cg (few"]


def test_markdown_cells_show_loss_interval_and_rank(run: Run) -> None:
    line = next(line for line in render([run], "markdown").splitlines() if line.startswith("| `cg`"))
    assert len(re.findall(r"-?\d+\.\d{3} ±\d+\.\d{3} \(1\)", line)) == 2


def test_of_two_runs_the_later_counts(run: Run, tmp_path: Path) -> None:
    other = tmp_path / "runs" / "two"
    shutil.copytree(run.path, other)
    meta = json.loads((other / "meta.json").read_text()) | {"measured_at": "2999-01-01T00:00:00+00:00"}
    (other / "meta.json").write_text(json.dumps(meta))
    scores = pd.read_csv(other / "scores.csv", dtype={"seed": "Int64"})
    scores["log_mean"] -= 1.0
    scores.to_csv(other / "scores.csv", index=False)
    later = read_run(other)
    for order in ([run, later], [later, run]):
        both = rank(order)
        assert len(both) == len(rank([run]))
        assert both["log_loss"].sum() == pytest.approx(rank([run])["log_loss"].sum() - len(both))


@pytest.mark.parametrize("column", ["machine", "batch", "threads"])
def test_times_that_were_measured_otherwise_than_most_are_blank(run: Run, column: str) -> None:
    changed = run.timings.copy()
    mine = (changed["solver"] == "cg") & (changed["steps"] == 2)
    changed.loc[mine, column] = "another" if column == "machine" else 7
    table = rank([Run(run.path, run.scores, changed, run.meta)]).set_index(["solver", "steps"])
    blank = table["warm_seconds"].isna()
    assert table.index[blank].tolist() == [("cg", 2)]
    assert table["batch"].isna().tolist() == blank.tolist()
    assert table["flops"].notna().sum() == rank([run])["flops"].notna().sum()


def test_of_equally_many_times_the_last_measured_are_shown(run: Run) -> None:
    other = run.timings.assign(machine="another", warm_median=123.0)
    for tables, shown in (([run.timings, other], 8), ([other, run.timings], 0), ([run.timings, other.iloc[1:]], 0)):
        both = pd.concat(tables, ignore_index=True)
        table = rank([Run(run.path, run.scores, both, run.meta)])
        assert (table["warm_seconds"] == 123.0).sum() == shown


def test_a_later_run_of_one_seed_counts_before_all_seeds_of_an_older(run: Run) -> None:
    scores = run.scores[run.scores["seed"] == 0].assign(log_mean=7.0)
    later = Run(run.path, scores, run.timings, {**run.meta, "measured_at": "2999-01-01T00:00:00+00:00"})
    assert run.scores["seed"].isna().any()
    for order in ([run, later], [later, run]):
        assert set(rank(order)["log_loss"]) == {7.0}


def test_runs_that_drew_different_tasks_are_refused(run: Run) -> None:
    changed = Run(run.path, run.scores.assign(fingerprint="0123456789ab"), run.timings, run.meta)
    with pytest.raises(UserError, match=r"the law 'isotropic' at d = 3 has fingerprint .*: it drew other tasks"):
        rank([run, changed])


@pytest.fixture(scope="module")
def costed(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The same run with what eigenvalues cost."""
    folder = tmp_path_factory.mktemp("costed")
    entry = '"cg", "steepest_descent", { name = "eigenvalues", steps = [1, 2], tasks = 1 }, '
    (folder / "small.toml").write_text(SMALL.replace('"cg", ', entry))
    suite = load_suite(str(folder / "small.toml"))
    return read_run(run_suite(suite, folder / "runs", None, ["x"], _Lines(), "one").path)


def test_what_eigenvalues_cost_is_told_of_those_who_are_told_them(run: Run, costed: Run) -> None:
    made = {1: 2e-5, 2: 5e-5}
    timings = costed.timings
    found = timings["solver"] == "eigenvalues"
    timings.loc[found, "warm_median"] = timings.loc[found, "steps"].map(made)
    timings.loc[(timings["solver"] == "cg") & (timings["steps"] == 2), "warm_median"] = 6e-5
    text = render([costed], "markdown")
    said = "Eigenvalues that are told: 6 µs a task to find (0.5 times cg of 2 steps), 36 operations; part of the times"
    assert f"{said} of heavy_ball." in text
    assert "`eigenvalues`" not in text
    assert any(one.startswith("eigenvalues that are told: 6 µs a task") for one in Board(rank([costed])).readings())
    assert "Eigenvalues" not in render([run], "markdown")


def test_what_eigenvalues_cost_changes_no_row(run: Run, costed: Run) -> None:
    names = ["solver", "steps", "rank", "log_loss", "log_low", "gap_to_floor", "status"]
    pd.testing.assert_frame_equal(rank([costed])[names], rank([run])[names])
    few = Run(costed.path, costed.scores, costed.timings.query("solver != 'eigenvalues' or steps == 1"), costed.meta)
    assert rank([few])["eigenvalue_seconds"].isna().all()
    assert rank([costed])["eigenvalue_flops"].notna().sum() == 2, "of heavy_ball after 1 and 2 steps"
