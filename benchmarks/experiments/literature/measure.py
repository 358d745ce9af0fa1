"""What this project measures beside a published number."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from benchmarks import api
from benchmarks.errors import UserError, one_line
from benchmarks.experiments.literature.numbers import SEEDS, Number
from benchmarks.harness.resolve import build_law, build_solver
from benchmarks.harness.scores.fitting import ParameterStore
from benchmarks.harness.scores.shipped import SHIPPED
from benchmarks.statistics.summary import Summary, summarise
from benchmarks.suites.entries import SolverEntry
from memformer.core.solver import Fitting, Solver

NOTHING = Summary(*[np.nan] * 8)


def measure_number(number: Number, parameters: Path) -> tuple[Number, Summary, str]:
    """The loss of our method where theirs was measured, on fresh tasks of three seeds; or what failed.

    Args:
        number: what is asked.
        parameters: folder of what was fitted before.
    """
    try:
        law = build_law(number.law)
        entry = SolverEntry(name=number.solver, params=number.params)
        solvers = _fitted(entry, build_solver(entry), number, parameters)
        strata = []
        for seed, solver in zip(SEEDS, solvers, strict=True):
            losses = api.losses(solver, law, seed, number.tasks, [number.steps])[0]
            strata.append(losses - law.noise_var if number.excess else losses)
    except (UserError, ValueError) as error:
        return number, NOTHING, one_line(error)
    random = solvers[0].fitting is Fitting.RANDOM
    return number, summarise(strata, "seeds_and_tasks" if random else "tasks"), ""


def _fitted(entry: SolverEntry, solver: Solver, number: Number, parameters: Path) -> list[Solver]:
    """One for each seed: found, or fitted now."""
    if not solver.fitting.required:
        return [solver] * len(SEEDS)
    law = build_law(number.law.trained_on.at(number.law) if number.law.trained_on else number.law)
    store = ParameterStore(parameters, shipped=SHIPPED)
    return store.fit(entry.name, solver, law, number.fit, SEEDS, torch.float64, torch.device("cpu")).solvers
