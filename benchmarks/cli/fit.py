"""What `memformer-bench fit` does: one solver, one law, and what it reaches."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch

from benchmarks.errors import UserError, one_line
from benchmarks.harness.resolve import build_law, build_solver
from benchmarks.harness.scores.fitting import ParameterStore
from benchmarks.harness.scores.measure import measure
from benchmarks.harness.scores.protocol import scored_tasks
from benchmarks.harness.workers.limits import pinned_threads
from benchmarks.statistics import summarise
from benchmarks.suites.entries import SolverEntry, TaskEntry
from memformer.core.solver import TrainingRecord

SCORED_TASKS = 20_000
"""Fresh tasks on which the fitted solver is scored."""


def fit_and_score(task: TaskEntry, entry: SolverEntry, seed: int, folder: Path) -> Iterator[str]:
    """Fit a solver, keep its parameters, score it on fresh tasks; yields lines for people.

    Raises:
        UserError: if a name or value is no good, or the fit fails.
    """
    law, solver = build_law(task), build_solver(entry)
    if not solver.fitting.required:
        raise UserError(f"the solver {entry.name!r} learns nothing; 'memformer-bench list solvers' shows which do")
    steps = sorted(entry.steps or [])
    dtype, device = torch.float64, torch.device("cpu")
    try:
        with pinned_threads(1):
            fit = ParameterStore(folder).fit(entry.name, solver, law, steps, [seed], dtype, device)
    except ValueError as error:
        raise UserError(f"{entry.name} on {task.law}: {one_line(error)}") from None
    how = "found again; it once took" if fit.reused else "fitted in"
    yield f"{entry.name} on {task.law} (d = {law.d}, N = {law.N}): {how} {fit.seconds or 0:.1f} s"
    measured = measure(fit.solvers[0], scored_tasks(law, seed, SCORED_TASKS, dtype, device), steps)
    for metric, losses in measured.losses.items():
        for index, step in enumerate(steps):
            summary = summarise([losses[index]])
            interval = f"[{summary.log_low:.3f}, {summary.log_high:.3f}]"
            yield f"  {step} steps: log {metric} {summary.log_mean:.3f} {interval} on {SCORED_TASKS} fresh tasks"
    for step in steps:
        record = fit.solvers[0].training_record(step)
        if record is not None and record.starts is not None:
            yield f"  {step} steps: {_search(record)}"


def _search(record: TrainingRecord) -> str:
    """What the starts of training found, in one sentence."""
    spread = "some never trained" if record.spread is None else f"the worst {record.spread:.3f} above it"
    median = "not known" if record.median is None else f"{record.median:.3f}"
    return (
        f"the best of {record.starts} starts, {spread}, {record.near_best or 0:.0%} within 0.05 of it; "
        f"log validation loss of the median start {median}"
    )
