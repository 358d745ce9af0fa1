"""Mixtures of experts (experiment h) as they should be: one rotation, fresh tasks, gates from contexts alone.

Experts with full Q and first-order memory are trained on three laws and joined; their gates, or gates and memory
weights, are fitted to contexts of scored tasks, no query label read. The control is one model with one gate, fitted
alike. Beside them: an expert trained on the very law, and conjugate gradient, which no change of scale touches.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from baselines.krylov import ConjugateGradient, PreconditionedCG
from baselines.objective import excess_loss
from benchmarks.catalogue.registry import LAWS
from benchmarks.errors import UserError
from benchmarks.experiments.experiment import Request
from benchmarks.experiments.paper.curves import read_rows
from benchmarks.experiments.paper.one_of import OneOf
from benchmarks.experiments.paper.verdicts import Evidence, Part, compared
from benchmarks.statistics import summarise
from benchmarks.tasks.law import Law, Purpose
from benchmarks.tasks.mixture import GaussianMixture
from memformer.core.problem import Problem
from memformer.model.config import MemformerConfig
from memformer.solvers.experts import Mixture, assemble
from memformer.solvers.gates import adapt, adapt_each
from memformer.training.recipe import Recipe
from memformer.training.search import Search
from memformer.training.train import train

LAYERS, SEEDS = (1, 2, 3, 4), (0, 1, 2)
TASKS, FOLDS, PER_TASK = 3000, 5, 500
RECIPE = Recipe()

EQUAL = "equal gates"
GATED = {
    "gates from contexts (A)": "one model, gate from contexts",
    "gates and memory from contexts (B)": "one model, gate and memory from contexts",
    "gates of each task": "one model, gate of each task",
}
"""What adapts a mixture, and the control: the one model with a gate for each of its heads, adapted alike."""

CLAIMS = {
    EQUAL: "Joined with equal gates, experts do better than {one} {where}",
    "gates from contexts (A)": "... with gates fitted to contexts",
    "gates and memory from contexts (B)": "... with gates and memory weights fitted to contexts",
    "gates of each task": "... with gates fitted to each task's own context",
}
"""Methods that are judged: said to have a lower loss than the one model, which has a gate fitted alike if they have."""

CLOSED_FORM = ("cg", "pcg")
"""Methods in which training has no part, so that seeds are no source of chance."""

Losses = NDArray[np.float64]


@dataclass(frozen=True)
class Shift:
    """Experts, and where they are tested.

    Attributes:
        id: of the experiment.
        laws: by name.
        labels: `E[y^2]` of each.
        experts: laws of the experts.
        one: the law of the one model they are compared with.
        judged: laws that decide the verdict; the others are shown.
        says: how claims name the one model, and the laws that are judged.
        as_many: whether the one model has as many heads and parameters as the mixture, and is searched for from as
            many starts as all experts together; otherwise it is like one expert.
        layers: that are trained.
    """

    id: str
    laws: Mapping[str, Law]
    labels: dict[str, float]
    experts: tuple[str, ...]
    one: str
    judged: tuple[str, ...]
    says: tuple[str, str]
    as_many: bool = False
    layers: tuple[int, ...] = LAYERS

    @property
    def scored(self) -> tuple[str, ...]:
        """Laws on which methods are scored."""
        return self.judged if self.as_many else tuple(self.laws)

    @property
    def reference(self) -> str:
        """Name of the one model."""
        return f"{len(self.experts)} heads trained at {self.one}" if self.as_many else f"trained at {self.one}"


def variance_shift() -> Shift:
    """Experts at variances 1, 2 and 3 of the paper's tasks, under one rotation; judged between and beyond them."""
    variances = {f"{v:g}": v for v in (0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5)}
    experts = ("1", "2", "3")
    return Shift(
        "h-var",
        {name: LAWS.create("ood_variance", variance=v) for name, v in variances.items()},
        {name: 5 * v**2 for name, v in variances.items()},
        experts,
        "2",
        tuple(name for name in variances if name not in experts),
        ("one trained at variance 2", "at variances they were not trained at"),
    )


def component_shift() -> Shift:
    """An expert for each component of the paper's Gaussian mixture in one dimension; judged on the mixture."""
    whole = LAWS.create("gmm", d=1)
    assert isinstance(whole, GaussianMixture)
    parts = list(zip(whole.means, whole.variances, whole.weights, strict=True))
    names = tuple(f"N({mean:g}, {variance:g})" for mean, variance, _ in parts)
    single = {
        name: LAWS.create("gmm", d=1, means=(mean,), variances=(variance,), weights=(1.0,))
        for name, (mean, variance, _) in zip(names, parts, strict=True)
    }
    labels = {name: (mean**2 + variance) ** 2 for name, (mean, variance, _) in zip(names, parts, strict=True)}
    labels["mixture"] = sum(weight * labels[name] for name, (_, _, weight) in zip(names, parts, strict=True))
    says = ("one trained on the whole mixture", "on the mixture of their components")
    return Shift("h-gmm", {"mixture": whole, **single}, labels, names, "mixture", ("mixture",), says)


def rotation_shift() -> Shift:
    """Experts on the paper's law under three rotations, where no gain makes one of another; judged on all three."""
    rotations = {f"rotation {seed}": LAWS.create("anisotropic", law_seed=seed) for seed in (1, 2, 3)}
    # Models are trained as one batch, so that each law states moments of single tasks.
    laws: dict[str, Law] = {"all three": OneOf(laws=tuple(rotations.values()))}
    laws |= {name: OneOf(laws=(law,)) for name, law in rotations.items()}
    says = ("one model of as many parameters trained on all three", "under three rotations")
    labels = dict.fromkeys(laws, 5.0)
    return Shift("h-rot", laws, labels, tuple(rotations), "all three", ("all three",), says, True, (2, 3))


SHIFTS = {"h-var": [variance_shift, rotation_shift], "h-gmm": [component_shift]}
"""What an experiment of the paper has on fresh tasks."""


def answers(
    shift: Shift, depth: int, seed: int, tasks: int = TASKS, recipe: Recipe = RECIPE
) -> Iterator[tuple[str, str, Losses]]:
    """Per-task losses of every method on every law, in units of E[y^2]."""
    (d,) = {law.d for law in shift.laws.values()}
    config = MemformerConfig(d=d, depth=depth, memory="first_order")
    sources = [law.stream(seed, Purpose.TRAIN) for law in shift.laws.values()]
    trained = train(config, sources, [depth], [seed] * len(sources), recipe).parameters
    alone = {name: {part: own[i : i + 1] for part, own in trained.items()} for i, name in enumerate(shift.laws)}
    joined = {part: torch.cat([alone[name][part] for name in shift.experts]) for part in alone[shift.one]}
    mixture, one = assemble(config, joined), assemble(config, alone[shift.one])
    if shift.as_many:
        search = Search(starts=recipe.search_for(config).starts * len(shift.experts))
        source, alike = shift.laws[shift.one].stream(seed, Purpose.TRAIN), replace(recipe, search=search)
        one = Mixture(mixture.config, train(mixture.config, [source], [depth], [seed], alike).parameters)
    for name in shift.scored:
        law = shift.laws[name]

        def losses(weights: Tensor | None, problem: Problem, own: str = name) -> Losses:
            assert weights is not None
            return (excess_loss(problem, weights[-1]) / shift.labels[own]).numpy()

        problem = law.stream(seed, Purpose.SCORE).sample(tasks)
        context, few = problem.blinded(), problem.first(PER_TASK)
        yield name, "trained there", losses(assemble(config, alone[name])(problem).weights, problem)
        names = ((EQUAL, *GATED), (shift.reference, *GATED.values()))
        for (plain, gates, memory, own), model in zip(names, (mixture, one), strict=True):
            yield name, plain, losses(model(problem).weights, problem)
            yield name, gates, losses(adapt(model, context, folds=FOLDS)(problem).weights, problem)
            free = adapt(model, context, "gates_and_memory", folds=FOLDS)
            yield name, memory, losses(free(problem).weights, problem)
            adapted = adapt_each(model, few.blinded(), "gates", FOLDS, 60)
            yield name, own, losses(adapted(few).weights, few)
        pcg = PreconditionedCG().fit(law.stream(seed, Purpose.TRAIN), [depth])
        for method, solver in (("cg", ConjugateGradient()), ("pcg", pcg)):
            yield name, method, losses(solver.solve(problem, depth).weights, problem)


def table(shift: Shift, request: Request, tasks: int = TASKS) -> list[dict[str, Any]]:
    """One row a number of layers, law and method: log loss in units of E[y^2], and its ratio to
    that of the one model, or of what it is judged against.
    """
    work = [(depth, seed) for depth in sorted(shift.layers, reverse=True) for seed in SEEDS]  # the longest first
    names = [f"{shift.id}, {depth} layers, seed {seed}" for depth, seed in work]
    results = request.map("mixtures of experts", partial(_answers, shift, tasks), work, names)
    rows = []
    for depth in shift.layers:
        found: dict[tuple[str, str], list[Losses]] = {}
        for (own_depth, _), answered in zip(work, results, strict=True):
            for law, method, losses in answered if own_depth == depth else ():
                found.setdefault((law, method), []).append(losses)
        for (law, method), losses in found.items():
            summary = summarise(losses, "tasks" if method in CLOSED_FORM else "seeds_and_tasks")
            against = GATED.get(method, shift.reference)
            other = [alone[: len(own)] for alone, own in zip(found[law, against], losses, strict=True)]
            part = compared("", losses, other, "seeds_and_tasks")
            row = {"experiment": shift.id, "layers": depth, "law": law, "method": method, "log_mean": summary.log_mean}
            row |= {"log_low": summary.log_low, "log_high": summary.log_high, "against": against}
            rows.append(row | part.row)
    return rows


def _answers(shift: Shift, tasks: int, work: tuple[int, int]) -> list[tuple[str, str, Losses]]:
    return list(answers(shift, *work, tasks))


def experts_evidence(shift: Shift, rows: list[dict[str, Any]]) -> list[Evidence]:
    """What the table knows: each method against the one model, adapted alike, on the laws that are judged."""
    gathered = []
    for method, text in CLAIMS.items():
        own = [row for row in rows if row["method"] == method and row["law"] in shift.judged]
        if not own:
            why = "'run paper' makes that table anew, and --only chooses experiments"
            raise UserError(f"experts.csv has no rows of {shift.id}, {method}; {why}")
        parts = [Part.of_row(f"{row['law']}, {row['layers']}", row) for row in own]
        worst, best = max(parts, key=lambda part: part.high), min(parts, key=lambda part: part.low)
        shown = f"from {best.ratio:+.3f} [{best.low:+.3f}, {best.high:+.3f}] to "
        shown += f"{worst.ratio:+.3f} [{worst.low:+.3f}, {worst.high:+.3f}], against {own[0]['against']}"
        layers = ", ".join(str(k) for k in sorted({row["layers"] for row in own}))
        one, where = shift.says
        claim, short = text.format(one=one, where=where), f"{shift.id}: {method}"
        gathered.append(Evidence(claim, "Experts", short, shift.id, parts, layers=layers, fresh=shown))
    return gathered


def read_table(path: Path) -> list[dict[str, Any]]:
    """The rows of an `experts.csv`.

    Raises:
        UserError: if it is not one, or of a time when the control was not adapted.
    """
    texts: dict[str, type] = dict.fromkeys(("experiment", "law", "method", "against"), str)
    ratio = Part("", 0.0, 0.0, 0.0, 0.0).row
    numbers: dict[str, type] = dict.fromkeys(("log_mean", "log_low", "log_high", *ratio), float)
    return read_rows(path, "mixtures of experts ('run paper' makes it anew)", {**texts, "layers": int, **numbers})
