"""Measuring a cell: fit, solve blind, apply every metric."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.catalogue.registry import METRICS
from benchmarks.errors import one_line, traced
from benchmarks.harness.cell import Cell, CellResult, Measured
from benchmarks.harness.guard import Seal, checked, guarded
from benchmarks.harness.scores.fitting import ParameterStore
from benchmarks.harness.scores.floors import has_floor
from benchmarks.harness.scores.protocol import fit_under_protocol, in_blocks, scored_tasks
from benchmarks.harness.workers.limits import TimeLimitExceeded, time_limit
from benchmarks.tasks.law import Purpose
from memformer.core.problem import Problem
from memformer.core.solver import Solver
from memformer.core.tensors import in_double
from memformer.core.trace import Outcome

FRESH_TASKS = 4000
"""Where new tasks are solved too, there are as many a seed as are scored, but no more than these."""


def run_cell(cell: Cell, store: ParameterStore) -> CellResult:
    """Fit, solve and measure; whatever the solver raises becomes a status and a reason, never an exception."""
    try:
        with time_limit(cell.time_limit), guarded(cell.law, cell.fitted_on):
            skipped, why = _skip(cell)
            if skipped:
                return CellResult(cell, status="skipped", reason=" ".join(str(why).split())[:300])
            fit = fit_under_protocol(cell, store)
            measured = [_measured(cell, solver, seed) for solver, seed in zip(fit.solvers, cell.seeds, strict=True)]
    except TimeLimitExceeded as error:
        scored_tasks.cache_clear()
        return CellResult(cell, status="time_limit", reason=str(error))
    except Exception as error:
        scored_tasks.cache_clear()  # it may have changed them
        return CellResult(cell, status="error", reason=one_line(error), traceback=traced(error))
    return CellResult(cell, measured, fit.solvers, fit.seconds, fit.reused, fit.shipped)


def _skip(cell: Cell) -> tuple[bool, str]:
    """Whether the solver leaves the law out, or the one it is fitted on, and why.

    What is fitted on another law asks that one for what it must know; of the law it only has to serve the objective.
    """
    for law in dict.fromkeys((cell.law, cell.fitted_on)):
        asked = cell.solver.skip if law == cell.fitted_on else partial(Solver.skip, cell.solver)
        answer = asked(law.stream(cell.seeds[0], Purpose.TRAIN, cell.dtype, cell.device))
        if not isinstance(answer, tuple) or len(answer) != 2 or not isinstance(answer[1], str):
            raise ValueError(f"the solver's skip gave {answer!r}; it must give whether it is skipped, and why")
        if answer[0]:
            return True, answer[1].strip() or "it does not say why"
    return False, ""


def _measured(cell: Cell, solver: Solver, seed: int) -> Measured:
    """All scored tasks of a seed; and new ones, where only these can tell whether a learned solver knew the scored."""
    solver = solver.placed(cell.dtype, cell.device)
    found = _solved(cell, solver, seed, Purpose.SCORE)
    adapted = cell.protocol == "context_adapted"  # to the scored contexts, so that it may well be better there
    if not solver.learned or adapted or not cell.law.synthetic or has_floor(cell.law, solver.reach):
        return found
    few = dataclasses.replace(cell, tasks=min(cell.tasks, FRESH_TASKS))
    return dataclasses.replace(found, fresh=_solved(few, solver, seed, Purpose.FRESH).losses)


def _solved(cell: Cell, solver: Solver, seed: int, purpose: Purpose) -> Measured:
    """Tasks of a seed, a block at a time; a solver that adapted to all of them cannot meet some alone."""
    task_set = (cell.law, seed, cell.tasks, cell.dtype, cell.device, cell.draw, purpose)
    whole = cell.protocol == "context_adapted"
    parts = [
        measure(solver, block, cell.steps) for block in ([scored_tasks(*task_set)] if whole else in_blocks(*task_set))
    ]
    if len(parts) == 1:
        return parts[0]
    losses = {name: np.concatenate([part.losses[name] for part in parts], 1) for name in parts[0].losses}
    weights = [part.weights for part in parts if part.weights is not None]
    outcomes = np.concatenate([part.outcomes for part in parts], 1)
    return Measured(losses, outcomes, np.concatenate(weights) if weights else None)


def measure(solver: Solver, problem: Problem, steps: Sequence[int]) -> Measured:
    """Solve a problem without showing the solver what it is judged by, and apply every metric.

    Args:
        solver: fitted, if it has to be.
        problem: with query labels.
        steps: numbers of steps.

    Raises:
        ValueError: if the solver's trace is not what a trace must be (see `benchmarks.harness.guard.checked`).
        Misdeed: if the solver changed the problem.
    """
    blind, trace = problem.blinded(), None
    seal = Seal(blind)
    losses: dict[str, list[NDArray[np.float64]]] = {}
    applied: dict[str, torch.Tensor | None] = {}
    outcomes: list[NDArray[np.int8]] = []
    for step in steps:
        if trace is None or not solver.anytime:
            last = max(steps) if solver.anytime else step
            trace = checked(solver.solve(blind, last), blind, last)
            seal.check()
            applied = {name: METRICS[name].load()(problem, trace) for name in METRICS}
        outcome = trace.outcome_at(step)
        for name, value in applied.items():
            if value is not None:
                losses.setdefault(name, []).append(in_double(problem.weighted(value[step])).numpy())
                unknown = ~value[step].isfinite() & (outcome != int(Outcome.DIVERGED))
                outcome = torch.where(unknown, int(Outcome.NONFINITE), outcome)
        outcomes.append(outcome.cpu().numpy())
    weights = None if problem.weights is None else in_double(problem.weights).numpy()
    return Measured({name: np.stack(rows) for name, rows in losses.items()}, np.stack(outcomes), weights)
