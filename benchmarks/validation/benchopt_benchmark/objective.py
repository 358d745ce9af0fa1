"""What a point is: the mean losses of the scored tasks after some number of steps, by the metrics of a run."""

from __future__ import annotations

from typing import Any

from benchopt import BaseObjective

from benchmarks.api import METRICS


class Objective(BaseObjective):
    """Mean losses over tasks."""

    name = "mean losses"
    parameters = {"steps": [(1,)]}

    def set_data(self, problem: Any) -> None:
        """Keep the scored tasks, and what a solver may see of them."""
        self.problem, self.blind = problem, problem.blinded()

    def get_objective(self) -> dict[str, Any]:
        """What a solver is told."""
        return {"problem": self.blind, "steps": self.steps}

    def evaluate_result(self, trace: Any, steps: list[int]) -> list[dict[str, float]]:
        """A row for each of these numbers of steps, whose iterates the trace holds in this order."""
        losses = {name: METRICS[name].load()(self.problem, trace).mean(-1).tolist() for name in METRICS}
        return [{"steps": step, **{name: losses[name][row] for name in losses}} for row, step in enumerate(steps)]
