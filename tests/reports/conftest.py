"""A small real run, made once, and the same without its per-task losses."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from benchmarks.cli.progress import make_progress
from benchmarks.harness.run import run_suite
from benchmarks.runs.read import LOSSES, Run, read_run
from benchmarks.suites.suite import load_suite

SUITE = """
schema = 1
steps = [1, 2, 3]
seeds = [0, 1]
solvers = ["cg", "cgls", "heavy_ball", "gradient_descent", "ols", { name = "scipy_cg", tasks = 5 }]
[scores]
tasks = 150
[timings]
batch = 5
repeats = 3
[[tasks]]
law = "isotropic"
d = 4
N = 12
[[tasks]]
law = "isotropic"
d = 6
N = 24
noise_std = 0.5
"""


@pytest.fixture(scope="session")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of results with the runs `small` and `stripped`."""
    folder = tmp_path_factory.mktemp("results")
    (folder / "small.toml").write_text(SUITE)
    suite = load_suite(str(folder / "small.toml"))
    with make_progress() as progress:
        path = run_suite(suite, folder / "runs", None, ["test"], progress, "small").path
    shutil.copytree(path, path.parent / "stripped")
    (path.parent / "stripped" / LOSSES).unlink()
    return folder


@pytest.fixture(scope="session")
def run(results: Path) -> Run:
    return read_run(results / "runs" / "small")
