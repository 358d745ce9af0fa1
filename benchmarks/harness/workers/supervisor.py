"""A worker process under supervision: ended when it exceeds a limit, replaced when it is lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import cloudpickle

from benchmarks.errors import UserError
from benchmarks.harness.cell import CellResult
from benchmarks.harness.scores.table import Scored, summarised
from benchmarks.harness.workers.process import DONE, READY, REFUSED, SOLVED, Job, receive, send
from benchmarks.runs.schema import Status

GRACE = 2.0
"""Seconds that a cell has to obey its time limit before its worker is ended."""

LOOK_SECONDS = 0.02
"""So often the memory of a worker is looked at."""

MEMORY_KNOWN = Path("/proc/self/statm").exists()
"""Whether the memory of another process can be read here."""


class _Ended(Exception):
    """The worker is gone: by a limit (`status`), or else for a reason outside of the cell."""

    def __init__(self, status: Status, reason: str) -> None:
        super().__init__(reason)
        self.status: Status = status
        self.reason = reason


class Worker:
    """One worker process at a time, started when first needed; a cell that ends it costs no other cell anything."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._deadline = float("inf")
        self._memory = float("inf")
        self._broken: tuple[Status, str] | None = None
        self._lock = threading.Lock()
        self._closed = False

    def score(self, job: Job) -> Scored:
        """Compute a cell, once more in a new process if the first is lost; a limit that is exceeded becomes a row.

        Raises:
            UserError: if workers cannot compute it at all.
        """
        request = cloudpickle.dumps(job)
        ended = _Ended("error", "")
        for _ in range(2):
            fresh = self._process is None
            try:
                return cloudpickle.loads(self._ask(job, request))
            except _Ended as error:
                ended = error
                self._stop()
            # Memory that cells before it left behind is not the fault of this one.
            if ended.status == "time_limit" or (ended.status == "memory_limit" and fresh):
                break
        lost = ended.status == "error"
        return summarised(CellResult(job.cell, status=ended.status, reason=ended.reason, lost=lost))

    def close(self) -> None:
        """End the process for good."""
        self._closed = True
        self._stop()

    def _stop(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                with suppress(OSError, AttributeError):
                    pipe.close()  # type: ignore[union-attr]

    def _ask(self, job: Job, request: bytes) -> bytes:
        process = self._process or self._start()
        assert process.stdin is not None
        assert process.stdout is not None
        cell = job.cell
        try:
            self._limit(time.monotonic() + cell.time_limit + GRACE, cell.memory_limit or float("inf"))
            self._broken = None
            send(process.stdin, b"q", request)
            while True:
                kind, content = receive(process.stdout)
                if kind == SOLVED:
                    self._limit(float("inf"), self._memory)
                elif kind == REFUSED:
                    raise UserError(content.decode())
                elif kind == DONE:
                    return content
        except (EOFError, OSError, ValueError):
            raise self._why() from None
        finally:
            self._limit(float("inf"), float("inf"))

    def _limit(self, deadline: float, memory: float) -> None:
        with self._lock:
            self._deadline, self._memory = deadline, memory

    def _why(self) -> _Ended:
        """Why the process is gone."""
        if self._broken is not None:
            return _Ended(*self._broken)
        code = None if self._process is None else self._process.wait()
        how = f"ended by {signal.Signals(-code).name}" if code and code < 0 else f"ended with status {code}"
        return _Ended("error", f"its worker process was lost twice, {how}; perhaps for want of memory")

    def _start(self) -> subprocess.Popen[bytes]:
        """A new process, ready to be asked."""
        if self._closed:
            raise _Ended("error", "nobody waits for it any more")
        path = os.pathsep.join(entry or os.getcwd() for entry in sys.path)
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "benchmarks.harness.workers.process"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": path},
        )
        self._process = process
        assert process.stdout is not None
        try:
            kind, _ = receive(process.stdout)
        except EOFError:
            kind = b""
        if kind != READY:
            self._stop()
            raise _Ended("error", "its worker process could not be started twice")
        threading.Thread(target=self._watch, args=(process,), daemon=True).start()
        return process

    def _watch(self, process: subprocess.Popen[bytes]) -> None:
        """End a process that is past its limits."""
        while process.poll() is None:
            with self._lock:
                if time.monotonic() > self._deadline:
                    self._broken = ("time_limit", "did not stop at its time limit; its worker process was ended")
                elif self._memory < float("inf") and (held := memory_held(process.pid)) > self._memory:
                    reason = f"held {held:.3g} GB, its limit is {self._memory:g} GB; its worker process was ended"
                    self._broken = ("memory_limit", reason)
                if self._broken is not None and process is self._process:
                    process.kill()
            time.sleep(LOOK_SECONDS)


def memory_held(process: int) -> float:
    """GB of memory that a process holds (resident); 0 if it is gone."""
    try:
        return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e9
    except (OSError, IndexError, ValueError):
        return 0.0
