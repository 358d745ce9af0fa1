"""A box: a process that sees Python, its libraries, `memformer` and one file, and can write to a scratch folder alone.

It has no network, no environment, no other process, nothing of `benchmarks`, `baselines` or the folder it is started
from. Linux alone has what it takes, by bubblewrap (Debian's package of that name).
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from importlib.util import find_spec
from math import inf
from pathlib import Path
from typing import IO, Any

import psutil
from torch import Tensor

from benchmarks.entries import wire
from benchmarks.errors import UserError, printable

PROGRAM = "bwrap"
SYSTEM = ("/usr", "/bin", "/lib", "/lib32", "/lib64", "/etc/ld.so.cache", "/etc/alternatives")
SCRATCH_BYTES = 2**28
"""That it may write, and hold as shared memory."""

MOST_PROCESSES = 64
LOOK_SECONDS = 0.05
SEND_SECONDS = 60.0
PATIENCE = 10.0
"""So many times its seconds of the processor an entry may take by the clock: the machine may be busy with others."""

_ENVIRONMENT = {"PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1", "NUMBA_DISABLE_JIT": "1"}

HIDDEN = ("benchmarks", "baselines")
"""Packages that are not there even if they are installed beside what is."""


class BoxError(Exception):
    """What an entry did, or could not do; says so in a sentence."""


def available() -> bool:
    """Whether there is a box on this machine: the program, and a kernel that lets it make one."""
    return _works(PROGRAM)


@cache
def _works(program: str) -> bool:
    if sys.platform != "linux" or shutil.which(program) is None:
        return False
    words = [program, "--unshare-all", "--ro-bind", "/", "/", "--proc", "/proc", "--dev", "/dev", "true"]
    return subprocess.run(words, capture_output=True, check=False).returncode == 0


def require() -> None:
    """Raise UserError unless there is a box on this machine."""
    if not available():
        raise UserError(
            "an entry is run in a box by bubblewrap, which this machine lacks or does not allow (Debian: apt install "
            "bubblewrap); --unsafe runs it without one, with all that you may do"
        )


def command(file: Path, isolated: bool) -> list[str]:
    """The command line that starts an entry's process.

    Args:
        file: of the entry.
        isolated: whether in a box; otherwise it can do whatever this user can.
    """
    here, package = Path(__file__).parent, Path(str(find_spec("memformer").origin)).parent  # type: ignore[union-attr]
    if not isolated:
        return [sys.executable, str(here / "inside.py"), str(file)]
    prefixes = dict.fromkeys(str(Path(prefix).resolve()) for prefix in (sys.base_prefix, sys.prefix))
    seen = [path for path in (*SYSTEM, *prefixes) if Path(path).exists()]
    words = [shutil.which(PROGRAM) or PROGRAM, "--unshare-all", "--die-with-parent", "--new-session", "--clearenv"]
    words += ["--cap-drop", "ALL"]
    words += ["--proc", "/proc", "--dev", "/dev", "--chdir", "/tmp"]
    for path in ("/dev/shm", "/tmp"):
        words += ["--size", str(SCRATCH_BYTES), "--tmpfs", path]
    for path in seen:
        words += ["--ro-bind", path, path]
    hidden = [str(path) for path in _installed(seen)]
    for path in hidden:
        words += ["--size", "4096", "--tmpfs", path]
    words += ["--ro-bind", str(package), "/box/memformer"]
    words += [part for name in ("inside.py", "wire.py") for part in ("--ro-bind", str(here / name), f"/box/{name}")]
    words += ["--ro-bind", str(file.resolve()), f"/entry/{file.name}"]
    for path in (*hidden, "/dev", "/"):
        words += ["--remount-ro", path]
    for name, value in {"HOME": "/tmp", "PYTHONPATH": "/box", **_ENVIRONMENT}.items():
        words += ["--setenv", name, value]
    python = Path(sys.executable)  # its folder is where the box has it, and it the one that knows its environment
    return [*words, str(python.parent.resolve() / python.name), "/box/inside.py", f"/entry/{file.name}"]


def _installed(seen: Sequence[str]) -> Iterator[Path]:
    """Folders of the hidden packages within what the box sees."""
    for folder in map(Path, sys.path):
        for name in HIDDEN:
            if (folder / name).is_dir() and any(folder.resolve().is_relative_to(path) for path in seen):
                yield (folder / name).resolve()


class Box:
    """One process of an entry, asked and answering.

    Args:
        file: of the entry.
        name: of its class, where the file has several.
        isolated: whether in a box.
        memory: GB that its processes may hold.

    Raises:
        BoxError: if the file cannot be loaded.
        UserError: if there is no box on this machine, and one is asked for.
    """

    def __init__(self, file: Path, name: str = "", isolated: bool = True, memory: float = 4.0) -> None:
        if isolated:
            require()
        self._process = subprocess.Popen(
            [*command(file, isolated), name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            # nor has bubblewrap another: it is process 1 in the box, whose environment can be read there
            env=_ENVIRONMENT if isolated else {**_ENVIRONMENT, "PYTHONPATH": str(Path(__file__).parents[2])},
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        self._asks: IO[bytes] = self._process.stdin
        self._answers: IO[bytes] = self._process.stdout
        self._said = b""
        self._ended_for = ""
        self._limits: tuple[float, float, float] | None = None
        self._used = 0.0
        self._listener = threading.Thread(target=self._listen, args=(self._process.stderr,), daemon=True)
        self._listener.start()
        threading.Thread(target=self._watch, args=(memory,), daemon=True).start()
        try:
            self.traits = self.receive(seconds=60.0)[0]
        except BoxError:
            self.close()
            raise

    def __enter__(self) -> Box:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def send(self, words: dict[str, Any], tensors: dict[str, Tensor] | None = None) -> None:
        """Ask.

        Raises:
            BoxError: if nobody is there, or listens.
        """
        try:
            with self._within(SEND_SECONDS):
                wire.send(self._asks, words, tensors)
        except (BrokenPipeError, ValueError):
            raise self._gone() from None

    def receive(self, seconds: float, until: float = inf) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """What it answers, or asks.

        Args:
            seconds: of the processor that it may take.
            until: when it must have answered, by the monotonic clock; `PATIENCE` bounds that too.

        Raises:
            BoxError: if it raised, took longer, or is gone.
        """
        try:
            with self._within(seconds, until):
                words, tensors = wire.receive(self._answers)
        except EOFError:
            raise self._gone() from None
        except wire.NoMessage as error:
            raise BoxError(str(error)) from None
        if words.get("op") == "raised":
            raise BoxError(printable(str(words.get("why", ""))[:500]))
        return words, tensors

    @contextmanager
    def _within(self, seconds: float, until: float = inf) -> Iterator[None]:
        self._limits = self.used() + seconds, min(until, time.monotonic() + PATIENCE * seconds), seconds
        try:
            yield
        finally:
            self._limits = None

    def used(self) -> float:
        """Seconds of the processor that its processes have used, those that have ended included."""
        self._used = max(self._used, sum(_used(process) for process in _family(self._process.pid)))
        return self._used

    def close(self) -> None:
        """End it."""
        self._end("")
        self._listener.join()
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            assert pipe is not None
            with suppress(BrokenPipeError):
                pipe.close()

    def _end(self, why: str) -> None:
        self._ended_for = self._ended_for or why
        for process in _family(self._process.pid):
            with suppress(psutil.NoSuchProcess):
                process.kill()
        self._process.wait()

    def _gone(self) -> BoxError:
        self._process.wait()
        last = printable((self._said.decode(errors="replace").strip().splitlines() or [""])[-1])
        return BoxError(self._ended_for or last or f"its process ended with {self._process.returncode}")

    def _listen(self, stream: IO[bytes]) -> None:
        """Keep the end of what it says."""
        while part := os.read(stream.fileno(), 2**12):
            self._said = (self._said + part)[-(2**12) :]

    def _watch(self, most: float) -> None:
        while self._process.poll() is None:
            family, limits = _family(self._process.pid), self._limits
            held = sum(map(_held, family))
            if len(family) > MOST_PROCESSES:
                self._end(f"it had more than {MOST_PROCESSES} processes at once; they were ended")
            if held > most:
                self._end(f"it held {held:.3g} GB, and may hold {most:g}; its process was ended")
            if limits is not None and (self.used() > limits[0] or time.monotonic() > limits[1]):
                self._end(f"it took more than {limits[2]:g} s; its process was ended")
            threading.Event().wait(LOOK_SECONDS)


def _family(process: int) -> list[psutil.Process]:
    """A process and all that it started; it is the first, with which, a box's, the others end."""
    try:
        first = psutil.Process(process)
        return [first, *first.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _used(process: psutil.Process) -> float:
    try:
        times = process.cpu_times()
        return times.user + times.system + times.children_user + times.children_system
    except psutil.NoSuchProcess:
        return 0.0


def _held(process: psutil.Process) -> float:
    try:
        return process.memory_info().rss / 1e9
    except psutil.NoSuchProcess:
        return 0.0
