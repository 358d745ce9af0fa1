"""Coverage of intervals against exact risks, for plain draws and for draws by importance sampling."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from baselines.exact_law import gaussian_tasks
from baselines.exact_risk import exact_risk
from benchmarks.catalogue.registry import SOLVERS
from benchmarks.harness.scores.measure import measure
from benchmarks.statistics import HELD_TAIL_LIMIT, TAIL_LIMIT, log_ratio_interval
from benchmarks.statistics.intervals import Array, hall, moments
from benchmarks.tasks.gaussian import Isotropic
from benchmarks.tasks.importance import Sampling
from benchmarks.tasks.law import Law, Purpose
from memformer.core.solver import Solver

FLOOR = "lfom_optimal"
FIXED = (FLOOR, "heavy_ball_tuned", "gradient_descent_tuned")
"""Methods with fixed scalar coefficients; the first is the floor of their class."""

STEPS = (1, 2, 3, 4, 5, 6)
TASKS = 4_000
TOGETHER = 5
"""Simulations whose tasks are drawn and solved at once."""

SEED = 11


def exact_coverage(simulations: int) -> Iterator[dict[str, Any]]:
    """One record for each method, number of steps and interval; isotropic tasks, N = 20, d = 5.

    Intervals: `plain` and `importance`, Hall's of the mean, tasks drawn so; `importance, floor known`, that of the gap
    to the floor on the same tasks, added to the floor's exact log risk. There the floor is a control variate, in the
    form of a ratio.

    Yields:
        `coverage`, `sd` of the log of the estimate, `bias` of it, and the share of simulations marked `tail_limited`.
    """
    law = Isotropic()
    known = gaussian_tasks(law.stream(SEED, Purpose.TRAIN))
    assert known is not None
    fitted = {name: SOLVERS.create(name).fit(law.stream(SEED, Purpose.TRAIN), STEPS, SEED) for name in FIXED}
    truth = {(name, k): math.log(exact_risk(solver, known, k)) for name, solver in fitted.items() for k in STEPS}
    for draw in ("plain", "importance"):
        limit = TAIL_LIMIT if draw == "plain" else HELD_TAIL_LIMIT
        found: dict[tuple[str, str, int], list[tuple[float, float, float, bool]]] = {}
        for losses in _simulated(law, fitted, draw, simulations):
            for (name, k), strata in losses.items():
                sample = moments([strata])
                ends = np.log(np.maximum(hall([strata]), 1e-300))
                tails = np.abs(sample.skewness) > limit
                found.setdefault((name, draw, k), []).extend(zip(np.log(sample.mean), *ends, tails, strict=True))
                if draw == "importance" and name != FLOOR and truth[name, k] > truth[FLOOR, k] + 1e-9:
                    pairs = zip(strata.T, losses[FLOOR, k].T, strict=True)
                    shifted = np.array([log_ratio_interval([a], [b]) for a, b in pairs]) + truth[FLOOR, k]
                    kind = "importance, floor known"
                    found.setdefault((name, kind, k), []).extend(
                        (*row, bool(t)) for row, t in zip(shifted, tails, strict=True)
                    )
        for (name, kind, k), rows in found.items():
            estimate, low, high, tail = np.array(rows, float).T
            exact = truth[name, k]
            covered = float(np.mean((low <= exact) & (exact <= high)))
            spread = {"sd": float(estimate.std()), "bias": float(estimate.mean() - exact), "tail": float(tail.mean())}
            what = {"law": "isotropic", "solver": name, "metric": "expected_test_loss", "steps": k, "tasks": TASKS}
            yield {**what, "kind": kind, "simulations": len(rows), "coverage": covered, **spread}


def _simulated(
    law: Law, fitted: dict[str, Solver], draw: Sampling, simulations: int
) -> Iterator[dict[tuple[str, int], Array]]:
    """Losses `(tasks, simulations)` of every method and number of steps, a few simulations at a time."""
    stream = law.stream(SEED, Purpose.TRUTH, draw=draw)
    for _ in range(-(-simulations // TOGETHER)):
        problem = stream.sample(TASKS * TOGETHER)
        yield {
            (name, k): row.reshape(TOGETHER, TASKS).T
            for name, solver in fitted.items()
            for k, row in zip(STEPS, measure(solver, problem, STEPS).losses["expected_test_loss"], strict=True)
        }
