"""Trials of the gate's loss rule: steps of a tuned classic made too long, until the mean loss is 2 % worse.

The truth is the mean over a pool of 200,000 tasks; a trial is the gate's own comparison on 24,000 fresh ones, as many
as the gate takes. `equal` pairs a step that is too long with one that is too short by as much in loss: two methods that
differ on every task and have the same mean loss, the hardest case for a false alarm. Code that computes the same
numbers has no false alarms.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

import numpy as np
from scipy.optimize import root_scalar

from baselines.accelerated import HeavyBall, Nesterov
from baselines.gradient import GradientDescent
from baselines.tuning import Tuned
from benchmarks import api
from benchmarks.harness.scores.measure import measure
from benchmarks.regression.gate.cases import LossCase
from benchmarks.regression.gate.losses import judge
from benchmarks.tasks.law import Law, Purpose
from memformer.core.problem import Problem
from memformer.core.solver import Solver

POOL, TASKS, STEPS = 200_000, 24_000, 2
PLANTED = 1.02

METHODS: dict[str, Callable[[float, float], Solver]] = {
    "gradient_descent": lambda eta, beta: GradientDescent(eta=eta),
    "heavy_ball": lambda eta, beta: HeavyBall(eta=eta, beta=beta),
    "nesterov": lambda eta, beta: Nesterov(eta=eta, beta=beta),
}


def loss_trials(seeds: int) -> Iterator[dict[str, Any]]:
    """A row for each law, method and kind of change: how many of the trials raised an alarm."""
    for law_name in ("isotropic", "anisotropic"):
        law = api.law(law_name, d=5, N=20)
        pool = law.stream(1, Purpose.TRUTH).sample(POOL)
        pairs = {method: plant(law, pool, method) for method in METHODS}
        alarms: dict[tuple[str, str], int] = dict.fromkeys(product(METHODS, ("2 % worse", "equal")), 0)
        for seed in range(1, seeds + 1):
            tasks = law.stream(seed, Purpose.SCORE).sample(TASKS)
            for method, (best, long, short) in pairs.items():
                kinds = {"2 % worse": (best, long), "equal": (short, long)}
                for kind, (base, head) in kinds.items():
                    alarms[method, kind] += alarm(method, law_name, tasks, base, head)
        for (method, kind), count in alarms.items():
            what = f"{method} on {law_name}, {STEPS} steps"
            yield {"study": "loss", "what": what, "planted": kind, "alarm": count / seeds, "trials": seeds}


def plant(law: Law, pool: Problem, method: str) -> tuple[Solver, Solver, Solver]:
    """The method with its best step for the law, and with one too long and one too short: 2 % more mean loss each."""
    names: Any = method
    found = Tuned(names).fit(law.stream(2, Purpose.TRUTH), [STEPS]).parameters
    assert found is not None
    eta, beta = float(found["eta"][0]), float(found["beta"][0])
    make = METHODS[method]

    def excess(log_factor: float) -> float:
        return losses(make(eta * np.exp(log_factor), beta), pool).mean() / lowest - PLANTED

    lowest = losses(make(eta, beta), pool).mean()
    ends = [float(np.exp(root_scalar(excess, bracket=(0.0, far), xtol=1e-4).root)) for far in (0.8, -0.8)]
    return make(eta, beta), make(eta * ends[0], beta), make(eta * ends[1], beta)


def losses(solver: Solver, problem: Problem) -> np.ndarray:
    """Expected test loss of each task after the last step."""
    return measure(solver, problem, [STEPS]).losses["expected_test_loss"][0]


def alarm(method: str, law: str, tasks: Problem, base: Solver, head: Solver) -> bool:
    """Whether the gate's rule calls head worse."""
    case = LossCase(method, {}, law, {"d": 5, "N": 20}, TASKS, (0,), (STEPS,))
    before, after = (losses(solver, tasks)[None, None] for solver in (base, head))
    return judge(case, before, after, {"random_fit": False, "fingerprint": ""})[0].status == "worse"
