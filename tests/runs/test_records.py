"""Finished runs: old ones load, and they are validated, compared, merged, pruned and exported."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pandas as pd
import pytest

from benchmarks.cli.progress import _Lines
from benchmarks.harness.run import run_suite
from benchmarks.runs import migrate
from benchmarks.runs.migrate import Tables
from benchmarks.runs.read import read_run
from benchmarks.runs.schema import SCHEMA_VERSION
from benchmarks.suites.suite import Suite, load_suite
from tests.helpers import SMALL, mistake
from tests.runs.helpers import command, edit

FIXTURES = Path(__file__).parent / "fixtures"
COMMITTED = Path(__file__).parents[2] / "results" / "runs"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A results folder with a run, its twin, and one of another solver."""
    folder = tmp_path_factory.mktemp("made")
    suites: dict[str, Suite] = {}
    for name, solvers in (("a", '"cg", "ols"'), ("twin", '"cg", "ols"'), ("other", '"steepest_descent"')):
        path = folder / f"{name}.toml"
        path.write_text(SMALL.replace('"cg", "ols", "heavy_ball"', solvers))
        suites[name] = load_suite(str(path))
        run_suite(suites[name], folder / "results" / "runs", None, ["x"], _Lines(), name)
    return folder / "results"


@pytest.fixture
def results(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made, tmp_path / "results")
    return tmp_path / "results"


@pytest.mark.parametrize("folder", sorted(FIXTURES.glob("schema-*")), ids=lambda path: path.name)
def test_a_run_of_every_older_schema_loads(folder: Path) -> None:
    run = read_run(folder)
    assert run.meta["schema_version"] == int(folder.name.removeprefix("schema-"))
    assert set(run.scores["law"]) == {"isotropic"}
    cg = run.scores.query("solver == 'cg' and steps == 5 and metric == 'expected_test_loss' and seed.isna()")
    assert cg["num_tasks"].tolist() == [24000]
    assert cg["log_mean"].item() < -50


def test_there_is_a_fixture_and_a_step_for_every_older_schema() -> None:
    older = list(range(1, SCHEMA_VERSION))
    assert sorted(migrate.STEPS) == older
    assert sorted(path.name for path in FIXTURES.glob("schema-*")) == [f"schema-{version}" for version in older]


def test_migrations_are_applied_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    steps = {
        1: lambda tables: Tables(tables.scores.rename(columns={"loss": "mean"}), tables.timings, tables.meta),
        2: lambda tables: Tables(tables.scores.assign(q90=tables.scores["mean"]), tables.timings, tables.meta),
    }
    monkeypatch.setattr(migrate, "STEPS", steps)
    monkeypatch.setattr(migrate, "SCHEMA_VERSION", 3)
    old = Tables(pd.DataFrame({"loss": ["1"]}), pd.DataFrame(), {})
    assert migrate.migrated(old, 1).scores.to_dict("list") == {"mean": ["1"], "q90": ["1"]}
    assert [migrate.readable(version) for version in (0, 1, 3, 4, "1", True, None)] == [
        False, True, True, False, False, False, False,
    ]  # fmt: skip


@pytest.mark.parametrize("name", sorted(path.parent.name for path in COMMITTED.glob("[!.]*/meta.json")))
def test_committed_runs_are_good(name: str) -> None:
    done = command(COMMITTED.parent, "validate", name)
    assert done.code == 0, done.output


def test_good_runs_are_good(results: Path) -> None:
    done = command(results, "validate")
    assert (done.code, sorted(done.output.splitlines())) == (0, ["a: good", "other: good", "twin: good"])


@pytest.mark.parametrize(
    ("column", "value", "sentence"),
    [
        ("max_steps", "7", "does not have one outcome for each task"),
        ("log_low", "99", "has a mean outside its interval"),
        ("q90", "1e9", "has quantiles out of order"),
        ("seed", "1", "is there twice"),
        ("status", "error", "failed without a reason"),
        ("mean", "123", "the mean of the losses is not that of the row"),
    ],
)
def test_what_is_wrong_is_found(results: Path, column: str, value: str, sentence: str) -> None:
    edit(results / "runs/a/scores.csv", lambda table: table.__setitem__(column, [value, *table[column][1:]]))
    done = command(results, "validate", "a")
    assert done.code == 1
    assert sentence in done.output


def test_a_suite_that_was_edited_is_found(results: Path) -> None:
    meta = json.loads((results / "runs/a/meta.json").read_text())
    meta["suite"]["seeds"] = [7]
    (results / "runs/a/meta.json").write_text(json.dumps(meta))
    assert "does not have the hash that is stated" in command(results, "validate", "a").output


def test_equal_runs_compare_as_equal(results: Path) -> None:
    done = command(results, "compare", "a", "twin", "--fail-on", "loss", "--fail-on", "rows", "--fail-on", "status")
    assert done.code == 0, done.output
    assert "loss: 8 compared, 0 worse, 0 better" in done.output
    assert "rows: 24 compared, 0 missing in B, 0 only in B" in done.output


def _worse(table: pd.DataFrame) -> None:
    rows = (table["solver"] == "cg") & (table["steps"] == "1")
    table.loc[rows, "log_mean"] = (table.loc[rows, "log_mean"].astype(float) + 0.5).astype(str)


def test_a_worse_loss_is_found_without_arrays_and_ends_with_status_1_if_asked(results: Path) -> None:
    edit(results / "runs/twin/scores.csv", _worse)
    (results / "runs/twin/losses.npz").unlink()
    done = command(results, "compare", "a", "twin")
    assert done.code == 0
    assert "loss: 8 compared, 2 worse, 0 better" in done.output
    assert "isotropic d=3 N=8 cg (held_out) at 1 steps, test_loss: log loss +0.5000 without an interval" in done.output
    assert command(results, "compare", "a", "twin", "--fail-on", "loss").code == 1
    assert command(results, "compare", "twin", "a", "--fail-on", "loss").code == 0
    assert command(results, "compare", "a", "twin", "--fail-on", "loss", "--loss", "0.6").code == 0


def test_losses_are_compared_by_paired_intervals_over_tasks(results: Path) -> None:
    from benchmarks.runs.compare import compare_runs

    other = read_run(results / "runs/other")
    posing = other.scores.assign(solver="cg", solver_version=1)
    before = read_run(results / "runs/a")
    changes = compare_runs(before, type(other)(other.path, posing, other.timings, other.meta))
    lines = [line for _, line in changes.worse["loss"]]
    assert len(lines) == 2  # after 2 steps; the first step of cg is that of steepest descent
    assert all("at 2 steps" in line and "[+" in line for line in lines)


def test_the_version_of_one_variant_of_a_solver_is_told_from_that_of_another(results: Path) -> None:
    from benchmarks.runs.compare import _heading

    run = read_run(results / "runs/a")
    plain = run.scores.assign(solver="cg", solver_params="{}")
    variant = plain.assign(solver_params='{"heads": 2}')
    before = pd.concat([plain, variant], ignore_index=True)
    after = pd.concat([plain.assign(solver_version=2), variant], ignore_index=True)
    first, second = (type(run)(run.path, table, run.timings, run.meta) for table in (before, after))
    told = [line for line in _heading(first, second) if "version of" in line]
    assert told == ["  version of cg: 1 -> 2"]


def test_slower_times_new_failures_and_missing_rows_are_found(results: Path) -> None:
    def slower(table: pd.DataFrame) -> None:
        for name in ("warm_median", "warm_q25", "warm_q75"):
            table[name] = (table[name].astype(float) * 100).astype(str)

    edit(results / "runs/twin/timings.csv", slower)

    def failed(table: pd.DataFrame) -> None:
        table["status"], table["reason"] = "diverged", "x"

    edit(results / "runs/twin/scores.csv", failed, keep=-3)
    for kind in ("time", "status", "rows"):
        assert command(results, "compare", "a", "twin", "--fail-on", kind).code == 1, kind
        assert command(results, "compare", "twin", "a", "--fail-on", kind).code == 0, kind
    shown = command(results, "compare", "a", "twin").output
    assert "time: 4 compared, 4 slower" in shown
    assert "3 missing in B" in shown


@pytest.mark.parametrize(("column", "value"), [("law_version", "2"), ("fingerprint", "0123456789ab")])
@pytest.mark.parametrize("words", [("compare", "a", "twin"), ("merge", "a", "twin", "--name", "both")])
def test_runs_that_drew_other_tasks_are_refused(results: Path, column: str, value: str, words: tuple[str, ...]) -> None:
    edit(results / "runs/twin/scores.csv", lambda table: table.__setitem__(column, value))
    said = mistake("results", *words, "--results", results)
    assert f"the law 'isotropic' at d = 3 has {column.removeprefix('law_')}" in said
    assert "it drew other tasks, so their losses cannot be compared" in said


def test_merging_keeps_every_row_once_with_its_losses(results: Path) -> None:
    assert command(results, "merge", "a", "twin", "other", "--name", "all").code == 0
    merged, parts = read_run(results / "runs/all"), [read_run(results / "runs" / name) for name in ("twin", "other")]
    assert len(merged.scores) == sum(len(part.scores) for part in parts)
    assert len(merged.timings) == 6
    assert [part["name"] for part in merged.meta["merged_from"]] == ["a", "twin", "other"]
    for row, seed, mean in zip(merged.scores.index, merged.scores["seed"], merged.scores["mean"], strict=True):
        if not pd.isna(seed):
            assert merged.losses(row).mean() == pytest.approx(mean, rel=1e-5)
    assert command(results, "validate", "all").code == 0


def test_runs_that_disagree_are_merged_only_if_told_which_counts(results: Path) -> None:
    edit(results / "runs/twin/scores.csv", _worse)
    said = mistake("results", "merge", "a", "twin", "--name", "both", "--results", results)
    assert "a and twin disagree about cg on isotropic at d = 3 after 1 steps: log_mean is" in said
    assert not (results / "runs/both").exists()
    assert command(results, "merge", "a", "twin", "--name", "both", "--last").code == 0


def test_exported_tables_read_back(results: Path, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", exc_type=ImportError)
    done = command(results, "export", "a", "other", "--output", str(tmp_path / "out"))
    assert done.code == 0, done.output
    table = parquet.read_table(tmp_path / "out" / "scores.parquet")
    assert table.num_rows == 24 + 12
    assert table.schema.metadata[b"memformer_bench_schema"] == str(SCHEMA_VERSION).encode()
    assert set(table.column("run").to_pylist()) == {"a", "other"}


def test_export_without_pyarrow_says_what_to_install(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    said = mistake("results", "export", "a", "--results", results)
    assert said == f"export needs pyarrow; install it with: {sys.executable} -m pip install pyarrow"
