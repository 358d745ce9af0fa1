"""Bad days in short: the study itself kills a hundred times, and starts for twenty seconds."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from benchmarks.validation import bad_days


def test_killed_runs_end_with_the_tables_of_an_undisturbed_run(tmp_path: Path) -> None:
    suite = bad_days.SUITES["starts"]
    done, finished = bad_days.killed_runs(tmp_path, 3, random.Random(0), suite, [0])
    assert done == {"main": 3}
    assert finished


def test_a_run_that_differs_is_told(tmp_path: Path) -> None:
    for name in ("reference", "other"):
        bad_days._run(tmp_path, bad_days.SUITES["starts"], name)
    bad_days.check(tmp_path / "results", "other")
    (tmp_path / "results/runs/other/losses.npz").write_bytes(b"")
    with pytest.raises(SystemExit, match=r"losses.npz of other differs"):
        bad_days.check(tmp_path / "results", "other")


def test_starts_and_prunes_side_by_side_break_nothing(tmp_path: Path) -> None:
    done = bad_days.starts_beside_prunes(tmp_path, 2.0, random.Random(0))
    assert min(done["whole"], done["prunes"]) > 1


def test_a_start_that_fails_ends_the_study_and_every_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bad_days, "_run", lambda *_: exit(3))
    with pytest.raises(SystemExit, match="run0-0 ended with status 3"):
        bad_days.starts_beside_prunes(tmp_path, 60.0, random.Random(0))
