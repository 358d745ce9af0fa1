"""Protocols: what a solver is fitted on, what it may adapt to, and what it never sees."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from benchmarks.harness.fitting import Fit, ParameterStore
from benchmarks.tasks.law import Law, Purpose
from memformer.problem import Prior, Problem, TaskSource

if TYPE_CHECKING:
    from benchmarks.harness.cell import Cell


@lru_cache(maxsize=8)
def scored_tasks(law: Law, seed: int, count: int, dtype: torch.dtype, device: torch.device) -> Problem:
    """The scored tasks of a law under a seed: the same for every solver, never a training task."""
    return law.stream(seed, Purpose.SCORE, dtype, device).sample(count)


def fit_under_protocol(cell: Cell, scored: Sequence[Problem], store: ParameterStore) -> Fit:
    """Fit a cell's solver as its protocol says.

    `held_out`: on training streams of the law (or of the one that the suite names), which share no random number with
    the scored tasks. `transductive`: on the scored tasks, query labels included. `context_adapted`: on training
    streams, then adapted to the scored tasks as a solver may see them, context without labels of the query.

    Args:
        cell: with its protocol.
        scored: the scored tasks of each seed.
        store: of parameters fitted on training streams.

    Raises:
        ValueError: if the solver cannot be used under the protocol.
    """
    if cell.protocol == "transductive":
        if not cell.solver.trains:
            raise ValueError(f"{cell.solver_name} learns nothing, so it cannot be fitted on the scored tasks")
        start = time.perf_counter()
        streams = [cell.law.stream(seed, Purpose.TRAIN, cell.dtype, cell.device) for seed in cell.seeds]
        sources = [ScoredTasks(stream, problem) for stream, problem in zip(streams, scored, strict=True)]
        return Fit(cell.solver.fit_many(sources, cell.steps, cell.seeds), time.perf_counter() - start, reused=False)
    fit = store.fit(cell.solver_name, cell.solver, cell.fitted_on, cell.steps, cell.seeds, cell.dtype, cell.device)
    if cell.protocol == "context_adapted":
        adapted = [solver.adapt(problem.blinded()) for solver, problem in zip(fit.solvers, scored, strict=True)]
        return Fit(adapted, fit.seconds, fit.reused)
    return fit


class ScoredTasks:
    """The scored tasks posing as a stream of training tasks: a `memformer.problem.TaskSource` for `transductive`.

    It gives what was fitted on in the figures that did so, contexts and query labels, again and again in the same
    order; not the true weights. What is known of the law, `law`, a stream of it, tells.
    """

    def __init__(self, law: TaskSource, problem: Problem) -> None:
        self._law = law
        self._problem = Problem(problem.X, problem.y, problem.x_query, problem.y_query, noise_var=problem.noise_var)
        self._next = 0

    @property
    def d(self) -> int:
        """Covariate dimension."""
        return self._problem.d

    @property
    def N(self) -> int:
        """Context length."""
        return self._problem.N

    @property
    def noise_var(self) -> float:
        """Variance of the label noise."""
        return self._law.noise_var

    @property
    def second_moment(self) -> Tensor:
        """`E[x x^T]` over all tasks of the law, `(d, d)`."""
        return self._law.second_moment

    def prior(self, X: Tensor) -> Prior | None:
        """See `Law.prior`."""
        return self._law.prior(X)

    def sample(self, batch: int) -> Problem:
        """The next `batch` of the scored tasks, from the first again after the last."""
        index = (torch.arange(batch, device=self._problem.device) + self._next) % self._problem.B
        self._next = (self._next + batch) % self._problem.B
        return self._problem.select(index)
