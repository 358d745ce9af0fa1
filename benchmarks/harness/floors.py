"""Floors: the best loss that any method of a solver's class could reach, on the very tasks it is scored on."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray

from baselines.direct import Bayes
from baselines.lfom_optimal import LfomOptimal
from baselines.truth_lines import krylov_oracle
from benchmarks.harness.cell import scored_tasks
from benchmarks.registry import METRICS
from benchmarks.tasks.law import Law, Purpose
from memformer.problem import Problem
from memformer.solver import Reach

Losses = NDArray[np.float64]

FLOOR_TASKS = 200_000
"""Tasks that the coefficients of a fixed-coefficient floor are computed from: it lies above the true one by about
k / FLOOR_TASKS of itself."""


@dataclass(frozen=True)
class FloorKey:
    """Whose floor: a law, the scored tasks of a seed, and the largest number of steps."""

    law: Law
    seed: int
    tasks: int
    num_steps: int
    dtype: torch.dtype
    device: torch.device


@lru_cache(maxsize=64)
def floor_losses(key: FloorKey, reach: Reach, metric: str) -> Losses | None:
    """Per-task loss of the best method of a class after 0, 1, ..., `num_steps` steps.

    Judging the floor on the scored tasks themselves makes a gap to it a paired comparison: what is hard about the
    tasks is hard for both. Coefficients of the fixed-coefficient floors come from a stream of their own.

    Args:
        key: law and tasks.
        reach: the class.
        metric: id of the metric.

    Returns:
        `(num_steps + 1, tasks)` in the metric's unit; None where no floor of that class and metric is known.
    """
    if not key.law.synthetic:
        return None
    problem = scored_tasks(key.law, key.seed, key.tasks, key.dtype, key.device)
    if reach in (Reach.KRYLOV, Reach.KRYLOV_PRECONDITIONED):
        if metric != "expected_test_loss":
            return None
        if reach is Reach.KRYLOV_PRECONDITIONED:
            problem = _whitened(problem, key.law)
        assert problem.noise_var is not None
        return _array(krylov_oracle(problem, key.num_steps) + problem.noise_var)
    if reach is Reach.ANY:
        return bayes_losses(key, metric)
    if reach is Reach.FIXED_PRECONDITIONED and not key.law.whitens_to_isotropic:
        return None
    best = optimal_method(key.law, key.num_steps, reach is Reach.FIXED_PRECONDITIONED, key.dtype, key.device)
    return _array(METRICS[metric].load()(problem, best.solve(problem.blinded(), key.num_steps)))


@lru_cache(maxsize=16)
def bayes_losses(key: FloorKey, metric: str) -> Losses | None:
    """Per-task loss of the Bayes estimate, `(num_steps + 1, tasks)`, the same for every number of steps.

    Returns:
        None where the law states no prior, where the data are real, and where the Bayes loss is 0 (no label noise and
        N >= d).
    """
    law = key.law
    if not law.synthetic:
        return None
    problem = scored_tasks(law, key.seed, key.tasks, key.dtype, key.device)
    exact = law.noise_std == 0 and law.d <= law.N
    if exact or law.prior(problem.X[:1]) is None:
        return None
    solver = Bayes().fit(law.stream(key.seed, Purpose.TRUTH, key.dtype, key.device), [1])
    losses = _array(METRICS[metric].load()(problem, solver.solve(problem.blinded(), 1)))
    return None if losses is None else losses[1:].repeat(key.num_steps + 1, axis=0)


@lru_cache(maxsize=16)
def optimal_method(
    law: Law, num_steps: int, preconditioned: bool, dtype: torch.dtype, device: torch.device
) -> LfomOptimal:
    """The best fixed coefficients of a law, from a stream that nothing else uses."""
    tasks = law.stream(0, Purpose.TRUTH, dtype, device)
    return LfomOptimal(preconditioned=preconditioned, num_tasks=FLOOR_TASKS).fit(tasks, [num_steps])


def _whitened(problem: Problem, law: Law) -> Problem:
    """The same tasks in coordinates in which the law's second moment is the identity: `X S^-1/2`, `S^1/2 w_star`."""
    values, vectors = torch.linalg.eigh(law.second_moment)
    root = ((vectors * values.sqrt()) @ vectors.mT).to(problem.X)
    inverse_root = ((vectors / values.sqrt()) @ vectors.mT).to(problem.X)
    assert problem.w_star is not None
    assert problem.second_moment is not None
    return Problem(
        problem.X @ inverse_root,
        problem.y,
        problem.x_query @ inverse_root,
        problem.y_query,
        problem.w_star @ root,
        inverse_root @ problem.second_moment @ inverse_root,
        problem.noise_var,
    )


def _array(losses: torch.Tensor | None) -> Losses | None:
    return None if losses is None else losses.to("cpu", torch.float64).numpy()
