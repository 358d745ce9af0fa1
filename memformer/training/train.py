"""Training: models of all depths and seeds, with the starts of each, as one batch; the best start is the model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from memformer.core.modes import learns
from memformer.core.problem import TaskSource
from memformer.model.config import MemformerConfig
from memformer.model.forward import check_fits
from memformer.training.recipe import History, ProgressCallback, Recipe
from memformer.training.run import Run
from memformer.training.search import Search, SearchRecord


@dataclass(frozen=True, eq=False)
class Trained:
    """S trained models.

    Attributes:
        parameters: stacked in front.
        loss: `(S,)` on the validation tasks.
        history: what happened.
        searches: what the starts of each model found.
    """

    parameters: dict[str, Tensor]
    loss: Tensor
    history: History
    searches: list[SearchRecord]


@learns
def train(
    config: MemformerConfig,
    sources: Sequence[TaskSource],
    depths: Sequence[int],
    seeds: Sequence[int],
    recipe: Recipe | None = None,
    start: Mapping[str, Tensor] | None = None,
    progress: ProgressCallback | None = None,
) -> Trained:
    """Train one model for each source and depth, all at once; the same arguments give the same bits.

    Args:
        config: of the deepest models.
        sources: of training tasks, alike in N, d, dtype and device.
        depths: different numbers of layers, at most `config.depth`, of the models that each source trains.
        seeds: of the random starts of each source's models.
        recipe: how; None is the default.
        start: parameters to start from, in the order that is returned, in place of a search.
        progress: called after every validation.

    Returns:
        `len(sources) * len(depths)` models, those of the first source first: of each the best that any start has seen,
        by its loss on validation tasks. Layers a model does not have hold numbers that nothing reads.

    Raises:
        ValueError: if sources, depths or seeds do not fit.
        TrainingError: if no start of a model reached a finite loss, or all became nonfinite again and again.
    """
    recipe = recipe or Recipe()
    if not sources or not depths or len(sources) != len(seeds):
        raise ValueError(f"{len(sources)} sources and {len(seeds)} seeds for {len(depths)} depths: give each its seed")
    if max(depths) > config.depth or min(depths) < 1 or len(set(depths)) < len(depths):
        raise ValueError(
            f"depths are {list(depths)}; they must be different numbers from 1 to {config.depth}, the config's depth"
        )
    for source in sources:
        check_fits(config, source.N, source.d)
    search = recipe.search_for(config) if start is None else Search()
    run = Run(config, sources, depths, seeds, recipe, search, progress)
    run.begin(run.starts() if start is None else [run.coordinates.theta(start)])
    if recipe.method == "lbfgs":
        run.lbfgs()
    else:
        run.adam()
    parameters, loss = run.found()
    return Trained(parameters, loss, run.history, run.rows.records(run.best_loss))
