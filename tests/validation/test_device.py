"""The study of an accelerator: what it refuses, and its arithmetic, on a device that is none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from typer import Exit

from benchmarks.errors import UserError
from benchmarks.validation import device as study
from tests.pretend_device import DEVICE, PretendDevice


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA device")
def test_without_an_accelerator_it_says_so_and_fails(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with pytest.raises(Exit) as ended:
        study.main("cuda", output=tmp_path / "page.md")
    assert ended.value.exit_code == 2
    assert capsys.readouterr().out.strip() == "this machine has no device 'cuda'; it has cpu"
    assert not (tmp_path / "page.md").exists()


def test_the_cpu_is_no_accelerator() -> None:
    with pytest.raises(UserError, match="compares an accelerator with the CPU"):
        study.accelerator("cpu")


def test_losses_that_are_nothing_but_rounding_agree() -> None:
    here, there = np.array([[1.0], [1e-20]]), np.array([[1.0], [3e-20]])
    assert study.difference(here, there, 1e-9) < 1e-10
    assert study.difference(here + 1e-3, there, 1e-9) > 0.5


def test_traffic_is_in_proportion_to_tasks_and_views_move_nothing() -> None:
    law = study.api.law("isotropic", d=3, N=6)
    problem = law.stream(0, study.api.Purpose.TIMING, torch.float32).sample(8)
    assert study.traffic(lambda one: one.X.mT[..., 0], problem) == 0
    few, more = (study.traffic(lambda one: one.moments, problem.first(count)) for count in (2, 8))
    assert more == 4 * few


def test_the_page_is_written_and_disagreement_is_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    suite, page = tmp_path / "one.toml", tmp_path / "page.md"
    suite.write_text(
        'schema = 1\nsteps = [2]\nsolvers = ["cg", "pcg"]\nscores = { tasks = 20 }\n[[tasks]]\nlaw = "isotropic"\n'
    )
    for name, value in {"BATCHES": (1, 6), "REPEATS": 1, "COPIED": 1024, "WARM_SECONDS": 0.0, "TIMED": ("cg",)}.items():
        monkeypatch.setattr(study, name, value)
    monkeypatch.setattr(study, "accelerator", lambda name: DEVICE)
    with PretendDevice():
        study.main("pretended", str(suite), page)
        text = page.read_text()
        assert "| cg | 6 |" in text
        assert "within the rounding granted" in text
        for lost in (iter([1.0] * 9), iter([1e-10, 1e-10, float("nan"), *[1e-10] * 9])):
            monkeypatch.setattr(study, "difference", lambda *_, lost=lost: next(lost))
            with pytest.raises(Exit) as ended:
                study.main("pretended", str(suite), page)
    assert ended.value.exit_code == 1
    assert "beyond the rounding granted" in page.read_text()
