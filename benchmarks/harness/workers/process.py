"""A worker process: scores one cell after another, asked and answering through a pair of pipes."""

from __future__ import annotations

import os
import signal
import struct
import sys
import threading
import time
from dataclasses import dataclass
from typing import IO

import cloudpickle

from benchmarks.errors import UserError, one_line
from benchmarks.harness.cell import Cell, CellResult
from benchmarks.harness.scores.fitting import ParameterStore
from benchmarks.harness.scores.measure import run_cell
from benchmarks.harness.scores.table import Scored, summarised
from benchmarks.harness.workers.limits import pinned_threads
from benchmarks.runs.source import SCORING, source_hash

READY, SOLVED, DONE, REFUSED = b"r", b"s", b"d", b"x"
"""What an answer is: ready for work; the solver has done its part; the finished cell; why it cannot be computed."""

WATCH_SECONDS = 0.2
"""So often a worker looks whether the process that started it is still there."""


@dataclass(frozen=True)
class Job:
    """A cell to be computed, by the source with this hash."""

    cell: Cell
    store: ParameterStore
    threads: int
    source: str

    @staticmethod
    def of(cell: Cell, store: ParameterStore, threads: int) -> Job:
        """A job for this process's source."""
        return Job(cell, store, threads, source_hash(SCORING))


def perform(job: Job, solved: IO[bytes] | None = None) -> Scored:
    """Fit, solve, measure and summarise; whatever goes wrong is a row.

    Args:
        job: what to do.
        solved: told when the solver has done its part, so that limits of it no longer hold.
    """
    with pinned_threads(job.threads):
        result = run_cell(job.cell, job.store)
        if solved is not None:
            send(solved, SOLVED)
        try:
            return summarised(result)
        except Exception as error:
            return summarised(CellResult(job.cell, status="error", reason=one_line(error)))


def send(pipe: IO[bytes], kind: bytes, content: bytes = b"") -> None:
    """Write one message."""
    pipe.write(kind + struct.pack(">Q", len(content)) + content)
    pipe.flush()


def receive(pipe: IO[bytes]) -> tuple[bytes, bytes]:
    """Read one message.

    Raises:
        EOFError: if the other side is gone.
    """
    head = pipe.read(9)
    length = struct.unpack(">Q", head[1:])[0] if len(head) == 9 else 0
    content = pipe.read(length)
    if len(head) < 9 or len(content) < length:
        raise EOFError
    return head[:1], content


def main() -> None:
    """Answer until nobody asks any more. What a solver prints goes to standard error."""
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    with open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    os.dup2(2, 1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes of a terminal; the first one decides
    threading.Thread(target=_watch, args=(os.getppid(),), daemon=True).start()
    try:
        send(answers, READY)
        while True:
            _, content = receive(requests)
            send(answers, *_answer(content, answers))
    except (EOFError, BrokenPipeError):
        os._exit(0)


def _answer(content: bytes, answers: IO[bytes]) -> tuple[bytes, bytes]:
    try:
        job: Job = cloudpickle.loads(content)
    except Exception as error:
        return REFUSED, f"a worker process cannot load what it is to compute: {one_line(error)}".encode()
    if job.source != source_hash(SCORING):
        return REFUSED, b"a worker has other source than this process; install the same memformer-bench on both"
    try:
        return DONE, cloudpickle.dumps(perform(job, answers))
    except UserError as error:
        return REFUSED, str(error).encode()


def _watch(parent: int) -> None:
    """End this process when the one that started it is gone, even in the middle of a cell."""
    while os.getppid() == parent:
        time.sleep(WATCH_SECONDS)
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main())
