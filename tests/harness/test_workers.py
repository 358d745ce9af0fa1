"""Worker processes: limits end them, a lost one is replaced, and the numbers are those of one process."""

from __future__ import annotations

import dataclasses
import gc
import os
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.errors import UserError
from benchmarks.harness.cell import Cell
from benchmarks.harness.scores.fitting import ParameterStore
from benchmarks.harness.workers import cells, dask
from benchmarks.harness.workers.cells import Job, cell_worker, run_cells, score
from benchmarks.harness.workers.dask import run_on_cluster
from benchmarks.harness.workers.supervisor import LOOK_SECONDS, Ended, Worker
from benchmarks.tasks.gaussian import Isotropic
from memformer.core.problem import Problem
from memformer.core.solver import Needs, Solver
from memformer.core.trace import Trace
from tests.conftest import Command, KeptWorker
from tests.helpers import fork


@dataclass(frozen=True)
class Unlucky(Solver):
    """Does what `what` says, once if `mark` is a file that it can make."""

    needs = Needs.NOTHING
    what: str = "nothing"
    mark: str = ""

    def solve(self, problem: Problem, num_steps: int) -> Trace:
        if not self.mark or not os.path.exists(self.mark):
            if self.mark:
                Path(self.mark).touch()
            if self.what == "dies":
                os.kill(os.getpid(), signal.SIGKILL)
            if self.what == "hangs":
                signal.signal(signal.SIGALRM, signal.SIG_IGN)  # as a loop in C does
                time.sleep(600)
            if self.what == "grows":
                held = [torch.ones(2**24) for _ in range(100)]  # 64 MB each
                time.sleep(600 + len(held))
            if self.what == "prints":
                print("to standard output", flush=True)
        return Trace.direct(torch.zeros_like(problem.moments.b), num_steps)


def job(what: str, mark: Path | str = "", **limits: Any) -> Job:
    settings: dict[str, Any] = {"time_limit": 60.0, "steps": (1,), "seeds": (0,), "tasks": 10, **limits}
    solver = Unlucky(what, str(mark))
    settings |= {"dtype": torch.float64, "device": torch.device("cpu")}
    return Job(Cell("isotropic", Isotropic(d=2, N=4), what, solver, {}, **settings), ParameterStore(), 1)


@pytest.fixture
def worker(two_workers: list[KeptWorker]) -> Worker:
    return two_workers[0]


def test_workers_are_told_which_cells_are_of_one_law(monkeypatch: pytest.MonkeyPatch) -> None:
    """They find its tasks and floors once."""
    here, elsewhere = job("nothing").cell, dataclasses.replace(job("prints").cell, law=Isotropic(d=3, N=6))
    kinds: list[object] = []
    monkeypatch.setattr(cells, "cell_worker", lambda: None)
    monkeypatch.setattr(cells, "as_finished", lambda work, do, workers, kind: kinds.extend(map(kind, work)) or iter(()))
    some = [here, elsewhere, dataclasses.replace(here, tasks=20)]
    assert list(run_cells(some, ParameterStore(), jobs=2, threads=1)) == []
    assert kinds[0] == kinds[2] != kinds[1]


def test_workers_of_other_source_are_refused(worker: Worker) -> None:
    with pytest.raises(UserError, match="a worker has other source than this process"):
        score(worker, dataclasses.replace(job("nothing"), source="0123456789ab"))


def test_a_cell_that_ignores_its_time_limit_is_ended_and_the_next_is_computed(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cells, "GRACE", 0.2)
    start = time.monotonic()
    result = score(worker, job("hangs", time_limit=0.3)).result
    assert time.monotonic() - start < 60
    assert (result.status, result.lost) == ("time_limit", False)
    assert result.reason == "did not stop at its time limit; its worker process was ended"
    assert score(worker, job("prints")).result.status == "ok"


def test_a_lost_worker_is_replaced_once(worker: Worker, tmp_path: Path) -> None:
    assert score(worker, job("dies", tmp_path / "once")).result.status == "ok"
    result = score(worker, job("dies")).result
    assert (result.status, result.lost) == ("error", True)
    assert result.reason == "its worker process was lost twice, ended by SIGKILL; perhaps for want of memory"


def test_a_cell_that_exceeds_its_memory_limit_is_ended(worker: Worker) -> None:
    scored = score(worker, job("grows", memory_limit=1.0))
    assert scored.result.status == "memory_limit"
    assert "its limit is 1 GB; its worker process was ended" in scored.rows[0].reason
    assert {row.status for row in scored.rows} == {"memory_limit"}


def test_what_ended_one_worker_does_not_end_the_next(worker: Worker) -> None:
    worker.restart()
    worker._broken = Ended("memory_limit", "held too much")  # as the process before left it
    assert score(worker, job("nothing")).result.status == "ok"
    assert worker._broken is None
    worker.restart()
    worker._broken = Ended("memory_limit", "held too much")
    process = worker._start()
    time.sleep(10 * LOOK_SECONDS)
    assert process.poll() is None
    process.kill()
    process.wait()


def test_every_cell_comes_back_once_from_two_workers_of_which_one_dies(
    two_workers: list[KeptWorker], tmp_path: Path
) -> None:
    work = [job("dies" if tasks == 12 else "nothing", tmp_path / "once", tasks=tasks).cell for tasks in range(10, 16)]
    found = dict(run_cells(work, ParameterStore(), 2, 1))
    assert all(worker.closed for worker in two_workers)
    assert sorted(found) == list(range(6))
    assert [found[number].rows[0].num_tasks for number in range(6)] == list(range(10, 16))


@pytest.mark.usefixtures("workers_from_scratch")
def test_workers_end_with_the_process_that_started_them(tmp_path: Path) -> None:
    def work() -> None:
        worker = cell_worker()
        worker._start()
        assert worker._process is not None
        print(worker._process.pid, flush=True)
        score(worker, job("hangs", tmp_path / "begun"))

    with open(tmp_path / "said", "w+") as said:
        first = fork(work, said)
        while not (tmp_path / "begun").exists():
            assert os.waitpid(first, os.WNOHANG) == (0, 0)
            time.sleep(0.05)
        os.kill(first, signal.SIGKILL)
        os.waitpid(first, 0)
    assert ended(int((tmp_path / "said").read_text())), "the worker outlived the process that started it"


def ended(process: int) -> bool:
    """Whether a process ends within ten seconds."""
    for _ in range(200):
        if not running(process):
            return True
        time.sleep(0.05)
    return False


def running(process: int) -> bool:
    try:
        os.kill(process, 0)
        return "\nState:\tZ" not in Path(f"/proc/{process}/status").read_text()
    except (ProcessLookupError, FileNotFoundError):
        return False


def test_a_dask_cluster_gives_the_numbers_of_one_process(command: Command, small_suite: Path, tmp_path: Path) -> None:
    distributed = pytest.importorskip("distributed", exc_type=ImportError)
    cluster = distributed.LocalCluster(n_workers=1, threads_per_worker=2, dashboard_address=":0")
    with cluster:
        done = command("run", small_suite, "--scheduler", cluster.scheduler_address, "--name", "dask")
        assert done.code == 0, done.error
    done = command("run", small_suite, "--name", "one")
    assert done.code == 0, done.error
    runs = tmp_path / "results" / "runs"
    for file in ("scores.csv", "losses.npz"):
        assert (runs / "dask" / file).read_bytes() == (runs / "one" / file).read_bytes()


def test_without_dask_a_sentence_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(UserError, match=r"pip install 'memformer-bench\[dask\]'"):
        list(run_on_cluster([], "tcp://127.0.0.1:1"))


@pytest.mark.parametrize(
    ("address", "sentence"),
    [
        ("tls://127.0.0.1:1", r"no Dask scheduler answers at 'tls://127.0.0.1:1'; tls:// needs certificates in Dask's"),
        ("tcp://127.0.0.1:port", r"no Dask scheduler answers at 'tcp://127.0.0.1:port': ValueError"),
    ],
)
def test_an_address_that_cannot_be_reached_is_one_sentence(address: str, sentence: str) -> None:
    distributed = pytest.importorskip("distributed", exc_type=ImportError)

    def clients() -> int:
        return sum(type(one) is distributed.Client for one in gc.get_objects())

    gc.collect()
    before = clients()
    gc.disable()
    try:
        with pytest.raises(UserError, match=sentence):
            list(run_on_cluster([], address))
        assert clients() == before, "one that is left closes when it is collected, and hangs if another starts then"
    finally:
        gc.enable()


def test_a_cluster_without_workers_is_not_waited_for_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    distributed = pytest.importorskip("distributed", exc_type=ImportError)
    monkeypatch.setattr(dask, "WORKER_SECONDS", 0.1)
    with (
        distributed.LocalCluster(n_workers=0, processes=False, dashboard_address=":0") as cluster,
        pytest.raises(UserError, match="no Dask worker came to"),
    ):
        list(run_on_cluster([], cluster.scheduler_address))
