"""Any function on worker processes: order, exceptions as they were, lost workers, and an end with the first process."""

from __future__ import annotations

import os
import signal
import time
from functools import partial
from pathlib import Path

import pytest
import torch

from benchmarks.errors import UserError
from benchmarks.harness.workers.pool import _Todo, as_finished, map_ordered
from benchmarks.harness.workers.supervisor import Worker
from tests.conftest import KeptWorker
from tests.harness.test_workers import ended
from tests.helpers import fork


class Odd(Exception):
    """An exception that cannot be made again from what it says."""

    def __init__(self, number: int, *, why: str) -> None:
        super().__init__(f"{number} is odd, {why}")


def halved(number: int) -> tuple[int, int, int]:
    time.sleep(0.02 * (number == 0))  # the first is not finished first
    return number // 2, torch.get_num_threads(), os.getpid()


def fails(number: int) -> int:
    if number == 3:
        raise ZeroDivisionError("three")
    if number == 5:
        raise Odd(number, why="alas")
    if number == 7:
        os.kill(os.getpid(), signal.SIGKILL)
    if number == 9:
        raise UserError("nine is too many")
    return number


@pytest.mark.parametrize("processes", [1, 2])
def test_answers_come_in_the_order_of_the_items_each_computed_on_one_thread(
    processes: int, two_workers: list[KeptWorker]
) -> None:
    seen: list[int] = []
    before = torch.get_num_threads()
    found = map_ordered(halved, range(10), processes, seen.append)
    assert [half for half, _, _ in found] == [number // 2 for number in range(10)]
    assert {threads for _, threads, _ in found} == {1}
    assert torch.get_num_threads() == before
    assert sorted(seen) == list(range(10))
    pids = {pid for _, _, pid in found}
    assert pids == {os.getpid()} if processes == 1 else os.getpid() not in pids and len(pids) == 2
    assert all(worker.closed for worker in two_workers) == (processes == 2)
    assert map_ordered(halved, [], processes) == []


def test_a_worker_goes_on_with_what_it_has_begun_and_helps_with_any_at_the_end() -> None:
    one, other = Worker(), Worker()
    todo = _Todo(["a0", "a1", "a2", "a3", "b0", "c0", "c1"], lambda item: item[0], [one, other])
    taken = [todo.take(worker) for worker in (one, other, one, other, other, one, other, one)]
    assert [item and item[1] for item in taken] == ["a0", "b0", "a1", "c1", "c0", "a2", "a3", None]
    assert taken[1] == (4, "b0")
    plain = _Todo([3, 1, 2], lambda _: None, [one, other])
    # Every second one begins at the end.
    assert [plain.take(worker) for worker in (one, other, one)] == [(0, 3), (2, 2), (1, 1)]


@pytest.fixture
def worker(two_workers: list[KeptWorker]) -> Worker:
    return two_workers[0]


def test_a_function_made_here_and_now_is_sent_as_well(worker: Worker) -> None:
    offset = 40
    assert worker.carry_out(lambda _: offset + 2) == 42


def test_an_exception_reaches_the_caller_as_it_was_with_the_workers_traceback(two_workers: list[KeptWorker]) -> None:
    with pytest.raises(ZeroDivisionError) as caught:
        map_ordered(fails, [3, 0], 2)
    assert all(worker.closed for worker in two_workers)
    assert str(caught.value) == "three"
    (note,) = caught.value.__notes__
    assert note.startswith("In a worker process:\nTraceback")
    assert 'raise ZeroDivisionError("three")' in note


@pytest.mark.parametrize(
    ("number", "kind", "says"),
    [(9, UserError, "nine is too many"), (5, RuntimeError, "Odd: 5 is odd, alas")],
)
def test_in_place_of_an_exception_that_cannot_be_sent_comes_what_it_says(
    worker: Worker, number: int, kind: type[Exception], says: str
) -> None:
    with pytest.raises(kind) as caught:
        worker.carry_out(lambda _: fails(number))
    assert str(caught.value) == says
    assert "In a worker process" in caught.value.__notes__[0]
    assert worker.carry_out(lambda _: fails(4)) == 4, "the worker goes on"


def test_a_lost_worker_is_one_sentence_and_the_others_are_ended(two_workers: list[KeptWorker]) -> None:
    pattern = "part of the work failed: its worker process was lost, ended by SIGKILL; perhaps for want of memory"
    with pytest.raises(UserError, match=f"^{pattern}$"):
        map_ordered(fails, [7, 0], 2)
    assert all(worker.closed for worker in two_workers)


@pytest.mark.usefixtures("workers_from_scratch")
def test_a_killed_process_leaves_no_worker_and_no_shared_memory(tmp_path: Path) -> None:
    def sleeps(name: str, _: object) -> None:
        (tmp_path / f"{name} {os.getpid()}").touch()
        time.sleep(600)

    def work() -> None:
        list(as_finished("abc", lambda worker, name: worker.carry_out(partial(sleeps, name)), [Worker(), Worker()]))

    before = set(os.listdir("/dev/shm")) if os.path.isdir("/dev/shm") else set()
    with open(os.devnull, "w") as nothing:
        first = fork(work, nothing)
    for _ in range(2400):
        if len(os.listdir(tmp_path)) == 2:
            break
        time.sleep(0.05)
    os.kill(first, signal.SIGKILL)
    os.waitpid(first, 0)
    workers = [int(name.split()[1]) for name in os.listdir(tmp_path)]
    assert len(workers) == 2
    assert all(ended(worker) for worker in workers)
    left = set(os.listdir("/dev/shm")) - before if os.path.isdir("/dev/shm") else set()
    assert [name for name in left if "joblib" in name or "loky" in name] == []
