"""A small copy of the project as a git repository, to be changed at will."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
Git = Callable[..., str]


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A checkout of the packages alone, committed."""
    folder = tmp_path / "clone"
    for package in ("memformer", "baselines", "benchmarks"):
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    for words in (["init", "-q"], ["add", "-A"], ["commit", "-q", "-m", "base"]):
        git(folder, *words)
    return folder


def git(folder: Path, *words: str) -> str:
    identity = ["-c", "user.name=tester", "-c", "user.email=tester@example.com", "-c", "commit.gpgsign=false"]
    done = subprocess.run(["git", "-C", str(folder), *identity, *words], capture_output=True, text=True, check=True)
    return done.stdout.strip()
