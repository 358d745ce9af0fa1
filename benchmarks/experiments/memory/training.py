"""Training of the experiment `memory`: how far above its floor every model is, for every budget of steps."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from baselines.constructed import ConstructedMemformer
from baselines.exact_law import gaussian_tasks
from baselines.wishart import GaussianTasks
from benchmarks.experiments.memory.settings import Batch, MemorySettings, Tasks
from benchmarks.tasks.law import Law, Purpose
from memformer.model.config import MemformerConfig, Preconditioner
from memformer.model.inspect import polynomials, step_sizes
from memformer.training.objective import draw, losses
from memformer.training.recipe import Recipe, TrainingError
from memformer.training.search import Search
from memformer.training.train import train
from memformer.training.whitening import Coordinates, initial_theta

AT_ONCE = 5_000
"""Tasks that models are judged on at a time."""


@dataclass(frozen=True)
class Curve:
    """One model, trained anew for every budget.

    Attributes:
        tasks, start, preconditioner, memory, depth, seed: which.
        gaps: log loss above the exact floor by number of training steps; infinite where a model could not be trained.
        stopped: the last budget that was tried; later ones repeat its gap.
        error: standard error of that gap; 0 for a gap that is exact.
        noisy: as in `Run`.
    """

    tasks: str
    start: str
    preconditioner: Preconditioner
    memory: str
    depth: int
    seed: int
    gaps: dict[int, float]
    stopped: int
    error: float
    noisy: bool = False

    def rounded(self) -> Curve:
        """With gaps as the table has them, so that what is said follows from the table."""
        return dataclasses.replace(self, gaps={step: float(f"{gap:.4g}") for step, gap in self.gaps.items()})

    @property
    def last(self) -> float:
        """The gap after the last budget."""
        return self.gaps[max(self.gaps)]

    def row(self) -> dict[str, Any]:
        """For the table."""
        own = {name: value for name, value in vars(self).items() if name not in ("gaps", "noisy")}
        return {**own, **{f"gap_{step}": gap for step, gap in self.gaps.items()}}


def exact_law(tasks: Tasks) -> GaussianTasks:
    """A law that is trained on, in the coordinates in which its moments are known.

    Raises:
        ValueError: if they are known in none.
    """
    exact = gaussian_tasks(tasks.made().stream(0, Purpose.TRUTH), tasks.preconditioner == "full")
    if exact is None:
        raise ValueError(f"the moments of {tasks.name!r} are not known exactly, and so neither is its floor")
    return exact


def gaps(
    config: MemformerConfig, parameters: Mapping[str, Tensor], tasks: Tasks, judged: int, spread: float
) -> list[tuple[float, float]]:
    """Log loss above the exact floor, and its standard error, of each of S models of `config.depth` layers.

    A model with scalar Q is a polynomial, whose loss is exact. One with full Q is not; its gap is the log ratio of its
    loss to that of the best method on the same fresh tasks, drawn such that rare ones are not rare, and weighted.
    """
    exact = exact_law(tasks)
    if config.preconditioner == "scalar":
        found = polynomials(step_sizes(config, parameters))[:, -1].tolist()
        finite = [all(map(math.isfinite, q)) for q in found]
        logs = [math.log(exact.risk(q)) if ok else math.inf for q, ok in zip(found, finite, strict=True)]
        return [(log - exact.log_floor(config.depth), 0.0) for log in logs]
    means = _means(config, parameters, tasks.made(), judged, spread)
    floor = _means(*_best(tasks.made(), config.depth), tasks.made(), judged, spread)
    ratio = means.mean(0) / floor.mean(0)
    error = (means - ratio * floor).std(0) / len(means) ** 0.5 / means.mean(0)
    return list(zip(ratio.log().tolist(), error.tolist(), strict=True))


@torch.no_grad()
def _means(config: MemformerConfig, parameters: Mapping[str, Tensor], law: Law, judged: int, spread: float) -> Tensor:
    """Mean loss of each of S models on each batch of the tasks they are judged on, `(batches, S)`."""
    return torch.stack([losses(config, parameters, batch) for batch in _fresh(law, judged, spread)])


@lru_cache(maxsize=1)
def _fresh(law: Law, judged: int, spread: float) -> list[Any]:
    source = law.stream(0, Purpose.SCORE).spread(spread)
    return draw(MemformerConfig(d=law.d, depth=1), [source], judged, min(judged // 2, AT_ONCE), "expected")


@lru_cache(maxsize=16)
def _best(law: Law, depth: int) -> tuple[MemformerConfig, Mapping[str, Tensor]]:
    """The Memformer that is the best method with fixed coefficients on whitened covariates."""
    made = ConstructedMemformer(preconditioned=True).fit(law.stream(0, Purpose.TRUTH), [depth]).model
    config = made.config(law.d, law.N, depth)
    assert made.parameters is not None
    return config, {name: made.parameters[name] for name in config.shapes()}


def histories(settings: MemorySettings, batch: Batch) -> list[Curve]:
    """Train one batch for one budget after the other, until all its models have come to the floor twice in a row."""
    law = batch.tasks.made()
    config = batch.variant.config(law.d, batch.depth, batch.tasks.preconditioner)
    found: dict[int, list[tuple[float, float]]] = {}
    reached = 0
    for budget in batch.budgets:
        found[budget] = _trained(settings, batch, config, law, budget)
        reached = reached + 1 if max(gap for gap, _ in found[budget]) <= settings.within else 0
        if reached == 2:
            break
    stopped = max(found)
    own = (batch.tasks.name, batch.start.name, batch.tasks.preconditioner, batch.variant.name, batch.depth)
    return [
        Curve(
            *own,
            seed,
            {budget: found[min(budget, stopped)][i][0] for budget in batch.budgets},
            stopped,
            found[stopped][i][1],
            batch.noisy,
        )
        for i, seed in enumerate(settings.seeds)
    ]


def _trained(
    settings: MemorySettings, batch: Batch, config: MemformerConfig, law: Law, steps: int
) -> list[tuple[float, float]]:
    """Gaps and their errors of the models of one batch after so many steps, one for each seed."""
    recipe = Recipe(
        steps=steps,
        tasks=settings.pool,
        batch=settings.batch,
        validation=settings.pool // 5,
        interval=100,
        patience=0,
        learning_rate=batch.start.learning_rate,
        passes=batch.passes,
        spread=settings.spread,
        whiten=batch.start.deviation is None,
        loss="expected",
        search=Search(),
    )
    begin = None if batch.start.deviation is None else small_start(config, batch.start.deviation, settings.seeds)
    sources = [law.stream(seed, Purpose.TRAIN) for seed in settings.seeds]
    try:
        trained = train(config, sources, [batch.depth], settings.seeds, recipe, begin)
    except TrainingError:
        return [(math.inf, 0.0)] * len(sources)
    return gaps(config, trained.parameters, batch.tasks, settings.judged, settings.spread)


def small_start(config: MemformerConfig, deviation: float, seeds: Sequence[int]) -> dict[str, Tensor]:
    """Q random and small, memory weights such that memory is not used yet: a model for each seed."""
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    coordinates = Coordinates(config, None)
    unit = torch.ones(len(seeds), config.depth, dtype=torch.float64)
    start = coordinates.parameters(initial_theta(coordinates, unit, generators, noise=0.0))
    drawn = [torch.randn(*config.shapes()["Q"], generator=one, dtype=torch.float64) for one in generators]
    return {**start, "Q": deviation * torch.stack(drawn)}
