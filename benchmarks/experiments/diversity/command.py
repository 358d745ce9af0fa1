"""`memformer-bench run diversity`: train on pools of M tasks, score on the law that they come from.

A model that has learned the pool answers as `dmmse`, the posterior mean over it; one that has learned the law, as
`ridge`.
"""

from __future__ import annotations

from functools import partial
from itertools import product

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks import api
from benchmarks.experiments.diversity.report import page, pools_figure
from benchmarks.experiments.experiment import Experiment, Request, need_figures, read_settings, settings_text
from benchmarks.harness.resolve import build_solver
from benchmarks.harness.run import Finished
from benchmarks.reports.write import Report
from benchmarks.suites.entries import SolverEntry, Strict
from benchmarks.tasks.gaussian import Isotropic
from benchmarks.tasks.pool import TaskPool

ROOM = "benchmarks.experiments.diversity"


class Diversity(Strict):
    """All of it; see `settings.toml`."""

    d: int
    N: int
    noise_std: float
    pools: list[int]
    solver: SolverEntry
    steps: int
    tasks: int
    seeds: list[int]


def carry_out(request: Request) -> Finished:
    """Train, score, write."""
    need_figures()
    folder, settings = request.folder("diversity"), read_settings(Diversity, ROOM, request.quick)
    build_solver(settings.solver)
    work = list(product(settings.pools, settings.seeds))
    names = [f"{pool} tasks, seed {seed}" for pool, seed in work]
    found = request.map("diversity", partial(scored, settings), work, names)
    table = pd.DataFrame([row for rows in found for row in rows])
    text = page(table, **settings.model_dump(exclude={"solver"}), solver=settings.solver.name)
    Report({"diversity": table}, {"diversity": pools_figure(table)}, {"diversity.md": text}).write(folder)
    return Finished(folder, [], [])


def scored(settings: Diversity, work: tuple[int, int]) -> list[dict[str, object]]:
    """Log losses at query points, noise included, of the model and of both ideals: on the pool, and on its law."""
    pool, seed = work
    size = {"d": settings.d, "N": settings.N, "noise_std": settings.noise_std}
    known, law = TaskPool(pool=pool, law_seed=seed, **size), Isotropic(**size)
    steps = [settings.steps]
    solvers = {
        "model": api.fitted(build_solver(settings.solver), known, steps, seed),
        "ridge": api.fitted(api.solver("ridge"), law, steps),
        "dmmse": api.fitted(api.solver("dmmse"), known, steps),
    }
    return [
        {
            "pool": pool,
            "seed": seed,
            "scored_on": where,
            **{
                name: _log_loss(api.losses(solver, on, seed, settings.tasks, steps, "test_loss"))
                for name, solver in solvers.items()
            },
        }
        for where, on in (("pool", known), ("law", law))
    ]


def _log_loss(losses: NDArray[np.float64]) -> float:
    return float(np.log(np.mean(losses)))


DIVERSITY = Experiment(
    "diversity",
    "how many tasks training must hold before a model learns the law and not the tasks",
    carry_out,
    settings=partial(settings_text, ROOM),
)
