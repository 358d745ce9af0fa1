"""What the harness costs a cell beyond the solver's own work: many cells whose solver has next to nothing to do.

    python -m benchmarks.studies.overhead

The whole scores pass is timed, from the suite to the written tables, and what is spent in `Solver.solve` is taken off.
What is left is split into evaluation (drawing tasks, metrics, statistics, floors) and bookkeeping (building cells,
their keys, keeping finished cells, reading them back, writing tables). The floor of a law, computed once, is not in it.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any
from unittest.mock import patch

from baselines.gradient import GradientDescent
from benchmarks.harness import executor
from benchmarks.harness.run import run_suite
from benchmarks.progress import _Lines
from benchmarks.suite import Suite


class Clock:
    """Seconds spent inside a function."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def on(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, with a clock on it."""

        def timed(*arguments: Any, **named: Any) -> Any:
            start = time.perf_counter()
            try:
                return function(*arguments, **named)
            finally:
                self.seconds += time.perf_counter() - start

        return timed


def main() -> None:
    """Measure and print milliseconds a cell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, default=200)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        _measure(Path(folder), "warm-up", 2)
        figures = [_measure(Path(folder), f"run{number}", arguments.cells) for number in range(arguments.repeats)]
    names = ("solver", "evaluation", "bookkeeping", "all but the solver")
    for name, values in zip(names, zip(*figures, strict=True), strict=True):
        spread = f"median of {len(values)}; {min(values):.2f} to {max(values):.2f}"
        print(f"{name:<20} {median(values):6.2f} ms a cell ({spread})")


def _measure(folder: Path, name: str, cells: int) -> tuple[float, float, float, float]:
    """Milliseconds a cell in the solver, in evaluation, in bookkeeping, and in the last two."""
    suite = Suite.model_validate(
        {
            "schema": 1,
            "name": "overhead",
            "steps": [1],
            "seeds": [0],
            "scores": {"tasks": 100},
            "timings": None,
            "tasks": [{"law": "isotropic", "d": 3, "N": 8}],
            "solvers": [{"name": "gradient_descent", "params": {"eta": 0.1 / (1 + number)}} for number in range(cells)],
        }
    )
    solving, performing = Clock(), Clock()
    with (
        patch.object(GradientDescent, "solve", solving.on(GradientDescent.solve)),
        patch.object(executor, "perform", performing.on(executor.perform)),
        patch.object(executor, "WORTH_PROCESSES", cells + 1),
    ):
        start = time.perf_counter()
        run_suite(suite, folder, None, ["overhead"], _Lines(), name)
        whole = time.perf_counter() - start
    parts = solving.seconds, performing.seconds - solving.seconds, whole - performing.seconds, whole - solving.seconds
    return tuple(1000 * seconds / cells for seconds in parts)  # type: ignore[return-value]


if __name__ == "__main__":
    main()
