"""What a run says of where it was measured."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from benchmarks.runs import environment

ROOT = Path(__file__).parents[2]
SITE_PACKAGES = ".venv/lib/python3.11/site-packages"


def _git(folder: Path, *words: str) -> str:
    identity = ["-c", "user.name=tester", "-c", "user.email=tester@example.com", "-c", "commit.gpgsign=false"]
    done = subprocess.run(["git", "-C", str(folder), *identity, *words], capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture
def somebodys(tmp_path: Path) -> Path:
    """The repository of somebody else's project."""
    _git(tmp_path, "init", "-q")
    (tmp_path / "theirs.txt").touch()
    _git(tmp_path, "add", "theirs.txt")
    _git(tmp_path, "commit", "-q", "-m", "theirs")
    return tmp_path


def _installed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the packages lie in a folder, as a wheel puts them there."""
    for package in ("memformer", "baselines", "benchmarks"):
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(environment, "__file__", str(folder / "benchmarks/runs/environment.py"))


@pytest.mark.parametrize(
    ("place", "committed"),
    [(".", False), (SITE_PACKAGES, False), (SITE_PACKAGES, True)],
    ids=["top", "inside", "added"],
)
def test_a_wheel_in_somebodys_repository_does_not_name_their_commit(
    place: str, committed: bool, somebodys: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _installed(somebodys / place, monkeypatch)
    if committed:
        _git(somebodys, "add", "-A")
        _git(somebodys, "commit", "-q", "-m", "with its environment")
    assert environment.git_state() == {"commit": None, "dirty": None}


def test_a_checkout_names_its_commit_and_whether_it_was_changed(
    somebodys: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _installed(somebodys, monkeypatch)
    _git(somebodys, "add", "-A")
    _git(somebodys, "commit", "-q", "-m", "the project")
    assert environment.git_state() == {"commit": _git(somebodys, "rev-parse", "HEAD"), "dirty": False}
    (somebodys / "baselines/one_more.py").touch()
    assert environment.git_state()["dirty"] is True
