"""Processes that are there at once: copies of one that has imported torch and this project, and has done nothing since.

A process takes two to five seconds to start, and few tests are about that.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
import threading
import time
import weakref
from collections.abc import Mapping, Sequence
from multiprocessing import active_children, forkserver, get_context, reduction
from pathlib import Path
from typing import IO, Any

ROOT = Path(__file__).parents[1]

_CONTEXT = get_context("forkserver")
_CONTEXT.set_forkserver_preload(["benchmarks.harness.workers.cells", "benchmarks.entries.inside", __name__])

_ONE_ASKS = threading.Lock()
"""`multiprocessing` lets no two threads ask whether a process has ended."""


class Ready:
    """Stands for a `subprocess.Popen` of `python -m MODULE WORDS` with pipes.

    Args:
        line: the command.
        stderr: whether there is a pipe for standard error too.
        env: of the process; None for that of the tests.
    """

    def __init__(
        self, line: Sequence[str], *, stderr: int = 0, env: Mapping[str, str] | None = None, **_: object
    ) -> None:
        module, *words = line[line.index("-m") + 1 :]
        (given, asks), (answers, said), *more = (os.pipe() for _ in range(3 if stderr else 2))
        ends = [given, said, *(noted for _, noted in more)]
        told = (module, words, None if env is None else dict(env), os.getcwd(), [_End(end) for end in ends])
        with _ONE_ASKS:
            with contextlib.chdir(ROOT):
                forkserver.ensure_running()
            self._process = _CONTEXT.Process(target=_be, args=told, daemon=True)
            self._process.start()
        for end in ends:
            os.close(end)
        assert self._process.pid is not None
        self.pid: int = self._process.pid
        self.stdin: IO[bytes] = os.fdopen(asks, "wb")
        self.stdout: IO[bytes] = os.fdopen(answers, "rb")
        self.stderr: IO[bytes] | None = os.fdopen(more[0][0], "rb") if more else None
        weakref.finalize(self, _close, [pipe for pipe in (self.stdin, self.stdout, self.stderr) if pipe is not None])

    def poll(self) -> int | None:
        with _ONE_ASKS:
            return self._process.exitcode

    @property
    def returncode(self) -> int | None:
        return self.poll()

    def wait(self) -> int:
        while (code := self.poll()) is None:
            time.sleep(0.002)
        return code

    def kill(self) -> None:
        with _ONE_ASKS:
            self._process.kill()


def _close(pipes: list[IO[bytes]]) -> None:
    """Of a process that nobody closed, such as that of a Dask worker within the tests."""
    for pipe in pipes:
        with contextlib.suppress(OSError):
            pipe.close()


class _End:
    """An end of a pipe, sent to a process that is being started; there it is a number."""

    def __init__(self, number: int) -> None:
        self._number = number

    def __reduce__(self) -> tuple[Any, ...]:
        return _arrived, (reduction.DupFd(self._number),)


def _arrived(end: Any) -> int:
    return end.detach()


def _be(module: str, words: list[str], env: dict[str, str] | None, folder: str, ends: list[int]) -> None:
    """Be such a process."""
    for number, end in enumerate(ends):
        os.dup2(end, number)
        os.close(end)
    os.chdir(folder)
    if env is not None:
        os.environ.clear()
        os.environ.update(env)
    sys.argv = [module, *words]
    sys.exit(importlib.import_module(module).main())


def stop() -> None:
    """End what still runs, which keeps it alive, and the process that all are copies of."""
    for left in active_children():
        left.kill()
    forkserver._forkserver._stop()  # type: ignore[attr-defined]
