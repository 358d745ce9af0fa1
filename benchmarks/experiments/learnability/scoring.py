"""Losses of fits, floors and baselines, all on the same fresh tasks."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from baselines.exact_law import gaussian_tasks
from baselines.exact_risk import exact_risk
from baselines.lfom_optimal import LfomOptimal, draw_moments
from baselines.objective import excess_loss
from baselines.wishart import GaussianTasks
from benchmarks.catalogue.registry import LAWS, SOLVERS
from benchmarks.experiments.learnability.erm import CHUNK, Fitted, minimise, minimise_exactly
from benchmarks.experiments.learnability.settings import Class, Fit, Learnability
from benchmarks.tasks.law import Law, Purpose
from memformer.core.problem import SPREAD, Problem
from memformer.core.solver import Solver
from memformer.model.config import MemformerConfig
from memformer.training.objective import Batch, draw, losses
from memformer.training.recipe import Recipe
from memformer.training.train import train

AT_ONCE = 10_000
"""Tasks that a solver is given at a time."""


@dataclass(frozen=True)
class Risk:
    """One fit of one training set.

    Attributes:
        kind, depth, tasks, seed: class, layers, size and stream of the training set.
        parameters: numbers that were fitted.
        fit: mean squared error on the training tasks' own queries; nan for the closed form, which never forms it.
        loss: mean expected loss on the fresh tasks, or over all tasks of the law.
        floor: that of the class's floor.
        exact: whether loss and floor are over all tasks, from exact moments.
    """

    kind: str
    depth: int
    tasks: int
    seed: int
    parameters: int
    fit: float
    loss: float
    floor: float
    exact: bool = False

    @property
    def excess(self) -> float:
        """Loss above the floor."""
        return self.loss - self.floor

    def row(self) -> dict[str, Any]:
        """For the table; how many parameters a class has is in that of rates."""
        own = {
            name: value for name, value in vars(self).items() if name not in ("parameters", "loss", "floor", "exact")
        }
        return {**own, "loss": self.loss, "excess": self.excess}


@lru_cache(maxsize=2)
def fresh(law: Law, scored: int) -> list[Problem]:
    """The tasks that everything is scored on, `AT_ONCE` at a time."""
    stream = law.stream(0, Purpose.SCORE).spread(SPREAD)
    return [stream.sample(min(AT_ONCE, scored - start)) for start in range(0, scored, AT_ONCE)]


@lru_cache(maxsize=2)
def _fresh_batches(law: Law, scored: int, reducible: bool) -> list[Batch]:
    """The same tasks as Memformers read them: as moments, or as tokens."""
    config = MemformerConfig(d=law.d, depth=1)
    if not reducible:
        config = MemformerConfig(d=law.d, depth=1, memory="first_order", gamma="token", num_tokens=law.N)
    return draw(config, [law.stream(0, Purpose.SCORE).spread(SPREAD)], scored, CHUNK, "expected")


def solver_losses(solver: Solver, law: Law, steps: int, scored: int) -> Tensor:
    """Mean loss after 0, ..., `steps` steps, `(steps + 1,)`."""
    total = torch.zeros(steps + 1, dtype=torch.float64)
    for problem in fresh(law, scored):
        weights = solver.solve(problem.blinded(), steps).weights
        assert weights is not None
        total += problem.weighted(excess_loss(problem, weights)).sum(-1)
    return total / scored


@torch.no_grad()
def model_losses(fitted: Fitted, law: Law, scored: int) -> list[float]:
    """Mean loss of each of S models after its last layer; `scored` must be a multiple of `CHUNK`."""
    batches = _fresh_batches(law, scored, fitted.config.reducible)
    found = torch.stack([losses(fitted.config, fitted.parameters, batch) for batch in batches]).mean(0)
    return [loss if math.isfinite(loss) else math.inf for loss in found.tolist()]


def baseline_losses(settings: Learnability) -> dict[str, list[float]]:
    """Of each baseline after 0, ..., most steps; methods with constants of their own are tuned for each number."""
    law, most = LAWS.create(settings.law), max(settings.depths)
    found: dict[str, list[float]] = {}
    for name in settings.baselines:
        solver = SOLVERS.create(name).fit(law.stream(0, Purpose.TRUTH), settings.depths)
        if solver.anytime:
            found[name] = solver_losses(solver, law, most, settings.scored).tolist()
        else:
            last = {k: solver_losses(solver, law, k, settings.scored)[-1].item() for k in settings.depths}
            found[name] = [last.get(k, math.nan) for k in range(most + 1)]
    return found


def closed_floors(settings: Learnability) -> dict[str, list[float]]:
    """Losses of the closed forms after 0, ..., most steps."""
    law, most = LAWS.create(settings.law), max(settings.depths)
    tasks = law.stream(0, Purpose.TRUTH)
    best = {
        "scalar": LfomOptimal().fitted(*draw_moments(tasks, settings.floor_tasks), most),
        "preconditioned": LfomOptimal(preconditioned=True).fit(tasks, [most]),
    }
    return {name: solver_losses(solver, law, most, settings.scored).tolist() for name, solver in best.items()}


def exact_tasks(law: Law) -> GaussianTasks:
    """A law in whitened coordinates, in which its moments are known.

    Raises:
        ValueError: if they are not.
    """
    exact = gaussian_tasks(law.stream(0, Purpose.TRUTH), preconditioned=True)
    if exact is None:
        raise ValueError(f"the moments of the law {law.metadata.name!r} are not known exactly in any coordinates")
    return exact


def reference(settings: Learnability, work: tuple[Class, int]) -> float:
    """Loss of a class without a closed form at a depth, fitted as well as we can: what its excess is measured from."""
    kind, depth = work
    law = LAWS.create(settings.law)
    if kind.kind == "diagonal":
        best = minimise(
            kind, law, depth, settings.reference_tasks, [0], settings.evaluations, "expected", Purpose.TRUTH
        )
    else:
        config = kind.made_of(law.d, law.N, depth)
        recipe = Recipe(steps=settings.reference_steps, patience=0, loss="expected")
        trained = train(config, [law.stream(0, Purpose.TRUTH)], [depth], [0], recipe)
        best = Fitted(config, trained.parameters, trained.loss)
    return model_losses(best, law, settings.scored)[0]


def risks(settings: Learnability, floors: Mapping[tuple[str, int], float], fit: Fit) -> list[Risk]:
    """Fit one class to all training sets of one size, and score."""
    law = LAWS.create(settings.law)
    rows = []
    for depth in fit.depths if fit.kind.kind != "closed_form" else ():
        fitted = minimise(fit.kind, law, depth, fit.tasks, fit.seeds, settings.evaluations)
        scores = model_losses(fitted, law, settings.scored)
        rows += [(depth, *row) for row in zip(fit.seeds, fitted.risk.tolist(), scores, strict=True)]
    for seed in fit.seeds if fit.kind.kind == "closed_form" else ():
        method = minimise_exactly(law, max(fit.depths), fit.tasks, seed, fit.kind.exact)
        if fit.kind.exact:
            scores = [float(exact_risk(method, exact_tasks(law), k, law.second_moment)) for k in fit.depths]
        else:
            scores = solver_losses(method, law, max(fit.depths), settings.scored)[fit.depths].tolist()
        rows += [(depth, seed, math.nan, loss) for depth, loss in zip(fit.depths, scores, strict=True)]
    name, exact = fit.kind.name, fit.kind.exact
    return [
        Risk(
            *(name, depth, fit.tasks, seed, fit.kind.parameters(law.d, law.N, depth)),
            *(own, loss, floors[name, depth], exact),
        )
        for depth, seed, own, loss in rows
    ]
