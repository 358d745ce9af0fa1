"""Solved anew for each number of steps: the way in which benchopt samples iterations."""

from __future__ import annotations

from typing import Any

from benchmark_utils import FixedStep, OnlyWanted


class Solver(FixedStep):
    """Gradient descent with one fixed step."""

    name = "a run each"
    sampling_strategy = "iteration"
    stopping_criterion = OnlyWanted()

    def run(self, step: int) -> None:
        """Solve."""
        self.step, self.trace = step, self.solver.solve(self.problem, step)

    def get_result(self) -> dict[str, Any]:
        """The last iterates."""
        return self.told(self.step)
