"""Floors: the best loss that any method of a solver's class could reach, on the very tasks it is scored on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from baselines.exact_law import gaussian_tasks
from baselines.krylov import law_preconditioner
from baselines.lfom_optimal import LfomOptimal, draw_moments
from baselines.truth_lines import krylov_oracle, relative_excess
from benchmarks.catalogue.registry import METRICS, SOLVERS
from benchmarks.harness.scores.protocol import in_blocks
from benchmarks.tasks.importance import Sampling
from benchmarks.tasks.law import Law, Purpose
from memformer.core.problem import Problem
from memformer.core.roots import symmetric_roots
from memformer.core.solver import Reach, Solver
from memformer.core.tensors import in_double

Losses = NDArray[np.float64]

CPU = torch.device("cpu")

FLOOR_TASKS = 200_000
"""Tasks (at most; see `baselines.lfom_optimal.MAX_COVARIATES`) that the coefficients of a fixed-coefficient floor are
computed from where the law's moments are not known exactly. The floor then lies above the true one. On isotropic tasks
(N = 20, d = 5), where the truth is known, it would by 0.002, 0.035 and 0.087 of itself at 4, 5 and 6 steps."""


MOST_ERROR = 0.02
"""Relative error of a sampled Bayes estimate beyond which it is no floor."""

ERROR_TASKS = 100
"""Tasks by which that is judged."""


@dataclass(frozen=True)
class FloorKey:
    """Whose floor: a law, the scored tasks of a seed, and the largest number of steps."""

    law: Law
    seed: int
    tasks: int
    num_steps: int
    dtype: torch.dtype
    device: torch.device
    draw: Sampling = "plain"


def describe_floor(key: FloorKey, reach: Reach, steps: int) -> tuple[str, bool, float]:
    """Which floor a class has after a number of steps, as `benchmarks.runs.schema.ScoreRow` says it.

    Returns:
        Its name, whether its loss is exact, and if not how large its relative error may be (else nan). Coefficients of
        the best fixed methods are exact for the laws that `baselines.exact_law` knows. Oracles and Bayes estimates are
        the best answers to the very tasks, unless the estimate is sampled.
    """
    if reach.fixed:
        error = _optimal(key.law, key.num_steps, reach is Reach.FIXED_PRECONDITIONED, key.dtype, key.device, None)[1]
        name = "lfom_optimal" if reach is Reach.FIXED else "lfom_optimal_preconditioned"
        return name, error is None, float("nan") if error is None else float(error[steps])
    if reach is Reach.ANY:
        error = bayes_error(key.law)
        return key.law.bayes, error == 0, error or float("nan")
    return {Reach.KRYLOV: "krylov_oracle"}.get(reach, "krylov_oracle_preconditioned"), True, float("nan")


def has_floor(law: Law, reach: Reach) -> bool:
    """Whether a floor of a class is known on a law, under one metric at least."""
    if not law.synthetic:
        return False
    if reach is Reach.ANY:
        return _has_bayes(law)
    return law.linear and (reach is not Reach.FIXED_PRECONDITIONED or law.whitens_to_isotropic)


def _has_bayes(law: Law) -> bool:
    """Whether the Bayes estimate of a law is known, and has a loss."""
    if law.determined or not law.synthetic:
        return False
    if not law.linear:
        return bool(law.bayes) and bayes_error(law) <= MOST_ERROR
    return law.prior(torch.zeros(1, law.N, law.d, dtype=torch.float64)) is not None


@lru_cache(maxsize=64)
def bayes_error(law: Law) -> float:
    """How far the mean loss of a law's Bayes estimate may lie above the least there is, relative; 0 where it is exact.

    A solver that samples says what that costs (`sampling_error`); twice as much is granted, since it may not see all.
    """
    solver = SOLVERS.create(law.bayes)
    if not hasattr(solver, "sampling_error"):
        return 0.0
    tasks = law.stream(0, Purpose.TRUTH).sample(ERROR_TASKS)
    fitted = solver.fit(law.stream(1, Purpose.TRUTH), [1])
    loss = METRICS["test_loss"].load()(tasks, fitted.solve(tasks.blinded(), 1))[1].mean()
    return 2 * fitted.sampling_error(tasks) / float(loss)


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
        `(num_steps + 1, tasks)` in the metric's unit, times the tasks' weights if they have any; None where no floor of
        that class and metric is known.
    """
    if not has_floor(key.law, reach):
        return None
    if reach is Reach.ANY:
        return bayes_losses(key, metric)
    if not reach.fixed and metric != "expected_test_loss":
        return None
    return _joined([_of_block(block, key, reach, metric) for block in _blocks(key)])


def _blocks(key: FloorKey) -> Iterator[Problem]:
    return in_blocks(key.law, key.seed, key.tasks, key.dtype, key.device, key.draw)


def _of_block(problem: Problem, key: FloorKey, reach: Reach, metric: str) -> Losses | None:
    if reach.fixed:
        best = optimal_method(key.law, key.num_steps, reach is Reach.FIXED_PRECONDITIONED, key.dtype, key.device)
        return _array(problem, METRICS[metric].load()(problem, best.solve(problem.blinded(), key.num_steps)))
    shown = _whitened(problem, key.law) if reach is Reach.KRYLOV_PRECONDITIONED else problem
    return _array(problem, krylov_oracle(shown, key.num_steps) + key.law.noise_var)


def bayes_losses(key: FloorKey, metric: str) -> Losses | None:
    """Per-task loss of the Bayes estimate, `(num_steps + 1, tasks)`, the same for every number of steps.

    Returns:
        None where the Bayes estimate is not known, as on real data, and where it loses nothing (`Law.determined`).
    """
    losses = _bayes(replace(key, num_steps=1)).get(metric)
    return None if losses is None else np.broadcast_to(losses, (key.num_steps + 1, len(losses)))


@lru_cache(maxsize=16)
def _bayes(key: FloorKey) -> dict[str, Losses | None]:
    """The same, `(tasks,)`, under every metric: it is solved for once."""
    if not _has_bayes(key.law):
        return {}
    solver: Solver = SOLVERS.create(key.law.bayes)
    solver = solver.fit(key.law.stream(key.seed, Purpose.TRUTH, key.dtype, key.device), [1])
    found: dict[str, list[Losses | None]] = {name: [] for name in METRICS}
    for block in _blocks(key):
        trace = solver.solve(block.blinded(), 1)
        for name in METRICS:
            found[name].append(_array(block, METRICS[name].load()(block, trace)))
    joined = {name: _joined(parts) for name, parts in found.items()}
    return {name: None if losses is None else losses[1] for name, losses in joined.items()}


def _joined(parts: Sequence[Losses | None]) -> Losses | None:
    """Losses `(steps, tasks)` of all blocks; None if a block has none."""
    known = [part for part in parts if part is not None]
    return np.concatenate(known, 1) if len(known) == len(parts) else None


def optimal_method(
    law: Law,
    num_steps: int,
    preconditioned: bool,
    dtype: torch.dtype = torch.float64,
    device: torch.device = CPU,
    num_tasks: int | None = None,
) -> LfomOptimal:
    """The best fixed coefficients of a law: exact, or from a stream that nothing else uses.

    Args:
        law: whose.
        num_steps: largest number of steps.
        preconditioned: with the inverse of the law's second moment as preconditioner.
        dtype: of the tasks, if any are needed.
        device: of the tasks.
        num_tasks: that the coefficients are computed from where the law's moments are not known exactly, however large
            they are; None is `FLOOR_TASKS`, or fewer where those would be large.
    """
    return _optimal(law, num_steps, preconditioned, dtype, device, num_tasks)[0]


@lru_cache(maxsize=16)
def _optimal(
    law: Law, num_steps: int, preconditioned: bool, dtype: torch.dtype, device: torch.device, num_tasks: int | None
) -> tuple[LfomOptimal, Tensor | None]:
    """The same, and how large its relative error after each number of steps may be (None: it has none)."""
    tasks, solver = law.stream(0, Purpose.TRUTH, dtype, device), LfomOptimal(preconditioned, FLOOR_TASKS)
    if gaussian_tasks(tasks, preconditioned) is not None:
        return solver.fit(tasks, [num_steps]), None
    moments, loss = draw_moments(tasks, num_tasks or solver.count(tasks))
    preconditioner = law_preconditioner(tasks) if preconditioned else None
    error = relative_excess(moments, loss, num_steps, preconditioner, law.noise_var)
    return solver.fitted(moments, loss, num_steps, preconditioner), error


def _whitened(problem: Problem, law: Law) -> Problem:
    """The same tasks in coordinates in which the law's second moment is the identity: `X S^-1/2`, `S^1/2 w_star`."""
    root, inverse_root = (part.to(problem.X) for part in symmetric_roots(law.second_moment))
    assert problem.w_star is not None
    assert problem.second_moment is not None
    return replace(
        problem,
        X=problem.X @ inverse_root,
        x_query=problem.x_query @ inverse_root,
        w_star=problem.w_star @ root,
        second_moment=inverse_root @ problem.second_moment @ inverse_root,
    )


def _array(problem: Problem, losses: Tensor | None) -> Losses | None:
    return None if losses is None else in_double(problem.weighted(losses)).numpy()
