"""`memformer-bench run transfer`: fit solvers on each of a list of laws, and score them on every other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import product

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks.catalogue.registry import SOLVERS
from benchmarks.errors import UserError, one_line
from benchmarks.experiments.experiment import Experiment, Request, need_figures, read_settings, settings_text
from benchmarks.experiments.transfer.matrix import transfer_figures
from benchmarks.harness.resolve import build_law, build_solver
from benchmarks.harness.run import Finished
from benchmarks.harness.scores.measure import measure
from benchmarks.reports.write import Report
from benchmarks.runs.schema import PREFERRED_METRICS
from benchmarks.statistics import Levels, compare
from benchmarks.suites.entries import SolverEntry, Strict, TaskEntry
from benchmarks.tasks.law import Law, Purpose
from memformer.core.solver import Fitting, Solver

ROOM = "benchmarks.experiments.transfer"


class Transfer(Strict):
    """All of it; see `settings.toml`."""

    solvers: list[str]
    laws: dict[str, TaskEntry]
    steps: list[int]
    tasks: int
    seeds: list[int]


def carry_out(request: Request) -> Finished:
    """Do all of it; `--only` chooses among all solvers that are fitted, those of the settings or others."""
    need_figures()
    folder, settings = request.folder("transfer"), read_settings(Transfer, ROOM, request.quick)
    solvers = {name: build_solver(SolverEntry(name=name)) for name in request.only or settings.solvers}
    laws = {name: build_law(entry) for name, entry in settings.laws.items()}
    table = transfer(solvers, laws, settings, request)
    tables = {f"transfer_{name}": pd.DataFrame(table[table["solver"] == name]) for name in solvers}
    Report(tables, {name: drawn for name, (_, drawn) in transfer_figures(table).items()}, form="%.6g").write(folder)
    return Finished(folder, [], [])


TRANSFER = Experiment(
    "transfer",
    "what learned solvers lose on laws that they were not fitted on",
    carry_out,
    frozenset({"quick", "only", "plugin"}),
    lambda: list(_fitted()),
    partial(settings_text, ROOM),
)


def _fitted() -> Iterator[str]:
    """Names of the solvers that are fitted, of those that can be made here."""
    for name in SOLVERS:
        try:
            solver = build_solver(SolverEntry(name=name))
        except UserError:  # of a package that is not installed
            continue
        if solver.fitting.required:
            yield name


def transfer(
    solvers: Mapping[str, Solver], laws: Mapping[str, Law], settings: Transfer, request: Request
) -> pd.DataFrame:
    """Fit solvers on each law and score them on each law.

    Args:
        solvers: by the names that the table is to show; those that are fitted.
        laws: by the names that the table is to show, all of one d (or the solvers take any).
        settings: numbers of steps, fresh tasks scored for each seed, and seeds of training and scored tasks.
        request: whose processes do the work.

    Returns:
        One row for each solver, number of steps, training law and test law: `log_loss` on the test law, `log_gap` to
        the solver fitted on the test law itself (0 on the diagonal) with its paired 95 % interval `log_low`, `log_high`
        (over seeds too if the fit is random), `tasks` in all, `protocol`; nan where a solver cannot be used or gives no
        finite answer.
    """
    work = list(product(solvers, laws))
    names = [f"{solver}, {law}" for solver, law in work]
    fit, score = partial(_fit, solvers, laws, settings), partial(_score, laws, settings)
    fitted = dict(zip(work, request.map("transfer: fitting", fit, work, names), strict=True))
    own = [({train: fitted[solver, train] for train in laws}, test) for solver, test in work]
    found = dict(zip(work, request.map("transfer: scoring", score, own, names), strict=True))
    rows = []
    for solver, (index, step), train_law, test_law in product(solvers, enumerate(settings.steps), laws, laws):
        losses = found[solver, test_law]
        mine, best = ([part[index] for part in losses[law]] for law in (train_law, test_law))
        levels: Levels = "seeds_and_tasks" if solvers[solver].fitting is Fitting.RANDOM else "tasks"
        gap, mean = compare(mine, best, levels), float(np.concatenate(mine).mean())
        rows.append(
            {
                "solver": solver,
                "d": laws[test_law].d,
                "steps": step,
                "train_law": train_law,
                "test_law": test_law,
                "log_loss": np.log(mean) if mean > 0 else np.nan,
                "log_gap": gap.log_ratio,
                "log_low": gap.log_ratio_low,
                "log_high": gap.log_ratio_high,
                "tasks": settings.tasks * len(settings.seeds),
                "protocol": "held_out",
            }
        )
    return pd.DataFrame(rows)


def _fit(
    solvers: Mapping[str, Solver], laws: Mapping[str, Law], settings: Transfer, work: tuple[str, str]
) -> list[Solver]:
    """One for each seed.

    Raises:
        UserError: if it cannot be fitted there.
    """
    solver, law = work
    sources = [laws[law].stream(seed, Purpose.TRAIN) for seed in settings.seeds]
    try:
        return list(solvers[solver].fit_many(sources, settings.steps, settings.seeds))
    except Exception as error:
        raise UserError(f"{solver} on {law}: {one_line(error)}") from None


def _score(
    laws: Mapping[str, Law], settings: Transfer, work: tuple[Mapping[str, Sequence[Solver]], str]
) -> dict[str, list[NDArray]]:
    """Losses `(steps, tasks)` of each training law's solvers on one law, one for each seed."""
    fitted, law = work
    problems = [laws[law].stream(seed, Purpose.SCORE).sample(settings.tasks) for seed in settings.seeds]
    return {name: _losses(solvers, problems, settings.steps) for name, solvers in fitted.items()}


def _losses(solvers: Sequence[Solver], problems: Sequence, steps: Sequence[int]) -> list[NDArray[np.float64]]:
    """Losses `(steps, tasks)` of each seed; nan if a solver cannot be used on these problems (another d)."""
    found = []
    for solver, problem in zip(solvers, problems, strict=True):
        try:
            measured = measure(solver, problem, steps).losses
        except ValueError:
            found.append(np.full((len(steps), problem.B), np.nan))
            continue
        found.append(measured[next(name for name in PREFERRED_METRICS if name in measured)])
    return found
