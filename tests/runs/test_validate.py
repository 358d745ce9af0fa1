"""Validation: whatever follows from losses, from other rows or from the suite, and is not so, is said."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks.runs.read import read_run
from benchmarks.runs.validate import problems
from tests.helpers import SMALL, TUNED
from tests.runs.helpers import command, drop, edit, fail_as_a_whole, run

LEARNED = '{name = "memformer_first_order_scalar", steps = [1], params = {tasks = 250, iterations = 5, starts = 2}}'
SUITE = SMALL.replace('"ols", "heavy_ball"', f'{TUNED}, {{name = "bayes", steps = [1]}}, {LEARNED}').replace(
    "N = 8",
    'N = 8\nnoise_std = 0.1\n[[tasks]]\nlaw = "anisotropic"\nd = 3\nN = 8\n'
    'params = { spectrum = "geometric", kappa = 9.0 }',
)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    run(folder, "a", SUITE.replace("[[tasks]]", '[[tasks]]\ndraw = "importance"', 1))
    return folder


@pytest.fixture
def results(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made, tmp_path / "results")
    return tmp_path / "results"


def pooled_log_mean(table: pd.DataFrame) -> None:
    table.loc[table["seed"] == "", ["log_mean", "log_low", "log_high"]] = ["-9", "-9.1", "-8.9"]


def halved(table: pd.DataFrame) -> None:
    rows = table["seed"] == ""
    table.loc[rows, "mean"] = (table.loc[rows, "mean"].astype(float) / 2).astype(str)
    for name in ("log_mean", "log_low", "log_high"):
        table.loc[rows, name] = (table.loc[rows, name].astype(float) - np.log(2)).astype(str)


def reversed_gaps(table: pd.DataFrame) -> None:
    table[["gap_low", "gap_high"]] = table[["gap_high", "gap_low"]].to_numpy()


def shifted(name: str, rows: str):
    def change(table: pd.DataFrame) -> None:
        found = table.index[table.eval(rows) & (table[name] != "")]
        table.loc[found, name] = (table.loc[found, name].astype(float) * 1.01 + 0.01).astype(str)

    return change


def set_to(name: str, value: str, rows: str):
    def change(table: pd.DataFrame) -> None:
        table.loc[table.eval(rows), name] = value

    return change


CHANGES = {
    "a pooled log_mean": (pooled_log_mean, "has a log_mean that is not the logarithm of its mean"),
    "pooled means": (halved, "the rows of its seeds give"),
    "gap intervals": (reversed_gaps, "has a gap outside its interval"),
    "a pooled gap": (shifted("gap_to_floor", "seed == '' and gap_low != gap_high"), "gap"),
    "a pooled gap to bayes": (shifted("gap_to_bayes", "seed == ''"), "gap_to_bayes"),
    "what training cost": (shifted("train_tasks", "seed == ''"), "train_tasks"),
    "pooled outcomes": (lambda table: (set_to("max_steps", "100", "seed == '' and max_steps == '120'")(table),
                                       set_to("converged", "20", "seed == '' and max_steps == '100'")(table)),
                        "the rows of its seeds give"),
    "a status": (set_to("status", "breakdown", "status == 'ok'"), "its tasks ended with ok"),
    "the metric that is shown": (set_to("shown", "True", "metric == 'test_loss'"), "must be the metric that is shown"),
    "levels": (set_to("levels", "tasks", "fitting == 'random'"), "must be over seeds_and_tasks"),
}  # fmt: skip
OF_LOSSES = {
    f"{name} where seed {where}": (shifted(name, f"seed {where} and solver != 'bayes'"), f"has {name}")
    for name in ("median", "trimmed_mean", "q99")
    for where in ("== ''", "!= ''")
} | {
    "an upper end": (shifted("log_high", "solver == 'heavy_ball_tuned' and seed == ''"), "has log_high"),
    "tails": (lambda table: table.__setitem__("tail_limited", table["tail_limited"].map({"True": "False", "False": "True"})), "tail_limited"),  # noqa: E501
}  # fmt: skip


@pytest.mark.parametrize("what", CHANGES)
@pytest.mark.parametrize("losses", [True, False], ids=["with losses", "without losses"])
def test_what_does_not_follow_from_other_rows_is_found(results: Path, what: str, losses: bool) -> None:
    change, sentence = CHANGES[what]
    edit(results / "runs/a/scores.csv", change)
    if not losses:
        (results / "runs/a/losses.npz").unlink()
    done = command(results, "validate", "a")
    assert done.code == 1
    assert sentence in done.output


@pytest.mark.parametrize("what", OF_LOSSES)
def test_what_does_not_follow_from_losses_is_found(results: Path, what: str) -> None:
    change, sentence = OF_LOSSES[what]
    edit(results / "runs/a/scores.csv", change)
    done = command(results, "validate", "a")
    assert done.code == 1
    assert sentence in done.output


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        ("solver == 'cg'", "isotropic d=3 N=8 cg (held_out) at 1 steps is missing"),
        ("solver == 'heavy_ball_tuned' and law == 'anisotropic' and steps == '2'", "at 2 steps is missing"),
        ("seed == ''", "all seeds is missing"),
        ("seed != '' and solver == 'cg'", "is of all seeds, and no row is of one"),
        ("seed == '1' and solver == 'cg' and metric == 'test_loss' and steps == '1'", "test_loss, seed 1 is missing"),
        ("metric == 'test_loss' and solver == 'cg' and steps == '2'", "test_loss, seed 0 is missing"),
    ],
)
def test_rows_that_are_gone_are_missed(results: Path, rows: str, sentence: str) -> None:
    drop(results / "runs/a/scores.csv", rows)
    (results / "runs/a/losses.npz").unlink()
    done = command(results, "validate", "a")
    assert done.code == 1
    assert sentence in done.output


@pytest.mark.parametrize("rows", ["solver == 'cg'", "steps == '2' and law == 'anisotropic'"])
def test_times_that_are_gone_are_missed(results: Path, rows: str) -> None:
    drop(results / "runs/a/timings.csv", rows)
    done = command(results, "validate", "a")
    assert done.code == 1
    assert "batch 5, 1 threads is missing" in done.output


def test_rows_that_the_suite_does_not_ask_for_are_found(results: Path) -> None:
    edit(results / "runs/a/scores.csv", set_to("solver", "cgls", "solver == 'cg'"))
    assert "asks for no cgls" in command(results, "validate", "a").output


def test_losses_that_are_gone_are_missed(results: Path) -> None:
    path = results / "runs/a/losses.npz"
    arrays = dict(np.load(path))
    np.savez(path, **{name: array for name, array in arrays.items() if name != "0"})
    assert "losses.npz, row 0: there are no losses" in command(results, "validate", "a").output


def test_a_run_with_a_cell_that_failed_is_good(results: Path) -> None:
    fail_as_a_whole(results / "runs/a", "heavy_ball_tuned")
    assert command(results, "validate", "a").output == "a: good\n"


def test_a_cell_of_a_merged_run_is_missed(results: Path) -> None:
    shutil.copytree(results / "runs/a", results / "runs/b")
    assert command(results, "merge", "a", "b", "--name", "both").code == 0
    assert problems(read_run(results / "runs/both")) == []
    drop(results / "runs/both/scores.csv", "solver == 'cg'")
    (results / "runs/both/losses.npz").unlink()
    assert "cg (held_out) at 1 steps is missing" in command(results, "validate", "both").output


def test_a_merged_run_is_good_if_one_far_back_had_no_losses(results: Path) -> None:
    for name in ("b", "c"):
        shutil.copytree(results / "runs/a", results / "runs" / name)
        drop(results / f"runs/{name}/scores.csv", "solver == 'cg'" if name == "b" else "solver != 'cg'")
        (results / f"runs/{name}/losses.npz").unlink()
    run(results, "whole", SUITE.replace("[[tasks]]", '[[tasks]]\ndraw = "importance"', 1).replace("[0, 1]", "[2]"))
    assert command(results, "merge", "b", "c", "--name", "without").code == 0
    assert command(results, "merge", "without", "whole", "--name", "nested").code == 0
    nested = read_run(results / "runs/nested")
    assert nested.has_losses
    assert command(results, "merge", "nested", "whole", "--name", "again").code == 0
    assert not [one for one in problems(read_run(results / "runs/again")) if "there are no losses" in one]


def test_a_number_with_more_digits_than_tables_have_is_found_again(tmp_path: Path) -> None:
    run(tmp_path, "root", SMALL.replace("N = 8", "N = 8\nnoise_std = 0.7071067811865476"))
    assert problems(read_run(tmp_path / "runs/root")) == []


def test_seeds_beyond_the_suite_are_found(results: Path) -> None:
    meta = json.loads((results / "runs/a/meta.json").read_text())
    assert meta["suite"]["seeds"] == [0, 1]
    edit(results / "runs/a/scores.csv", set_to("seed", "7", "seed == '1'"))
    assert "has the seeds [7], not the suite's" in command(results, "validate", "a").output
