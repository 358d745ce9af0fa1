"""Training tasks spread over the rare ill-conditioned ones, with the weights that make up for it."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch

from benchmarks.tasks.importance import stretched, stretches_to
from benchmarks.tasks.randomness import make_generator
from benchmarks.tasks.stream import StandIn
from memformer.core.problem import Problem, TaskSource

_KEY = 2
"""Last number of the generator's key; a stream's tasks and noise have 0 and 1."""


class SpreadStream(StandIn):
    """A stream whose contexts are stretched (see `benchmarks.tasks.importance`): a `memformer.core.problem.TaskSource`.

    Args:
        plain: the stream; its covariates are Gaussian, and its tasks share one second moment.
        width: the largest factor on a largest eigenvalue, 1 or more.
        seed: of the factors.
        purpose: number of the stream's purpose.
    """

    def __init__(self, plain: TaskSource, width: float, seed: int, purpose: int) -> None:
        super().__init__(plain)
        self._width, self._generator = width, make_generator(seed, purpose, _KEY)

    def validation(self) -> TaskSource:
        """Spread likewise."""
        return self._stream.validation().spread(self._width)

    def sample(self, batch: int) -> Problem:
        """The next tasks, with `weights`."""
        problem = self._stream.sample(batch)
        plain = problem.X.cpu().double().numpy()
        covariance = self.second_moment.cpu().double().numpy()
        X, weights = stretched(plain, covariance, self._generator, stretches_to(self._width))
        change = torch.from_numpy(np.ascontiguousarray(X - plain)).to(problem.X)
        y = problem.y
        if problem.w_star is not None:
            y = y + (change @ problem.w_star[..., None])[..., 0]
        return dataclasses.replace(problem, X=problem.X + change, y=y, weights=torch.from_numpy(weights).to(problem.X))
