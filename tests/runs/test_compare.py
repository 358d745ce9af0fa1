"""Comparing: what cannot be compared is said, and fails where a comparison was asked for."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.helpers import SMALL
from tests.runs.helpers import command, drop, edit, fail_as_a_whole, run


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    base = SMALL.replace('"cg", "ols", "heavy_ball"', '"cg", "heavy_ball"')
    run(folder, "a", base)
    run(folder, "single", base.replace("[0, 1]", "[0]"))
    return folder


@pytest.fixture
def results(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made, tmp_path / "results")
    for name in ("a", "single"):
        shutil.copytree(made / "runs" / name, tmp_path / f"results/runs/{name}-b")
    return tmp_path / "results"


def fails(results: Path, kind: str, first: str = "a", second: str = "a-b") -> str:
    """What is said by a comparison that ends with status 1."""
    done = command(results, "compare", first, second, *(["--fail-on", kind] if kind != "ci" else ["--ci"]))
    assert done.code == 1, done.output
    return done.output


def diverged(query: str):
    def change(table: pd.DataFrame) -> None:
        rows = table.eval(query)
        table.loc[rows, ["status", "reason"]] = ["diverged", "1 of 60 tasks: it grew"]

    return change


def undefined(table: pd.DataFrame) -> None:
    rows = (table["solver"] == "cg") & (table["steps"] == "2")
    table.loc[rows, ["mean", "log_mean", "log_low", "log_high"]] = ""


@pytest.mark.parametrize("name", ["a", "single"])
def test_equal_runs_pass(results: Path, name: str) -> None:
    for words in (["--fail-on", "loss"], ["--fail-on", "status"], ["--fail-on", "rows"], ["--ci"]):
        assert command(results, "compare", name, f"{name}-b", *words).code == 0, words


@pytest.mark.parametrize(("name", "query"), [("single", "solver == 'cg'"), ("a", "solver == 'cg' and seed == '1'")])
def test_a_solver_that_newly_fails_under_one_seed_is_found(results: Path, name: str, query: str) -> None:
    edit(results / f"runs/{name}-b/scores.csv", diverged(query))
    said = fails(results, "status", name, f"{name}-b")
    assert "cg (held_out) at 1 steps: ok -> diverged: 1 of 60 tasks: it grew" in said
    assert "2 fail now, 0 fail no more" in said
    assert "0 fail now, 2 fail no more" in command(results, "compare", f"{name}-b", name).output


def test_a_seed_that_fails_beside_one_that_did_is_found(results: Path) -> None:
    edit(results / "runs/a/scores.csv", diverged("solver == 'cg' and seed != '1'"))
    edit(results / "runs/a-b/scores.csv", diverged("solver == 'cg'"))
    assert "2 fail now, 0 fail no more" in fails(results, "status")


@pytest.mark.parametrize("kind", ["status", "loss", "time", "rows", "ci"])
def test_a_cell_that_failed_as_a_whole_is_found(results: Path, kind: str) -> None:
    fail_as_a_whole(results / "runs/a-b", "cg")
    said = fails(results, kind)
    assert "cg (held_out) at 1 steps: ok -> time_limit: longer than 1 s" in said
    assert "not compared: isotropic d=3 N=8 cg (held_out) at 1 steps, test_loss: B has no numbers" in said
    assert "cg (held_out) at 1 steps, batch 5, has no time in B: time_limit" in said


def test_a_cell_that_fails_in_both_is_no_change(results: Path) -> None:
    for name in ("a", "a-b"):
        fail_as_a_whole(results / f"runs/{name}", "cg")
    assert command(results, "compare", "a", "a-b", "--ci").code == 0


def test_a_loss_that_became_undefined_is_worse(results: Path) -> None:
    edit(results / "runs/a-b/scores.csv", undefined)
    assert "-> undefined" in fails(results, "loss")
    back = command(results, "compare", "a-b", "a", "--fail-on", "loss")
    assert back.code == 0
    assert "undefined ->" in back.output


def too_large(path: Path, factor: float) -> None:
    """What a run is whose losses of cg under seed 1 are so many times larger: some are infinite in float32."""
    table = pd.read_csv(path / "scores.csv", dtype=str, keep_default_na=False)
    found = table.query("solver == 'cg' and seed == '1'").index
    with np.load(path / "losses.npz") as arrays:
        losses = dict(arrays)
    with np.errstate(over="ignore"):
        for row in found:
            losses[str(row)] = (losses[str(row)].astype(float) * factor).astype(np.float32)
            assert np.isinf(losses[str(row)]).any()
    np.savez(path / "losses.npz", **losses)

    def means(table: pd.DataFrame) -> None:
        for row in found:
            mean = float(table.at[row, "mean"]) * factor
            table.loc[row, ["mean", "log_mean"]] = [f"{mean:.8g}", f"{np.log(mean):.8g}"]

    edit(path / "scores.csv", means)


def test_losses_that_float32_does_not_hold_are_compared_by_their_means(results: Path) -> None:
    too_large(results / "runs/a-b", 1e40)
    said = fails(results, "loss")
    assert "loss: 8 compared, 4 worse, 0 better" in said
    assert "without an interval, since float32 does not hold its losses" in said
    too_large(results / "runs/a", 1e39)
    assert "loss: 8 compared, 4 worse, 0 better" in fails(results, "loss")


@pytest.mark.parametrize("kind", ["loss", "status", "rows", "time", "ci"])
def test_nothing_compared_does_not_pass(results: Path, kind: str) -> None:
    for file in ("scores.csv", "timings.csv"):
        edit(results / "runs/a-b" / file, lambda table: table.__setitem__("solver", table["solver"] + "_2"))
    said = fails(results, kind)
    assert "loss: 0 compared" in said
    assert "4 that cannot be compared" in said


def test_a_missing_seed_is_said_and_the_others_are_compared(results: Path) -> None:
    said = fails(results, "loss", "a", "single")
    assert "test_loss: B has no seed 1" in said
    assert "loss: 8 compared, 0 worse, 0 better, 8 that cannot be compared" in said
    assert command(results, "compare", "single", "a", "--ci").code == 0


def test_other_seeds_are_not_compared(results: Path) -> None:
    edit(results / "runs/a-b/scores.csv", lambda table: table.__setitem__("seed", table["seed"].replace({"0": "7"})))
    drop(results / "runs/a-b/scores.csv", "seed == '1'")
    said = fails(results, "loss")
    assert "loss: 0 compared" in said or "B has no seed 0" in said


def test_times_of_another_machine_do_not_pass(results: Path) -> None:
    edit(results / "runs/a-b/timings.csv", lambda table: table.__setitem__("machine", "another"))
    assert "time: 0 compared" in fails(results, "time")
    assert command(results, "compare", "a", "a-b", "--ci").code == 0
