"""Entries to be tested, and where: in boxes, or in processes that are there at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import api
from benchmarks.runs.source import ENTRIES

FILES = Path(__file__).parent / "files"
"""Dishonest ones."""

MOMENTUM, LEARNED, DIRECT = (ENTRIES / name / f"{name}.py" for name in ("momentum", "learned_steps", "pseudoinverse"))
AUTHOR = "The memformer-bench developers"
LAW = api.law("isotropic", d=3, N=8)

boxed = pytest.mark.usefixtures("a_box")

copied = pytest.mark.usefixtures("copies")
"""For what is said to an entry and what it may say, whatever the walls between."""


def entry(tmp_path: Path, **changed: str) -> Path:
    """An honest file with some of its text changed."""
    text = MOMENTUM.read_text()
    for old, new in changed.items():
        text = text.replace(old, new)
    (tmp_path / "mine.py").write_text(text)
    return tmp_path / "mine.py"
