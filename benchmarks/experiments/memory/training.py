"""Training histories of the experiment `memory`: how far above its floor every model is after every budget."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from baselines.lfom_optimal import LfomOptimal
from baselines.objective import excess_loss
from benchmarks.catalogue.registry import LAWS
from benchmarks.experiments.memory.settings import Batch, MemorySettings
from benchmarks.harness.scores.floors import optimal_method
from benchmarks.tasks.law import Law, Purpose
from memformer.model.config import MemformerConfig, Preconditioner
from memformer.training.recipe import Recipe, TrainingError
from memformer.training.search import Search
from memformer.training.train import train
from memformer.training.whitening import Coordinates, initial_theta


@dataclass(frozen=True)
class Curve:
    """One model while it trained.

    Attributes:
        start, preconditioner, memory, depth, seed: which.
        gaps: log loss above the floor on the same fresh tasks, by number of steps; 0 is the start. Infinite
            from where a model could not be trained on.
        stopped: the step at which training ended because it gained no more; later budgets repeat that gap.
    """

    start: str
    preconditioner: Preconditioner
    memory: str
    depth: int
    seed: int
    gaps: dict[int, float]
    stopped: int

    def rounded(self) -> Curve:
        """With gaps as the table has them, so that what is said follows from the table."""
        return dataclasses.replace(self, gaps={step: round(gap, 3) + 0.0 for step, gap in self.gaps.items()})  # no -0.0

    def row(self) -> dict[str, Any]:
        """For the table."""
        own = {name: value for name, value in vars(self).items() if name != "gaps"}
        return {**own, **{f"gap_{step}": gap for step, gap in self.gaps.items()}}


def floors(settings: MemorySettings, law: Law, preconditioner: Preconditioner) -> dict[int, Tensor]:
    """Log mean loss of the best fixed method on each seed's scored tasks, by size of a batch.

    `train` scores on validation tasks of its source, and takes the mean of the means of batches, whose last may be
    smaller: the floor is that of the very same tasks with the very same weights.

    Returns:
        `(seeds, most_layers + 1)` for each size.
    """
    most = settings.most_layers
    best = optimal_method(law, most, preconditioner == "full", num_tasks=settings.floor_tasks)
    losses = torch.stack([_losses(best, law, seed, settings.scored, most) for seed in settings.seeds])
    sizes = {start.batch for start in settings.starts}
    return {size: torch.stack([part.mean(-1) for part in losses.split(size, dim=-1)]).mean(0).log() for size in sizes}


def _losses(best: LfomOptimal, law: Law, seed: int, scored: int, most: int) -> Tensor:
    """Of each task after each number of steps, `(most + 1, scored)`."""
    problem = law.stream(seed, Purpose.VALIDATION).sample(scored)
    weights = best.solve(problem.blinded(), most).weights
    assert weights is not None
    return excess_loss(problem, weights)


def histories(settings: MemorySettings, batch: Batch, floor: Tensor) -> list[Curve]:
    """Train one batch, and read its history off at every budget.

    Args:
        settings: of the experiment.
        batch: which models.
        floor: `(seeds, most_layers + 1)`, from `floors`, of the batch's preconditioner and size.
    """
    law = LAWS.create(settings.law)
    config = batch.variant.config(law.d, law.N, max(batch.depths), batch.preconditioner)
    recipe = Recipe(
        steps=batch.budgets[-1],
        tasks=batch.start.pool,
        validation=settings.scored,
        checkpoints=tuple(batch.budgets),
        patience=settings.patience if batch.start.schedule == "constant" else 0,
        tolerance=settings.gain,
        whiten=batch.start.deviation is None,
        warmup=0.0,
        loss="expected",
        **batch.start.model_dump(include={"batch", "learning_rate", "schedule", "clip"}),
        search=Search(descent=True),
        spread=1.0,
    )
    begin = None if batch.start.deviation is None else small_start(config, batch, settings.seeds)
    models = [(seed, depth) for seed in range(len(settings.seeds)) for depth in batch.depths]
    try:
        sources = [law.stream(seed, Purpose.TRAIN) for seed in settings.seeds]
        records = train(config, sources, batch.depths, settings.seeds, recipe, begin).history.records
    except TrainingError:
        records = []
    seen = {record.step: record.validation for record in records}
    curves = []
    for i, (seed, depth) in enumerate(models):
        gaps, gap = {}, math.inf
        for budget in [0, *batch.budgets]:
            if budget in seen:
                gap = _log(seen[budget][i]) - floor[seed, depth].item()
            gaps[budget] = gap
        stopped = max(seen, default=0)
        names = (batch.start.name, batch.preconditioner, batch.variant.name)
        curves.append(Curve(*names, depth, settings.seeds[seed], gaps, stopped))
    return curves


def _log(loss: float) -> float:
    return math.log(loss) if math.isfinite(loss) else math.inf


def small_start(config: MemformerConfig, batch: Batch, seeds: Sequence[int]) -> dict[str, Tensor]:
    """Q random and small, memory weights such that memory is not used yet: S models, those of the first seed first."""
    assert batch.start.deviation is not None
    models = len(seeds) * len(batch.depths)
    generators = [torch.Generator().manual_seed(seed) for seed in seeds for _ in batch.depths]
    coordinates = Coordinates(config, None)
    unit = torch.ones(models, config.depth, dtype=torch.float64)
    start = coordinates.parameters(initial_theta(coordinates, unit, generators, noise=0.0))
    shape = config.shapes()["Q"]
    drawn = [torch.randn(*shape, generator=generator, dtype=torch.float64) for generator in generators]
    return {**start, "Q": batch.start.deviation * torch.stack(drawn)}
