"""Projects as git repositories, to be changed at will: a copy of this one, and a tiny one that starts at once."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from benchmarks.regression.gate import check
from benchmarks.regression.gate.cases import LossCase, SpeedCase, loss_cases
from tests.helpers import Done, call

ROOT = Path(__file__).parents[3]

OBJECTS = """
import numpy as np

class Problem:
    def blinded(self):
        return self

class Solver:
    trains = random_fit = anytime = False
    def __init__(self, factor=1.0):
        self.factor = factor
    def fit(self, tasks, steps, seed=0):
        return self
    def fit_many(self, sources, steps, seeds):
        return [self for _ in seeds]
    def solve(self, problem, steps):
        return self.factor

class Law:
    fingerprint = "abc"
    def stream(self, seed, purpose, *where):
        return self
    def sample(self, tasks):
        return Problem()

class Array(np.ndarray):
    def numpy(self):
        return self

def loss(problem, factor):
    return (factor * np.linspace(1, 2, 40).reshape(4, 10)).view(Array)
"""
"""A law, a solver and a metric."""

REGISTRY = """
from .objects import Law, Solver, loss

class Entry:
    def load(self):
        return loss

class Registry(dict):
    def create(self, name, **params):
        return self[name]()

LAWS = Registry(isotropic=Law)
SOLVERS = Registry(one=Solver, two=Solver)
METRICS = Registry(expected_test_loss=Entry())
"""

DOOR = """
import numpy as np
from benchmarks.registry import LAWS, METRICS, SOLVERS

API = 1

def names(kind):
    return list({"law": LAWS, "solver": SOLVERS}[kind])

def law(name, **params):
    return LAWS.create(name)

def solver(name, **params):
    return SOLVERS.create(name)

def stream(law, seed, purpose):
    return law.stream(seed, purpose)

def fitted(solver, law, steps, seed=0):
    return solver.fit(law, steps, seed)

def random_fit(solver):
    return solver.random_fit

def losses(solver, law, seed, tasks, steps):
    return METRICS["expected_test_loss"].load()(None, solver.solve(None, 0))[list(steps)]
"""

LAW = """
import enum

Purpose = enum.IntEnum("Purpose", ["TRAIN", "SCORE", "TIMING"])
"""

TORCH = '''
float64 = None

def set_num_threads(number):
    """Much faster than importing torch."""

def device(name):
    return name
'''

TINY = {
    "torch.py": TORCH,
    "memformer/__init__.py": "",
    "baselines/__init__.py": "",
    "benchmarks/__init__.py": "",
    "benchmarks/objects.py": OBJECTS,
    "benchmarks/registry.py": REGISTRY,
    "benchmarks/api.py": DOOR,
}
"""A project with a door."""

TINY_OF_OLD = {
    **{name: text for name, text in TINY.items() if name != "benchmarks/api.py"},
    **{f"benchmarks/{name}.py": "" for name in ("laws", "solvers", "metrics")},
    "benchmarks/tasks/__init__.py": "",
    "benchmarks/tasks/law.py": LAW,
}
"""One without, laid out as this project was before it had one."""


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A checkout of this project's packages alone, committed."""
    folder = tmp_path / "clone"
    for package in ("memformer", "baselines", "benchmarks"):
        # What is compiled goes with it: files keep their times.
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("*-pytest-*"))
    git(folder, "init", "-q")
    (folder / ".git/info/exclude").write_text("__pycache__\n")
    commit(folder, "base")
    return folder


@pytest.fixture
def few_laws(monkeypatch: pytest.MonkeyPatch) -> None:
    """Losses on one law are enough to see a change."""
    monkeypatch.setattr(check, "loss_cases", lambda: [case for case in loss_cases() if case.law == "isotropic"])


@pytest.fixture
def few_cases(monkeypatch: pytest.MonkeyPatch) -> None:
    """The cases of the tiny project."""
    names = ("one", "two")
    monkeypatch.setattr(check, "speed_cases", lambda: [SpeedCase("solve", name, law="isotropic") for name in names])
    loss = [LossCase(name, {}, "isotropic", {"d": 5, "N": 20}, 10, (0,)) for name in names]
    monkeypatch.setattr(check, "loss_cases", lambda: loss)


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """A checkout of the tiny project, committed."""
    folder = tmp_path / "tiny"
    write(folder, TINY)
    git(folder, "init", "-q")
    commit(folder, "base")
    return folder


def write(folder: Path, files: dict[str, str]) -> None:
    """Make these the only files of a checkout."""
    for package in ("memformer", "baselines", "benchmarks"):
        shutil.rmtree(folder / package, ignore_errors=True)
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def change(folder: Path, old: str, new: str, file: str) -> None:
    """Replace a text that is there."""
    path = folder / file
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


def rename(folder: Path, old: str, new: str) -> None:
    """Give a module or package of `benchmarks` another name wherever it is used."""
    for path in sorted([*folder.rglob("*.py"), *folder.rglob("*.toml")]):
        path.write_text(path.read_text().replace(f"benchmarks.{old}", f"benchmarks.{new}"))
    found = next(path for path in (folder / "benchmarks").iterdir() if path.stem == old)
    found.rename(found.with_name(new + found.suffix))


def git(folder: Path, *words: str) -> str:
    identity = ["-c", "user.name=tester", "-c", "user.email=tester@example.com", "-c", "commit.gpgsign=false"]
    done = subprocess.run(["git", "-C", str(folder), *identity, *words], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def commit(folder: Path, message: str) -> None:
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", message)


def run_check(folder: Path, *words: str) -> Done:
    """`memformer-bench check` in a folder, in this process."""
    return call("check", *words, folder=folder)
