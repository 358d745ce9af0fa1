"""Pruning: what nobody needs goes; what is not this project's, or may be needed, stays."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from benchmarks.runs import prune
from memformer.core import checkpoint
from tests.runs.helpers import command

TEMPORARY = f".cg-isotropic-d5-{'0' * 16}.safetensors.{'a' * 32}"


@pytest.fixture
def parameters(tmp_path: Path) -> Path:
    (tmp_path / "parameters").mkdir()
    (tmp_path / "runs").mkdir()
    return tmp_path / "parameters"


def aged(path: Path) -> None:
    old = time.time() - 90_000
    os.utime(path, (old, old), follow_symlinks=False)


def test_left_over_runs_and_parameters_of_other_source_go(parameters: Path) -> None:
    results = parameters.parent
    (results / "runs/.unfinished-dead/cells").mkdir(parents=True)
    stale, damaged = parameters / "x.safetensors", parameters / "y.safetensors"
    for path in (stale, damaged):
        checkpoint.save(path, {"eta": torch.ones(99)}, {"source": "other"})
    damaged.write_bytes(damaged.read_bytes()[:-50])
    (parameters / TEMPORARY).write_text("half")
    aged(parameters / TEMPORARY)
    assert "would remove 4" in command(results, "prune").output
    assert (results / "runs/.unfinished-dead").exists()
    assert "removed 4" in command(results, "prune", "--yes").output
    assert os.listdir(results / "runs") == os.listdir(parameters) == []


def test_files_that_are_not_ours_stay(parameters: Path) -> None:
    """Another project's model and every hidden file were deleted."""
    save_file({"w": torch.ones(3)}, parameters / "llama.safetensors")
    save_file({"w": torch.ones(3)}, parameters / "tagged.safetensors", {"format": "pt", "source": "x"})
    (parameters / "notes.safetensors").write_text("no safetensors file at all")
    (parameters / "list.safetensors").write_bytes((2).to_bytes(8, "little") + b"[]")
    (parameters / "deep.safetensors").write_bytes((10**6).to_bytes(8, "little") + b"[" * 10**6)
    for name in (".gitignore", ".llama.safetensors", ".safetensors." + "a" * 32, TEMPORARY + "0"):
        (parameters / name).touch()
        aged(parameters / name)
    outside = parameters.parent / "outside.safetensors"
    checkpoint.save(outside, {"eta": torch.ones(3)}, {"source": "other"})
    (parameters / "link.safetensors").symlink_to(outside)
    (parameters / "folder.safetensors").mkdir()
    (parameters / TEMPORARY).touch()  # one that is being written now
    notes = parameters.parent / "runs/.unfinished-notes"
    notes.mkdir()
    (notes / "diary.txt").touch()
    (parameters.parent / "runs/.unfinished-link").symlink_to(notes)
    before = sorted(parameters.parent.rglob("*"))
    done = command(parameters.parent, "prune", "--yes")
    assert (done.code, done.output) == (0, "removed 0 (0.0 MB)\n")
    assert sorted(parameters.parent.rglob("*")) == before


def test_what_could_not_be_removed_is_not_counted(parameters: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It said "removed 1" when nothing was."""
    checkpoint.save(parameters / "x.safetensors", {"eta": torch.ones(3)}, {"source": "other"})
    (parameters.parent / "runs/.unfinished-dead/cells").mkdir(parents=True)

    def denied(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    for name in ("unlink", "rename", "rmdir"):
        monkeypatch.setattr(os, name, denied)
    done = command(parameters.parent, "prune", "--yes")
    assert done.code == 1
    assert done.output.endswith("removed 0 (0.0 MB)\n")
    assert "parameters/x.safetensors could not be removed" in done.error
    assert "runs/.unfinished-dead could not be removed" in done.error


def test_what_another_process_removes_meanwhile_has_no_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "there").write_bytes(b"123")
    assert prune._size(tmp_path) == 3
    monkeypatch.setattr(prune.os, "walk", lambda path: [(path, [], ["there", "gone"])])
    assert prune._size(tmp_path) == 3
    assert prune._size(tmp_path / "gone") == 0
