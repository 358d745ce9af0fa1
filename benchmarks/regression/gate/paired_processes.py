"""The two sides of a comparison, a process for each tree, on the same CPU where the system can pin them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, NamedTuple

from benchmarks.errors import UserError

SIDE = Path(__file__).with_name("side_process.py")

MOST_LANES = 4
"""Pairs of processes at a time: each holds about 1.3 GB."""

_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


class Process:
    """A side process: ask it something, and it answers.

    Args:
        tree: whose code it runs.
        cpu: that it is pinned to when it is asked to; None: to none.
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
        self._read()

    def ask(self, do: str, **what: Any) -> dict[str, Any]:
        """The answer; one with `lacks` or `error` says why there is none."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps({"do": do, **what}) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # what it said last is in its standard error
        return self._read()

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

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self._process.wait()
            self._said.seek(0)
            said = self._said.read().strip().splitlines()
            reason = said[-1] if said else f"exit status {self._process.returncode}"
            raise UserError(f"the benchmark process of {self.tree.name} ended: {reason}")
        return json.loads(line)


class Pair(NamedTuple):
    """Base and head."""

    base: Process
    head: Process

    def each(self, base: dict[str, Any], head: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """Ask both at the same time."""
        with ThreadPoolExecutor(2) as pool:
            asked = [pool.submit(process.ask, **what) for process, what in zip(self, (base, head), strict=True)]
            try:
                return asked[0].result(), asked[1].result()
            except BaseException:
                for process in self:  # the pool would wait for their answers
                    process.kill()
                raise


@contextmanager
def started(base: Path, head: Path, cpu: int | None, plugins: Sequence[str] = (), pair: int = 0) -> Iterator[Pair]:
    """A fresh pair of side processes.

    Args:
        base: a tree.
        head: the checkout.
        cpu: see `Process`.
        plugins: as a person names them, from the checkout.
        pair: its number, which gives the seed of both sides' hashes.
    """
    theirs = [plugins_of(tree, head, plugins) for tree in (base, head)]
    with Process(base, cpu, theirs[0], pair) as one, Process(head, cpu, theirs[1], pair) as other:
        for process in (one, other):
            process.wait()
        yield Pair(one, other)


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
    """CPUs that pairs may be pinned to, at most `MOST_LANES`; none where the system cannot pin, or refuses to."""
    try:
        allowed = os.sched_getaffinity(0)
        os.sched_setaffinity(0, allowed)
    except (AttributeError, OSError):
        return []
    return sorted(allowed)[-MOST_LANES:]
