"""Progress of a run: a bar on a terminal, a line for each pass elsewhere."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from benchmarks.harness.passes import Progress
from benchmarks.reports.escape import plain
from memformer.training.recipe import Progress as Training
from memformer.training.recipe import ProgressCallback


@contextmanager
def make_progress() -> Iterator[Progress]:
    """Progress on standard error: bars if that is a terminal, else one line when a pass begins and ends."""
    console = Console(stderr=True)
    if not console.is_terminal:
        lines = _Lines()
        yield lines
        lines.finish()
        return
    columns = ("{task.description}", BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Bar(*columns, TextColumn("{task.fields[piece]}", style="dim", markup=False), console=console) as bar:
        yield _Bars(bar)


@contextmanager
def training_progress(every: float = 10.0) -> Iterator[ProgressCallback]:
    """Progress inside a long fit on standard error: a bar on a terminal, elsewhere a line now and then.

    Args:
        every: seconds between two lines.
    """
    console, last = Console(stderr=True), time.perf_counter()

    def line(point: Training) -> None:
        nonlocal last
        if time.perf_counter() - last >= every:
            last = time.perf_counter()
            print(f"training: {point.done} of {point.total} steps, {_reached(point)}", file=sys.stderr, flush=True)

    if not console.is_terminal:
        yield line
        return
    columns = ("training", BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Bar(*columns, TextColumn("{task.fields[piece]}", style="dim"), console=console, transient=True) as bar:
        task = bar.add_task("training", total=None, piece="")
        yield lambda point: bar.update(task, completed=point.done, total=point.total, piece=_reached(point))


def _reached(point: Training) -> str:
    return f"log validation loss {math.log(point.loss):.3f}" if 0 < point.loss < math.inf else "no finite loss yet"


class _Bars:
    def __init__(self, bar: Bar) -> None:
        self._bar = bar
        self._task = None

    def start(self, title: str, total: int) -> None:
        self._task = self._bar.add_task(title, total=total, piece="")

    def advance(self, piece: str) -> None:
        assert self._task is not None
        self._bar.update(self._task, advance=1, piece=plain(piece))


class _Lines:
    def __init__(self) -> None:
        self._title = ""
        self._done = 0
        self._start = 0.0

    def start(self, title: str, total: int) -> None:
        self.finish()
        self._title, self._done, self._start = title, 0, time.perf_counter()
        print(f"{title}: {total} to do", file=sys.stderr, flush=True)

    def advance(self, piece: str) -> None:
        self._done += 1

    def finish(self) -> None:
        if self._title:
            seconds = time.perf_counter() - self._start
            print(f"{self._title}: {self._done} done in {seconds:.1f} s", file=sys.stderr, flush=True)
