"""Boxes, as real ones or as processes without walls."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks.catalogue.registry import SOLVERS
from benchmarks.entries import box, inside
from benchmarks.entries.box import available
from tests.entries.local import loaded
from tests.entries.samples import LEARNED
from tests.ready import Ready


@pytest.fixture(autouse=True)
def _registry(monkeypatch: pytest.MonkeyPatch) -> None:
    list(SOLVERS)
    monkeypatch.setattr(SOLVERS, "_entries", dict(SOLVERS._entries))


@pytest.fixture
def a_box() -> None:
    """Skips where there is no box, but for Linux in CI, where one must be."""
    if not available():
        missing = pytest.fail if "CI" in os.environ and sys.platform == "linux" else pytest.skip
        missing("this machine has no bubblewrap, or does not allow it")


@pytest.fixture
def copies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Boxes have no walls, and are there at once."""
    monkeypatch.setattr(box, "subprocess", SimpleNamespace(Popen=Ready, PIPE=subprocess.PIPE))
    monkeypatch.setattr(box, "command", lambda file, isolated: ["-m", inside.__name__, str(file)])
    for room in ("box", "boxed"):
        monkeypatch.setattr(f"benchmarks.entries.{room}.require", lambda: None)


@pytest.fixture
def declared(monkeypatch: pytest.MonkeyPatch) -> None:
    """What an entry declares is asked in this process: boxes, which take seconds, are for its fits and solves."""

    def traits(file: str, *_: object) -> dict[str, Any]:
        solver = loaded(file)
        return {"serves": solver.serves.__name__, **inside._traits(solver)}

    monkeypatch.setattr("benchmarks.entries.boxed._traits", traits)


@pytest.fixture
def learned(tmp_path: Path) -> str:
    """The file of the honest entry that learns, with a few of its training steps."""
    text = LEARNED.read_text()
    assert "iterations: int = 300\n" in text
    (tmp_path / LEARNED.name).write_text(text.replace("iterations: int = 300\n", "iterations: int = 5\n"))
    return str(tmp_path / LEARNED.name)
