"""Merging: every row of every run, each once, and what is written is a good run."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from benchmarks.runs.read import Run, read_run
from tests.helpers import SMALL, TUNED, mistake
from tests.runs.helpers import command, edit, fail_as_a_whole, run

SOLVERS = f'"cg", {TUNED}'
SUITES = {
    "zero": "[0]",
    "one": "[1]",
    "pair": "[0, 1]",
    "next": "[2, 3]",
    "all": "[0, 1, 2, 3]",
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    base = SMALL.replace('"cg", "ols", "heavy_ball"', SOLVERS).replace("steps = [1, 2]", "steps = [2]")
    for name, seeds in SUITES.items():
        run(folder, name, base.replace("[0, 1]", seeds))
    run(folder, "batch", base.replace("batch = 5", "batch = 7"))
    return folder


@pytest.fixture
def results(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made, tmp_path / "results")
    return tmp_path / "results"


def merged(results: Path, *runs: str) -> Run:
    """The merged run, which must be good."""
    done = command(results, "merge", *runs, "--name", "merged")
    assert done.code == 0, done
    done = command(results, "validate", "merged")
    assert done.code == 0, done.output
    return read_run(results / "runs/merged")


def numbers(table) -> dict[tuple[object, ...], tuple[float, ...]]:
    columns = ["mean", "log_mean", "log_low", "log_high", "median", "trimmed_mean", "q90", "q99", "gap_to_floor"]
    columns += ["num_tasks", "converged", "max_steps", "train_tasks"]
    keys = table[["solver", "metric", "seed"]].astype(str).itertuples(index=False, name=None)
    return dict(zip(keys, table[columns].fillna(-9).itertuples(index=False, name=None), strict=True))


@pytest.mark.parametrize("parts", [("zero", "one"), ("pair", "one"), ("one", "pair")])
def test_every_seed_of_every_run_is_kept_and_pooled(results: Path, parts: tuple[str, ...]) -> None:
    """Seed 0 was dropped when it was merged with seed 1."""
    found, wanted = numbers(merged(results, *parts).scores), numbers(read_run(results / "runs/pair").scores)
    assert found.keys() == wanted.keys()
    for key, values in wanted.items():
        assert found[key] == pytest.approx(values, rel=1e-5, abs=1e-5), key


def test_disjoint_seeds_of_runs_with_several_are_merged(results: Path) -> None:
    """They were refused as disagreeing about the row of all seeds."""
    found, wanted = numbers(merged(results, "pair", "next").scores), numbers(read_run(results / "runs/all").scores)
    assert found.keys() == wanted.keys()
    for key, values in wanted.items():
        assert found[key] == pytest.approx(values, rel=1e-5, abs=1e-5), key


def test_batches_are_kept(results: Path) -> None:
    """Batch 10 was dropped when it was merged with batch 40."""
    assert set(merged(results, "pair", "batch").timings["batch"]) == {5, 7}


def test_a_good_run_is_not_replaced_by_a_newer_one_that_failed(results: Path) -> None:
    fail_as_a_whole(results / "runs/batch", "cg")
    meta = json.loads((results / "runs/batch/meta.json").read_text()) | {"measured_at": "2999-01-01T00:00:00+00:00"}
    (results / "runs/batch/meta.json").write_text(json.dumps(meta))
    run = merged(results, "pair", "batch")
    assert set(run.scores["status"]) == {"ok"}
    assert numbers(run.scores).keys() == numbers(read_run(results / "runs/pair").scores).keys()


def test_a_failed_time_does_not_replace_a_good_one(results: Path) -> None:
    shutil.copytree(results / "runs/pair", results / "runs/worse")
    fail_as_a_whole(results / "runs/worse", "cg")
    assert set(merged(results, "pair", "worse").timings["status"]) == {"ok"}


@pytest.mark.parametrize("bare", [("one",), ("zero", "one")])
def test_runs_without_losses_are_merged_into_a_good_one(results: Path, bare: tuple[str, ...]) -> None:
    for name in bare:
        (results / f"runs/{name}/losses.npz").unlink()
    run = merged(results, "zero", "one")
    pooled = run.scores[run.scores["seed"].isna()]
    wanted = numbers(read_run(results / "runs/pair").scores)
    for key, values in numbers(pooled).items():
        assert values[:2] == pytest.approx(wanted[key][:2], rel=1e-5)
    assert pooled[["log_low", "median", "q99"]].isna().all(axis=None)
    assert run.has_losses == (len(bare) == 1)
    done = command(results, "compare", "merged", "pair", "--fail-on", "loss")
    assert done.code == 0, done.output


def test_seeds_of_other_versions_of_a_solver_are_not_mixed(results: Path) -> None:
    edit(results / "runs/one/scores.csv", lambda table: table.__setitem__("solver_version", "99"))
    said = mistake("results", "merge", "zero", "one", "--name", "merged", "--results", results)
    assert "zero and one disagree about cg on isotropic at d = 3 after 2 steps: solver_version is" in said
    assert command(results, "merge", "zero", "one", "--name", "merged", "--last").code == 0
    assert set(read_run(results / "runs/merged").scores["seed"]) == {1}


def test_the_last_one_counts_for_a_seed_if_told_so(results: Path) -> None:
    def worse(table) -> None:
        table["log_mean"] = (table["log_mean"].astype(float) + 0.5).astype(str)

    edit(results / "runs/one/scores.csv", worse)
    meta = json.loads((results / "runs/one/meta.json").read_text()) | {"measured_at": "2999-01-01T00:00:00+00:00"}
    (results / "runs/one/meta.json").write_text(json.dumps(meta))
    assert "disagree about" in mistake("results", "merge", "pair", "one", "--name", "merged", "--results", results)
    assert command(results, "merge", "pair", "one", "--name", "merged", "--last").code == 0
    one, both = (numbers(read_run(results / "runs" / name).scores) for name in ("one", "merged"))
    assert both[("cg", "test_loss", "1")] == one[("cg", "test_loss", "1")]
    assert len(both) == 2 * 2 * 3
