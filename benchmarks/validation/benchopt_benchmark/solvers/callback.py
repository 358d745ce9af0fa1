"""Solved once, and benchopt is called back after each step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmark_utils import FixedStep, OnlyWanted


class Solver(FixedStep):
    """Gradient descent with one fixed step."""

    name = "callback"
    sampling_strategy = "callback"
    stopping_criterion = OnlyWanted()

    def run(self, call_back: Callable[[], bool]) -> None:
        """Solve."""
        self.step, self.trace = 0, self.solver.solve(self.problem, self.steps[-1])
        while call_back() and self.step < self.steps[-1]:
            self.step += 1

    def get_result(self) -> dict[str, Any]:
        """The iterates after the steps so far."""
        return self.told(self.step)
