"""Least squares with a penalty on the sum of the weights' magnitudes, by scikit-learn: a loop over tasks."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch

from baselines.operations import finite_tasks
from memformer.core.checks import require_number
from memformer.core.problem import Problem
from memformer.core.solver import Needs, Solver, check_num_steps
from memformer.core.trace import Trace

try:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import lasso_path
except ImportError:
    raise ImportError("lasso needs scikit-learn; pip install 'memformer-bench[real]'") from None

MOST_SWEEPS, TOLERANCE = 100_000, 1e-7
"""Of coordinate descent: it ends after so many sweeps, or at a duality gap of so much of `||y||^2`."""


@dataclass(frozen=True)
class Lasso(Solver):
    """Minimises `||X w - y||^2 / (2 N) + penalty ||w||_1` by coordinate descent, task after task, in float64.

    Attributes:
        penalty: on the sum of magnitudes, more than 0, in units of x times y.

    Needs: nothing but the context (the penalty is chosen beforehand); solves directly.
    Cost: `O(N d)` a sweep, up to 100,000 sweeps where N < d; and Python's overhead for each task.
    Guarantee: the minimiser to a duality gap of 1e-7 of `||y||^2`; where that takes more sweeps, the last iterate.
    Source: Tibshirani 1996; scikit-learn's `lasso_path`.

    Example:
        >>> problem = Problem(torch.eye(2)[None], torch.tensor([[1.0, 0.1]]), torch.ones(1, 1, 2))
        >>> Lasso(penalty=0.25).solve(problem, 1).weights[-1].tolist()
        [[0.5, 0.0]]
    """

    penalty: float = 0.01

    needs: ClassVar[Needs] = Needs.DIRECT
    batched: ClassVar[bool] = False
    countable: ClassVar[bool] = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "penalty", require_number("penalty", self.penalty, least=0.0, strictly=True))

    def solve(self, problem: Problem, num_steps: int) -> Trace:
        check_num_steps(num_steps)
        X, y = (part.detach().cpu().double().numpy() for part in (problem.X, problem.y))
        weights = np.full((problem.B, problem.d), np.nan)
        options = {"alphas": [self.penalty], "tol": TOLERANCE, "max_iter": MOST_SWEEPS}
        with warnings.catch_warnings(action="ignore", category=ConvergenceWarning):
            for i in np.flatnonzero(finite_tasks(problem.X, problem.y).cpu().numpy()):
                weights[i] = lasso_path(X[i], y[i], **options)[1][:, 0]
        return Trace.direct(torch.from_numpy(weights).to(problem.X), num_steps)
