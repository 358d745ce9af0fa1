"""What the harness tests share: a small suite, the command line in this process and in another."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

SMALL = """
schema = 1
steps = [1, 2]
seeds = [0, 1]
solvers = ["cg", "ols", "heavy_ball"]
[scores]
tasks = 60
[timings]
batch = 5
repeats = 3
[[tasks]]
law = "isotropic"
d = 3
N = 8
"""

Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def small_suite(tmp_path: Path) -> Path:
    """A suite that takes a fraction of a second."""
    path = tmp_path / "small.toml"
    path.write_text(SMALL)
    return path


@pytest.fixture
def command(tmp_path: Path) -> Command:
    """`memformer-bench WORDS` in a process of its own, started in an empty folder."""

    def run(*words: str | Path) -> subprocess.CompletedProcess[str]:
        line = [sys.executable, "-m", "benchmarks.cli.main", *map(str, words)]
        return subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)

    return run
