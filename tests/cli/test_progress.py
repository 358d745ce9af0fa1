"""Progress inside a long fit, as people see it."""

from __future__ import annotations

import pytest

from benchmarks.cli.progress import training_progress
from memformer.training.recipe import Progress


def test_a_line_now_and_then_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with training_progress(every=0.0) as told:
        told(Progress(50, 200, 1.0))
        told(Progress(100, 200, float("inf")))
    assert capsys.readouterr().err == (
        "training: 50 of 200 steps, log validation loss 0.000\ntraining: 100 of 200 steps, no finite loss yet\n"
    )
    with training_progress() as told:
        told(Progress(50, 200, 1.0))
    assert capsys.readouterr().err == ""


def test_a_bar_on_a_terminal(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    with training_progress() as told:
        told(Progress(50, 200, 1.0))
    assert "50/200" in capsys.readouterr().err
