"""The result store: complete or absent, and nothing unreadable is read."""

import json
import os
import re
import shutil
import signal
from pathlib import Path
from unittest import mock

import pandas as pd
import pytest

from benchmarks.cli.progress import _Lines
from benchmarks.errors import UserError
from benchmarks.harness.run import run_suite
from benchmarks.runs.read import list_runs, read_run
from benchmarks.runs.schema import SCHEMA_VERSION
from benchmarks.runs.write import RunWriter
from benchmarks.suites.suite import load_suite
from tests.helpers import SMALL, fork, wait


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    (folder / "small.toml").write_text(SMALL)
    suite = load_suite(str(folder / "small.toml"))
    return run_suite(suite, folder / "runs", None, ["memformer-bench", "run"], _Lines(), "first").path


@pytest.fixture
def run_folder(made: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    shutil.copytree(made, tmp_path / "runs" / "first")
    return tmp_path / "runs" / "first"


def test_what_is_written_is_read_back(run_folder: Path) -> None:
    run = read_run(run_folder)
    assert len(run.scores) == 3 * 2 * 2 * 3  # solvers, steps, metrics, two seeds and both pooled
    assert len(run.timings) == 3 * 2
    assert run.scores["seed"].isna().sum() == 12
    assert run.meta["schema_version"] == SCHEMA_VERSION
    assert {"suite", "suite_hash", "command", "measured_at", "python", "packages", "blas", "cpu", "git"} <= set(
        run.meta
    )
    plain = pd.read_csv(run_folder / "scores.csv")
    assert plain["log_mean"].dtype.kind == "f"


def test_per_task_losses_stand_behind_their_rows(run_folder: Path) -> None:
    run = read_run(run_folder)
    seeded = run.scores[run.scores["seed"].notna()]
    assert len(seeded) == 24
    for row, mean in seeded["mean"].items():
        assert run.losses(int(str(row))).mean() == pytest.approx(mean, rel=1e-5)
    pooled = run.scores.index[run.scores["seed"].isna()][0]
    with pytest.raises(UserError, match="rows with a seed do"):
        run.losses(int(pooled))
    (run_folder / "losses.npz").unlink()
    with pytest.raises(UserError, match="stored without per-task losses"):
        read_run(run_folder).losses(0)


def test_a_run_names_no_path_of_the_machine(run_folder: Path) -> None:
    for file in run_folder.glob("*.[cj]s*"):
        assert str(Path.home()) not in file.read_text()
        assert os.getcwd() not in file.read_text()


@pytest.mark.parametrize(
    ("file", "change", "sentence"),
    [
        ("scores.csv", lambda text: text[: len(text) // 2], "scores.csv"),
        ("scores.csv", lambda text: text.replace("log_mean", "logmean", 1), "columns"),
        ("scores.csv", lambda text: text.replace("held_out", "leaked", 1), "line 2, column protocol"),
        ("scores.csv", lambda text: text.replace("isotropic,1", "isotropic,one", 1), "law_version"),
        ("scores.csv", lambda text: "", "not a table"),
        ("timings.csv", lambda text: None, "no timings.csv"),
        ("meta.json", lambda text: text[:20], "not the description of a run"),
        ("meta.json", lambda text: None, "no meta.json"),
        ("meta.json", lambda text: re.sub(r'(schema_version": )\d+', r"\g<1>99", text), "schema version 99"),
    ],
)  # fmt: skip
def test_a_damaged_run_is_refused_in_one_sentence(run_folder: Path, file: str, change, sentence: str) -> None:
    path = run_folder / file
    changed = change(before := path.read_text())
    assert changed != before
    path.unlink() if changed is None else path.write_text(changed)
    with pytest.raises(UserError) as caught:
        read_run(run_folder)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_taken_or_impossible_name_is_refused(run_folder: Path) -> None:
    with pytest.raises(UserError, match="exists already"):
        RunWriter(run_folder.parent, "first")
    for name in ("../escape", "", ".hidden", "a/b"):
        with pytest.raises(UserError, match="cannot name a run"):
            RunWriter(run_folder.parent, name)


def test_a_killed_run_leaves_nothing_under_its_name_and_the_next_one_works(small_suite: Path, tmp_path: Path) -> None:
    def begin() -> None:
        killed = mock.Mock(side_effect=lambda *_: os.kill(os.getpid(), signal.SIGKILL))
        with mock.patch("benchmarks.runs.write.write_table", killed):
            run_suite(load_suite(str(small_suite)), runs, None, ["x"], _Lines(), "killed")

    runs = tmp_path / "runs"
    with open(os.devnull, "w") as nothing:
        status = wait(fork(begin, nothing))
    assert os.WTERMSIG(status) == signal.SIGKILL
    assert list_runs(runs) == []
    assert [path.name for path in runs.iterdir()] == [".unfinished-killed"]
    finished = run_suite(load_suite(str(small_suite)), runs, None, ["x"], _Lines(), "next")
    read_run(finished.path)
    with pytest.raises(UserError, match="continue it with --resume"):
        RunWriter(runs, "killed")
    run_suite(load_suite(str(small_suite)), runs, None, ["x"], _Lines(), "killed", resume=True)
    assert sorted(path.name for path in runs.iterdir()) == ["killed", "next"]


def test_runs_are_listed_by_time(run_folder: Path) -> None:
    older = run_folder.parent / "a-later-name"
    older.mkdir()
    meta = json.loads((run_folder / "meta.json").read_text()) | {"measured_at": "1999-01-01T00:00:00+00:00"}
    (older / "meta.json").write_text(json.dumps(meta))
    assert [path.name for path in list_runs(run_folder.parent)] == ["a-later-name", "first"]
