"""Protocols: what a solver is fitted on, what it may adapt to, and what it never sees."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache

import torch

from benchmarks.harness.cell import Cell
from benchmarks.harness.guard import Seal, checked_fit
from benchmarks.harness.scores.fitting import Fit, ParameterStore
from benchmarks.tasks.importance import Sampling
from benchmarks.tasks.law import Law, Purpose
from benchmarks.tasks.stream import StandIn
from memformer.core.problem import Problem, TaskSource
from memformer.core.solver import Solver

BLOCK_BYTES = 2**31
"""Contexts and moments of the tasks that are solved at once hold at most about this much."""

TOGETHER = 16
"""Blocks hold a multiple of so many tasks, so that cutting a batch into blocks changes no digit.

Libraries work on several small matrices at a time: 4, 8 or 16 tasks fill a vector register. A task's place within such
a group can change the order in which its numbers are summed. With a multiple of 16 tasks a block, each task keeps the
place that it has in the whole batch."""


def block_sizes(law: Law, count: int, dtype: torch.dtype) -> list[int]:
    """Numbers of tasks that are solved at once: all of them where they fit into `BLOCK_BYTES`.

    Splitting changes no score: tasks are drawn in blocks of their own, which depend on no request; a task has the same
    place in its group as in the whole (see `TOGETHER`); and none is alone in its block, for which libraries have other
    kernels. Classical solvers then give the same bits; those whose layers are products over all tasks at once, the
    Memformers, the same to rounding. Where fewer than `TOGETHER` tasks fit, each of them is so large that it is
    treated by itself, and blocks are as small as need be.
    """
    fitting = BLOCK_BYTES // (dtype.itemsize * law.d * (law.N + law.d))
    most = fitting // TOGETHER * TOGETHER or max(2, fitting // 2 * 2)
    if count <= most:
        return [count]
    sizes, rest = [most] * (count // most), count % most
    return [*sizes[:-1], sizes[-1] + 1] if rest == 1 else [*sizes, *([rest] if rest else [])]


def in_blocks(
    law: Law,
    seed: int,
    count: int,
    dtype: torch.dtype,
    device: torch.device,
    draw: Sampling = "plain",
    purpose: Purpose = Purpose.SCORE,
) -> Iterator[Problem]:
    """The scored tasks, a block at a time; a block among others is forgotten once it has been used."""
    sizes = block_sizes(law, count, dtype)
    if len(sizes) == 1:
        yield scored_tasks(law, seed, count, dtype, device, draw, purpose)
        return
    stream = law.stream(seed, purpose, dtype, device, draw)
    for size in sizes:
        yield stream.sample(size)


@lru_cache(maxsize=8)
def scored_tasks(
    law: Law,
    seed: int,
    count: int,
    dtype: torch.dtype,
    device: torch.device,
    draw: Sampling = "plain",
    purpose: Purpose = Purpose.SCORE,
) -> Problem:
    """The scored tasks of a law under a seed: the same for every solver, never a training task."""
    return law.stream(seed, purpose, dtype, device, draw).sample(count)


def fit_under_protocol(cell: Cell, store: ParameterStore) -> Fit:
    """Fit a cell's solver as its protocol says.

    `held_out`: on training streams of the law (or of the one that the suite names), which share no random number with
    the scored tasks. `transductive`: on the scored tasks, query labels included. `context_adapted`: on training
    streams, then adapted to the scored tasks as a solver may see them, context without labels of the query.

    Args:
        cell: with its protocol.
        store: of parameters fitted on training streams.

    Raises:
        ValueError: if the solver cannot be used under the protocol.
    """
    if cell.protocol == "transductive":
        if not cell.solver.fitting.required:
            raise ValueError(f"{cell.solver_name} learns nothing, so it cannot be fitted on the scored tasks")
        scored = _scored(cell)
        start = time.perf_counter()
        streams = [cell.law.stream(seed, Purpose.TRAIN, cell.dtype, cell.device) for seed in cell.seeds]
        sources = [ScoredTasks(stream, problem) for stream, problem in zip(streams, scored, strict=True)]
        solvers = checked_fit(cell.solver.fit_many(sources, cell.steps, cell.seeds), len(sources))
        return Fit(solvers, time.perf_counter() - start, reused=False)
    about = (cell.solver_name, cell.solver, cell.fitted_on, cell.fitted_for)
    fit = store.fit(*about, cell.seeds, cell.dtype, cell.device)
    if cell.protocol == "context_adapted":
        pairs = zip(fit.solvers, _scored(cell), strict=True)
        adapted = checked_fit([adapted_to(solver, problem) for solver, problem in pairs], len(cell.seeds))
        return replace(fit, solvers=adapted)
    return fit


def adapted_to(solver: Solver, problem: Problem) -> Solver:
    """The solver adapted to what it may see of a problem, which it must leave as it is."""
    blind = problem.blinded()
    seal = Seal(blind)
    adapted = solver.adapt(blind)
    seal.check()
    return adapted


def _scored(cell: Cell) -> list[Problem]:
    """The scored tasks of each seed, whole."""
    return [
        scored_tasks(cell.law, seed, cell.tasks, cell.dtype, cell.device, cell.draw, Purpose.SCORE)
        for seed in cell.seeds
    ]


class ScoredTasks(StandIn):
    """The scored tasks posing as training tasks, for `transductive`.

    It gives what was fitted on in the figures that did so, contexts and query labels, again and again in the same
    order; not the true weights. What is known of the law, a stream of it tells.
    """

    def __init__(self, stream: TaskSource, problem: Problem) -> None:
        super().__init__(stream)
        self._problem = replace(problem, w_star=None, second_moment=None, weights=None)
        self._next = 0

    def sample(self, batch: int) -> Problem:
        """The next `batch` of the scored tasks, from the first again after the last."""
        index = (torch.arange(batch, device=self._problem.device) + self._next) % self._problem.B
        self._next = (self._next + batch) % self._problem.B
        return self._problem.select(index)
