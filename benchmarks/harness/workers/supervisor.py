"""A worker process under supervision: ended when it exceeds a limit, replaced when it is lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from typing import Any, Literal

import cloudpickle
import psutil

from benchmarks.harness.workers.process import DONE, FREED, RAISED, READY, Task, receive, send

LOOK_SECONDS = 0.02
"""So often the memory of a worker is looked at."""

NO_LIMIT = float("inf")


class Ended(Exception):
    """The worker process is gone.

    Attributes:
        status: the limit that it exceeded; `"error"` if it was lost for a reason outside of the task.
        what: a sentence without its end.
        how: the end.
    """

    def __init__(self, status: Literal["time_limit", "memory_limit", "error"], what: str, how: str = "") -> None:
        super().__init__(what + how)
        self.status: Literal["time_limit", "memory_limit", "error"] = status
        self.what, self.how = what, how


class Worker:
    """One worker process at a time, started when first needed; a task that ends it costs no other task anything.

    Args:
        preload: a module that the process imports before limits of its first task begin.
    """

    def __init__(self, preload: str = "") -> None:
        self._preload = preload
        self._process: subprocess.Popen[bytes] | None = None
        self._deadline = self._memory = NO_LIMIT
        self._broken: Ended | None = None
        self._lock = threading.Lock()
        self._closed = False

    @property
    def started(self) -> bool:
        """Whether there is a process; the next task gets a new one if not."""
        return self._process is not None

    def carry_out(self, task: Task, seconds: float = NO_LIMIT, memory: float = NO_LIMIT) -> Any:
        """What a task returns.

        Args:
            task: what to do.
            seconds: after which the process is ended.
            memory: GB that the process may hold.

        Raises:
            Ended: if the process exceeded a limit or was lost; the next task gets another one.
            Exception: whatever the task raised, with the worker's traceback in a note.
        """
        request = cloudpickle.dumps(task)
        try:
            kind, content = self._ask(request, seconds, memory)
        except Ended:
            self._stop()
            raise
        answer = cloudpickle.loads(content)
        if kind == RAISED:
            raise answer
        return answer

    def restart(self) -> None:
        """End the process; the next task gets another one."""
        self._stop()

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

    def _ask(self, request: bytes, seconds: float, memory: float) -> tuple[bytes, bytes]:
        process = self._process or self._start()
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            self._limit(time.monotonic() + seconds, memory)
            self._broken = None
            send(process.stdin, b"q", request)
            while True:
                kind, content = receive(process.stdout)
                if kind == FREED:
                    self._limit(NO_LIMIT, self._memory)
                elif kind in (DONE, RAISED):
                    return kind, content
        except (EOFError, OSError, ValueError):
            raise self._why() from None
        finally:
            self._limit(NO_LIMIT, NO_LIMIT)

    def _limit(self, deadline: float, memory: float) -> None:
        with self._lock:
            self._deadline, self._memory = deadline, memory

    def _why(self) -> Ended:
        """Why the process is gone."""
        if self._broken is not None:
            return self._broken
        code = None if self._process is None else self._process.wait()
        if code is not None and code >= 0:
            return Ended("error", "its worker process was lost", f", ended with status {code}")
        how = "" if code is None else f", ended by {signal.Signals(-code).name}"
        return Ended("error", "its worker process was lost", f"{how}; perhaps for want of memory")

    def _start(self) -> subprocess.Popen[bytes]:
        """A new process, ready to be asked."""
        if self._closed:
            raise Ended("error", "nobody waits for it any more")
        path = os.pathsep.join(entry or os.getcwd() for entry in sys.path)
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "benchmarks.harness.workers.process", *filter(None, [self._preload])],
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
            raise Ended("error", "its worker process could not be started")
        self._broken = None  # that of the process before would end this one too
        threading.Thread(target=self._watch, args=(process,), daemon=True).start()
        return process

    def _watch(self, process: subprocess.Popen[bytes]) -> None:
        """End a process that is past its limits."""
        while process.poll() is None:
            with self._lock:
                if time.monotonic() > self._deadline:
                    self._broken = Ended("time_limit", "did not stop at its time limit; its worker process was ended")
                elif self._memory < NO_LIMIT and (held := memory_held(process.pid)) > self._memory:
                    reason = f"held {held:.3g} GB, its limit is {self._memory:g} GB; its worker process was ended"
                    self._broken = Ended("memory_limit", reason)
                if self._broken is not None and process is self._process:
                    process.kill()
            time.sleep(LOOK_SECONDS)


def memory_held(process: int) -> float:
    """GB of memory that a process holds (resident); 0 if it is gone."""
    try:
        return psutil.Process(process).memory_info().rss / 1e9
    except psutil.NoSuchProcess:
        return 0.0
