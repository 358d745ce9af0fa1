"""`memformer-bench fit`: one solver, one law, and what it reaches. Nothing heavy is imported for `--help`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from benchmarks.cli.options import RESULTS, Plugins, Results, load_plugins, say
from benchmarks.errors import UserError, one_line

if TYPE_CHECKING:
    from memformer.core.solver import TrainingRecord

SCORED_TASKS = 20_000
"""Fresh tasks on which the fitted solver is scored."""


def fit(
    solver: Annotated[str, typer.Argument(help="Id of a solver that is fitted.")],
    law: Annotated[str, typer.Argument(help="Id of the law to fit it on.")] = "isotropic",
    d: Annotated[int, typer.Option(help="Covariate dimension.")] = 5,
    n: Annotated[int, typer.Option("--N", help="Context length.")] = 20,
    noise_std: Annotated[float, typer.Option(help="Standard deviation of the label noise.")] = 0.0,
    steps: Annotated[list[int] | None, typer.Option(min=0, help="Number of steps (depth); repeatable; 1 to 4.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of training tasks and initialisation.")] = 0,
    params: Annotated[str, typer.Option(help="Hyper-parameters of the solver, as a JSON object.")] = "{}",
    plugin: Plugins = None,
    results: Results = RESULTS,
) -> None:
    """Fit one solver on one law, keep its parameters, and say what it reaches on fresh tasks."""
    load_plugins(plugin)
    import torch
    from pydantic import ValidationError

    from benchmarks.cli.progress import training_progress
    from benchmarks.harness.guard import guarded
    from benchmarks.harness.resolve import build_law, build_solver
    from benchmarks.harness.scores.fitting import ParameterStore
    from benchmarks.harness.scores.measure import measure
    from benchmarks.harness.scores.protocol import scored_tasks
    from benchmarks.harness.workers.limits import pinned_threads
    from benchmarks.statistics import summarise
    from benchmarks.suites.entries import SolverEntry, TaskEntry
    from benchmarks.suites.suite import first_problem

    try:
        settings = json.loads(params)
    except json.JSONDecodeError as error:
        raise UserError(f"--params is not JSON: {error}") from None
    if not isinstance(settings, dict):
        raise UserError("--params must be a JSON object such as '{\"learning_rate\": 0.03}'")
    try:
        entries = TaskEntry(law=law, d=d, N=n, noise_std=noise_std), SolverEntry(name=solver, params=settings)
    except ValidationError as error:
        raise UserError(first_problem(error)) from None
    where, fitted = build_law(entries[0]), build_solver(entries[1])
    if not fitted.fitting.required:
        raise UserError(
            f"the solver {solver!r} learns nothing; of each solver, 'memformer-bench show ID' says whether it is fitted"
        )
    depths = sorted(steps or [1, 2, 3, 4])
    dtype, device = torch.float64, torch.device("cpu")
    try:
        with pinned_threads(1), guarded(where), training_progress() as told:
            store = ParameterStore(results / "parameters", progress=told)
            found = store.fit(solver, fitted, where, depths, [seed], dtype, device)
            measured = measure(found.solvers[0], scored_tasks(where, seed, SCORED_TASKS, dtype, device), depths)
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"{solver} on {law}: {one_line(error)}") from None
    how = "found again; it once took" if found.reused else "fitted in"
    say(f"{solver} on {law} (d = {where.d}, N = {where.N}): {how} {found.seconds or 0:.1f} s")
    for metric, losses in measured.losses.items():
        for depth, reached in zip(depths, losses, strict=True):
            summary = summarise([reached])
            interval = f"[{summary.log_low:.3f}, {summary.log_high:.3f}]"
            say(f"  {depth} steps: log {metric} {summary.log_mean:.3f} {interval} on {SCORED_TASKS} fresh tasks")
    for depth in depths:
        record = found.solvers[0].training_record(depth)
        if record is not None and record.starts is not None:
            say(f"  {depth} steps: {_search(record)}")


def _search(record: TrainingRecord) -> str:
    """What the starts of training found, in one sentence."""
    spread = "some never trained" if record.spread is None else f"the worst {record.spread:.3f} above it"
    median = "not known" if record.median is None else f"{record.median:.3f}"
    return (
        f"the best of {record.starts} starts, {spread}, {record.near_best or 0:.0%} within 0.05 of it; "
        f"log validation loss of the median start {median}"
    )
