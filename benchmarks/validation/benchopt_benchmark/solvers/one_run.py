"""Solved once, and that run is told as a row for each number of steps."""

from __future__ import annotations

from typing import Any

from benchmark_utils import FixedStep


class Solver(FixedStep):
    """Gradient descent with one fixed step."""

    name = "one run"
    sampling_strategy = "run_once"

    def run(self, _: Any) -> None:
        """Solve."""
        self.trace = self.solver.solve(self.problem, self.steps[-1])

    def get_result(self) -> dict[str, Any]:
        """The iterates after all wanted numbers of steps."""
        return self.told(*self.steps)
