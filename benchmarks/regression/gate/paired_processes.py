"""The two sides of a comparison, a process for each tree, on the same CPU where the system can pin them."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, NamedTuple

import psutil

from benchmarks.errors import UserError

SIDE = Path(__file__).with_name("side_process.py")

MOST_LANES = 4
"""Pairs of processes at a time, at most."""

PAIR_BYTES = 1.5e9
"""That a pair may hold."""

PATIENCE = 1800.0
"""Seconds in which a process has to answer: a plug-in's training may take long, and what never ends is to be said."""

_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


class Process:
    """A side process: ask it something, and it answers.

    Args:
        tree: whose code it runs.
        cpu: that it is pinned to; None: to none.
        plugins: modules, and absolute paths of files, that it imports beside the tree. A file in the head's checkout is
            the tree's own, by `plugins_of`.
        hash_seed: orders of sets and dictionaries of strings; the two sides of a pair share it.
    """

    def __init__(self, tree: Path, cpu: int | None, plugins: Sequence[str] = (), hash_seed: int = 0) -> None:
        environment = {**os.environ, **dict.fromkeys(_THREADS, "1"), "PYTHONHASHSEED": str(hash_seed)}
        environment.pop("PYTHONPATH", None)
        self.tree = tree
        # A file, since nobody reads a pipe while the process works, and a full one would stop it.
        self._said = TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115 -- closed with the process
        self._process = subprocess.Popen(
            [sys.executable, "-B", str(SIDE), str(tree), str(-1 if cpu is None else cpu), *plugins],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            text=True,
            env=environment,
            cwd=tree,
        )

    def wait(self) -> None:
        """Wait until it has imported what it can."""
        self._read("import", {})

    def ask(self, do: str, **what: Any) -> dict[str, Any]:
        """The answer; one with `lacks` or `error` says why there is none."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps({"do": do, **what}) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # what it said last is in its standard error
        return self._read(do, what)

    def kill(self) -> None:
        """End it in the middle of what it does, for which nobody waits any more."""
        self._process.kill()

    def __enter__(self) -> Process:
        return self

    def __exit__(self, error: type[BaseException] | None, *_: object) -> None:
        if error is not None:
            self.kill()
        try:
            self._process.communicate(timeout=10)  # the end of its input is the end of its work
        except subprocess.TimeoutExpired:
            self.kill()
            self._process.communicate()
        self._said.close()

    def _read(self, do: str, what: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdout is not None
        if os.name == "posix" and not select.select([self._process.stdout], [], [], PATIENCE)[0]:
            self.kill()
            raise UserError(f"{self._who(do, what)} gave no answer in {PATIENCE:g} s")
        line = self._process.stdout.readline()
        if not line:
            status = self._process.wait()
            self._said.seek(0)
            said = [words for words in self._said.read().strip().splitlines() if words.strip()][-1:]
            how = f"by signal {-status}" if status < 0 else f"with exit status {status}"
            raise UserError(f"{self._who(do, what)} ended {how}{': '.join(['', *said])}")
        return json.loads(line)

    def _who(self, do: str, what: dict[str, Any]) -> str:
        case = what.get("case", {})
        named = what.get("key") or " on ".join(case[name] for name in ("solver", "law") if name in case)
        return f"the benchmark process of {self.tree.name}, asked for {do} {named}".rstrip()


class Pair(NamedTuple):
    """Base and head."""

    base: Process
    head: Process

    def wait(self) -> None:
        """Wait until both have imported what they can."""
        for process in self:
            process.wait()

    def kill(self) -> None:
        """End both, for whose answers nobody waits any more."""
        for process in self:
            process.kill()

    def each(self, base: dict[str, Any], head: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """Ask both at the same time."""
        with ThreadPoolExecutor(2) as pool:
            asked = [pool.submit(process.ask, **what) for process, what in zip(self, (base, head), strict=True)]
            try:
                return asked[0].result(), asked[1].result()
            except BaseException:
                self.kill()  # the pool would wait for their answers
                raise


@contextmanager
def opened(base: Path, head: Path, cpu: int | None, plugins: Sequence[str] = (), number: int = 0) -> Iterator[Pair]:
    """A fresh pair of side processes that may still import; base is the first of every other pair.

    Whichever comes first may lie otherwise in memory: were it always base, head could seem slower in a whole run.

    Args:
        base: a tree.
        head: the checkout.
        cpu: see `Process`.
        plugins: as a person names them, from the checkout.
        number: of the pair, which gives the seed of both sides' hashes and says who is first.
    """
    theirs = [plugins_of(tree, head, plugins) for tree in (base, head)]
    trees = list(zip((base, head), theirs, strict=True))
    (first, more), (second, others) = reversed(trees) if number % 2 else trees
    with Process(first, cpu, more, number) as one, Process(second, cpu, others, number) as other:
        yield Pair(other, one) if number % 2 else Pair(one, other)


@contextmanager
def started(base: Path, head: Path, cpu: int | None, plugins: Sequence[str] = ()) -> Iterator[Pair]:
    """A fresh pair of side processes that can be asked; see `opened`."""
    with opened(base, head, cpu, plugins) as pair:
        pair.wait()
        yield pair


def plugins_of(tree: Path, head: Path, plugins: Sequence[str]) -> list[str]:
    """What a tree imports for these plug-ins: its own copy of a file in the checkout, and any other file as it is now.

    A file of the checkout that the tree lacks brings nothing there: what it registers is new.
    """
    found = []
    for plugin in plugins:
        path = Path(plugin).absolute()
        if not plugin.endswith(".py"):
            found.append(plugin)
        elif not path.resolve().is_relative_to(head.resolve()):
            found.append(str(path))
        elif (own := tree / path.resolve().relative_to(head.resolve())).is_file():
            found.append(str(own))
    return found


def lanes() -> list[int]:
    """CPUs that pairs may be pinned to, as many as there is memory for; none where the system cannot pin."""
    try:
        allowed = os.sched_getaffinity(0)
        os.sched_setaffinity(0, allowed)
    except (AttributeError, OSError):
        return []
    room = int(psutil.virtual_memory().available / PAIR_BYTES)
    return sorted(allowed)[-min(MOST_LANES, max(1, room)) :]
