"""Losses of the first tasks stand in for all of them in views, and for nothing else."""

from __future__ import annotations

import lzma
from pathlib import Path

import numpy as np
import pytest

from benchmarks.errors import UserError
from benchmarks.reports.comparison import settings
from benchmarks.runs.read import FIRST, LOSSES, Run, read_run
from benchmarks.runs.validate import problems
from benchmarks.validation.first_losses import keep, rounded
from tests.helpers import SMALL, call


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A run with no losses but those of its first 20 tasks."""
    monkeypatch.setattr("benchmarks.validation.first_losses.TASKS", 20)
    (tmp_path / "s.toml").write_text(SMALL.replace('"ols"', '"ols", { name = "scipy_cg", tasks = 10 }'))
    assert call("run", tmp_path / "s.toml", "--results", tmp_path, "--name", "r").code == 0
    path = tmp_path / "runs" / "r"
    assert keep(path) == (path / FIRST).stat().st_size
    return read_run(path)


def test_views_compare_on_the_first_tasks_and_say_how_many(run: Run) -> None:
    (whole,) = settings(run)
    (run.path / LOSSES).unlink()
    (first,) = settings(read_run(run.path))
    assert (whole.tasks, first.tasks) == (120, 40)
    assert [entry.label for entry in first.entries] == [entry.label for entry in whole.entries]
    assert first.left_out == {"scipy_cg": "scored on fewer tasks"}
    for few, all_of_them in zip(first.entries, whole.entries, strict=True):
        for step in (1, 2):
            np.testing.assert_allclose(few.losses[step][1], all_of_them.losses[step][1][:20], rtol=2.5e-4)


def test_they_are_not_taken_for_all_losses(run: Run) -> None:
    (run.path / LOSSES).unlink()
    again = read_run(run.path)
    assert not again.has_losses
    assert problems(again) == []


def test_without_either_the_sentence_is_as_before(run: Run) -> None:
    for name in (LOSSES, FIRST):
        (run.path / name).unlink()
    with pytest.raises(UserError, match="was stored without per-task losses"):
        settings(read_run(run.path))


def test_more_than_the_rows_can_have_is_not_unpacked(run: Run) -> None:
    (run.path / LOSSES).unlink()
    (run.path / FIRST).write_bytes(lzma.compress(bytes(10**7)))
    with pytest.raises(UserError, match="holds more than the losses of its rows"):
        settings(read_run(run.path))
    (run.path / FIRST).write_bytes(b"PK")
    with pytest.raises(UserError, match="is not a file of arrays"):
        settings(read_run(run.path))


def test_rounding_errs_by_less_than_a_quarter_of_a_thousandth() -> None:
    losses = np.random.default_rng(0).lognormal(-9, 4, 1000).astype(np.float32)
    assert (np.abs(rounded(losses) / losses - 1) <= 2.0**-12).all()
    assert rounded(np.array([0.0, np.inf], np.float32)).tolist() == [0.0, np.inf]
