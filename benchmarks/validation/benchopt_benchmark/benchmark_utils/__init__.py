"""What the three solvers share: they are one method, called in three ways."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from benchopt import BaseSolver
from benchopt.stopping_criterion import NoCriterion

from benchmarks.api import solver


class OnlyWanted(NoCriterion):
    """Begins at the first wanted number of steps. Those of benchopt begin at none, which would be one point more."""

    def init_stop_val(self) -> int:
        """The first number of steps."""
        super().init_stop_val()
        return self.solver.steps[0]


class FixedStep(BaseSolver):
    """Gradient descent of the registry, with one fixed step."""

    parameters = {"eta": [0.1]}

    def set_objective(self, problem: Any, steps: tuple[int, ...]) -> None:
        """Keep the tasks."""
        self.problem, self.steps, self.solver = problem, list(steps), solver("gradient_descent", eta=self.eta)

    def get_next(self, step: int) -> int:
        """The next wanted number of steps."""
        return next((later for later in self.steps if later > step), step)

    def told(self, *steps: int) -> dict[str, Any]:
        """The iterates after these numbers of steps."""
        return {"trace": replace(self.trace, weights=self.trace.weights[list(steps)]), "steps": list(steps)}
