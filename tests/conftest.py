"""What tests of several rooms share: a small suite, the command line in an empty folder, a finished run."""

from __future__ import annotations

import functools
import gc
import io
import itertools
import os
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
import torch
from filelock import FileLock
from hypothesis import settings
from matplotlib.figure import Figure

from benchmarks.cli.progress import make_progress
from benchmarks.harness.run import run_suite
from benchmarks.harness.scores import floors, gaps
from benchmarks.harness.workers import cells, pool, supervisor
from benchmarks.harness.workers.memory import keep_freed_memory
from benchmarks.harness.workers.process import Task
from benchmarks.harness.workers.supervisor import NO_LIMIT, Worker
from benchmarks.runs.ranking import rank
from benchmarks.runs.read import LOSSES, Run, read_run
from benchmarks.suites.suite import load_suite
from memformer.kernels import first_order_loss, gdpp, recurrences
from tests.helpers import SMALL, Done, call
from tests.ready import ROOT, Ready, stop

VIEWED = """
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

Command = Callable[..., Done]

SAVEFIG = Figure.savefig

settings.register_profile("fuzz", max_examples=9_000)  # `make fuzz`


@pytest.fixture(autouse=True, scope="session")
def _imports_are_no_garbage() -> None:
    """What torch and pandas made at import is not looked through at every full collection, and few are made."""
    keep_freed_memory()
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 10, 10)


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> Iterator[None]:
    # Tasks here are tiny; threads that wait for each other on a busy machine cost more than they bring.
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True, scope="session")
def _absent_accelerators_take_no_seed() -> Iterator[None]:
    """torch notes the whole stack at each `torch.manual_seed`, for accelerators that may come: half of a short fit."""
    with pytest.MonkeyPatch.context() as patch:
        for absent in (torch.cuda, torch.xpu, torch.mtia):
            if not absent.is_available():
                patch.setattr(absent, "manual_seed_all", lambda seed: None)
        yield


@pytest.fixture(autouse=True, scope="session")
def _workers_are_ready() -> Iterator[None]:
    """A worker process is there at once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(supervisor, "subprocess", SimpleNamespace(Popen=Ready, PIPE=subprocess.PIPE))
        yield
    stop()


@pytest.fixture
def workers_from_scratch(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker process is one that Python starts."""
    monkeypatch.setattr(supervisor, "subprocess", subprocess)


@pytest.fixture(autouse=True, scope="session")
def _drawn_once() -> Iterator[None]:
    """Beside an SVG the PNG of the same figure is a dot, or half of all drawing would be drawing again."""
    dot = io.BytesIO()
    Figure(figsize=(0.1, 0.1)).savefig(dot, format="png")

    def savefig(figure: Figure, path: Any, **options: Any) -> None:
        if str(path).endswith(".png") and Path(path).with_suffix(".svg").exists():
            Path(path).write_bytes(dot.getvalue())
        else:
            SAVEFIG(figure, path, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Figure, "savefig", savefig)
        yield


@pytest.fixture
def drawn_as_png(monkeypatch: pytest.MonkeyPatch) -> None:
    """A PNG is drawn too."""
    monkeypatch.setattr(Figure, "savefig", SAVEFIG)


@pytest.fixture(autouse=True, scope="session")
def _kernels_compiled_once(tmp_path_factory: pytest.TempPathFactory) -> None:
    """In a fresh checkout, have each kind of number compiled by one of pytest-xdist's workers while another is waiting.

    It takes many seconds, and workers that come to it at the same time would each do all of it.
    """
    worker = os.environ.get("PYTEST_XDIST_WORKER", "")
    if not worker:
        return
    kinds = (torch.float32, torch.float64) if worker[-1] in "02468" else (torch.float64, torch.float32)
    for kind in kinds:
        with FileLock(tmp_path_factory.getbasetemp().parent / f"{kind}.lock"):
            gdpp.prepare(kind, torch.device("cpu"))
            recurrences.prepare(kind)
            first_order_loss.prepare(kind, torch.device("cpu"))


@pytest.fixture
def rough_floors(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A floor that is estimated is so from few tasks: for tests that are not about how low it lies."""
    monkeypatch.setattr(floors, "FLOOR_TASKS", 2_000)
    for kept in (floors._optimal, floors.floor_losses, gaps.best_losses):
        kept.cache_clear()
    yield
    for kept in (floors._optimal, floors.floor_losses, gaps.best_losses):
        kept.cache_clear()


@pytest.fixture
def small_suite(tmp_path: Path) -> Path:
    """A suite that takes a fraction of a second."""
    path = tmp_path / "small.toml"
    path.write_text(SMALL)
    return path


@pytest.fixture
def command(tmp_path: Path) -> Command:
    """`memformer-bench WORDS` in this process, in an empty folder."""
    return functools.partial(call, folder=tmp_path)


@pytest.fixture(scope="session")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of results with the runs `small` and `stripped`."""
    folder = tmp_path_factory.mktemp("results")
    (folder / "small.toml").write_text(VIEWED)
    suite = load_suite(str(folder / "small.toml"))
    with make_progress() as progress:
        path = run_suite(suite, folder / "runs", None, ["test"], progress, "small").path
    shutil.copytree(path, path.parent / "stripped")
    (path.parent / "stripped" / LOSSES).unlink()
    return folder


@pytest.fixture(scope="session")
def reference() -> Run:
    """The committed run."""
    return read_run(ROOT / "results/runs/core-reference")


@pytest.fixture(scope="session")
def ranked_reference(reference: Run) -> pd.DataFrame:
    """The committed run's rows, ranked."""
    return rank([reference])


@pytest.fixture(scope="session")
def run(results: Path) -> Run:
    return read_run(results / "runs" / "small")


class KeptWorker(Worker):
    """A worker whose process serves one test after another, since starting one takes seconds.

    Attributes:
        closed: how often it was to be ended.
    """

    closed = 0

    def __init__(self) -> None:
        super().__init__(preload=cells.__name__)
        self._in_use = threading.Lock()

    def carry_out(self, task: Task, seconds: float = NO_LIMIT, memory: float = NO_LIMIT) -> Any:
        with self._in_use:  # by a test before, if that did not wait for the end of its work
            return super().carry_out(task, seconds, memory)

    def close(self) -> None:
        self.closed += 1


@pytest.fixture(scope="session")
def _two_workers() -> Iterator[list[KeptWorker]]:
    workers = [KeptWorker(), KeptWorker()]
    yield workers
    for worker in workers:
        Worker.close(worker)


@pytest.fixture
def two_workers(_two_workers: list[KeptWorker], monkeypatch: pytest.MonkeyPatch) -> list[KeptWorker]:
    """Whoever makes workers gets these two, again and again."""
    made = itertools.cycle(_two_workers)
    monkeypatch.setattr(pool, "Worker", lambda: next(made))
    monkeypatch.setattr(cells, "cell_worker", lambda: next(made))
    for worker in _two_workers:
        worker.closed = 0
    return _two_workers
