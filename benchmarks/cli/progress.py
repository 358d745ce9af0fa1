"""Progress of a run: a bar on a terminal, a line for each pass elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from benchmarks.harness.passes import Progress
from benchmarks.reports.escape import plain


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
