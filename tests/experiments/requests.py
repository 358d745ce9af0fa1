"""A request as the command line makes it, with nobody to tell."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.experiments.experiment import Request


class Silent:
    """Counts what it is told of."""

    done = 0

    def start(self, title: str, total: int) -> None:
        self.left = total

    def advance(self, piece: str) -> None:
        self.left -= 1
        self.done += 1


def asked(results: Path = Path("nowhere"), jobs: int = 1, **other: Any) -> Request:
    """A request that no suite runs for."""

    def none(*_: object) -> Any:
        raise AssertionError("no suite is to be run")

    return Request(
        **{"results": results, "quick": False, "only": (), "progress": Silent(), "run_suite": none, **other}, jobs=jobs
    )
