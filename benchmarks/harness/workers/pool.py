"""Many worker processes at once: work handed out one piece at a time, answers as they come or in order."""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable, Hashable, Iterator, Sequence
from functools import partial
from typing import Generic, TypeVar

from benchmarks.errors import UserError
from benchmarks.harness.workers.limits import pinned_threads
from benchmarks.harness.workers.supervisor import Ended, Worker

Item = TypeVar("Item")
Found = TypeVar("Found")


def map_ordered(
    function: Callable[[Item], Found],
    items: Sequence[Item],
    processes: int,
    done: Callable[[int], None] = lambda _: None,
) -> list[Found]:
    """`function` of every item, each on one thread, in the order of the items; the numbers hang on no `processes`.

    Worker processes end with this one, however it ends.

    Args:
        function: anything that cloudpickle can send to another process.
        items: what it is called with.
        processes: how many share the work; with 1, this process does it.
        done: told the place of every item that is done.

    Raises:
        UserError: if a worker process is lost.
        Exception: the first that `function` raises, as it was; a worker's traceback is in its notes.
    """
    if min(processes, len(items)) <= 1:
        finished: Iterator[tuple[int, Found]] = ((place, _pinned(function, item)) for place, item in enumerate(items))
    else:
        finished = as_finished(items, partial(_elsewhere, function), [Worker() for _ in items[:processes]])
    found: dict[int, Found] = {}
    for place, result in finished:
        found[place] = result
        done(place)
    return [found[place] for place in range(len(items))]


class _Todo(Generic[Item]):
    """Items that nobody has begun.

    A worker goes on with the kind that it has begun; every second one takes a kind from its end, so that workers which
    start together do not compile the same at once.
    """

    def __init__(self, items: Sequence[Item], kind: Callable[[Item], Hashable], workers: Sequence[Worker]) -> None:
        self._items, self._from_end = items, workers[1::2]
        self._places: dict[Hashable, deque[int]] = {}
        self._had: dict[Worker, Hashable] = {}
        for place, item in enumerate(items):
            self._places.setdefault(kind(item), deque()).append(place)

    def take(self, worker: Worker) -> tuple[int, Item] | None:
        """The next item of the worker's kind, of one that no other worker has, or of any; None if there is none."""
        if not self._places:
            return None
        mine = self._had.pop(worker, None)
        free = (kind for kind in self._places if kind not in self._had.values())
        kind = mine if mine in self._places else next(free, next(iter(self._places)))
        self._had[worker], places = kind, self._places[kind]
        place = places.pop() if worker in self._from_end else places.popleft()
        if not places:
            del self._places[kind]
        return place, self._items[place]


def as_finished(
    items: Sequence[Item],
    do: Callable[[Worker, Item], Found],
    workers: Sequence[Worker],
    kind: Callable[[Item], Hashable] = lambda _: None,
) -> Iterator[tuple[int, Found]]:
    """`do(worker, item)` of every item, with its place, as it is finished; a thread waits for each worker's answer.

    Never more items are at work or waiting to be read than there are workers: a slow reader slows them down instead of
    filling the memory. The workers are closed at the end, and on the first exception, which is raised here.

    Args:
        items: what is to be done.
        do: what is done with each.
        workers: that do it.
        kind: what items have in common that a worker finds once for all of them.
    """
    todo = _Todo(items, kind, workers)
    lock, stopped = threading.Lock(), threading.Event()
    finished: queue.Queue[tuple[int, Found] | BaseException] = queue.Queue(maxsize=1)

    def hand_over(what: tuple[int, Found] | BaseException) -> None:
        while not stopped.is_set():
            try:
                return finished.put(what, timeout=0.1)
            except queue.Full:
                continue

    def serve(worker: Worker) -> None:
        try:
            while not stopped.is_set():
                with lock:
                    following = todo.take(worker)
                if following is None:
                    break
                place, item = following
                hand_over((place, do(worker, item)))
        except BaseException as error:
            hand_over(error)
        finally:
            worker.close()

    for worker in workers:
        threading.Thread(target=serve, args=(worker,), daemon=True).start()
    try:
        for _ in items:
            what = finished.get()
            if isinstance(what, BaseException):
                raise what
            yield what
    finally:
        stopped.set()
        for worker in workers:
            worker.close()


def _elsewhere(function: Callable[[Item], Found], worker: Worker, item: Item) -> Found:
    try:
        return worker.carry_out(lambda _: _pinned(function, item))
    except Ended as lost:
        raise UserError(f"part of the work failed: {lost}") from None


def _pinned(function: Callable[[Item], Found], item: Item) -> Found:
    with pinned_threads(1):
        return function(item)
