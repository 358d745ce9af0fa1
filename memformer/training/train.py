"""Training: models of all depths and seeds as one batch, until theory's floor or the end of the budget."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from memformer.core.problem import TaskSource
from memformer.model.config import MemformerConfig
from memformer.model.forward import check_fits, first_layers, live_layers
from memformer.training.adam import BatchedAdam
from memformer.training.lbfgs import BatchedLbfgs
from memformer.training.objective import Batch, draw, losses
from memformer.training.recipe import History, Progress, ProgressCallback, Recipe, Record, TrainingError
from memformer.training.whitening import chebyshev_steps, coordinates_of, initial_theta

_SPECTRUM_TASKS = 256

_MARGINS = (1.0, 1.5, 2.0, 4.0, 8.0, 16.0)
"""Starts that are tried, as factors on the mean largest eigenvalue: heavy tails need short steps."""


@dataclass(frozen=True)
class Trained:
    """S trained models.

    Attributes:
        parameters: stacked in front.
        loss: `(S,)` on the validation tasks.
        history: what happened.
    """

    parameters: dict[str, Tensor]
    loss: Tensor
    history: History


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
        depths: numbers of layers, at most `config.depth`, of the models that each source trains.
        seeds: of the random start of each source's models.
        recipe: how; None is the default.
        start: parameters to start from, in the order that is returned; None starts near gradient descent.
        progress: called after every validation.

    Returns:
        `len(sources) * len(depths)` models, those of the first source first: of each the best that was seen, by
        its loss on fresh validation tasks. Layers a model does not have hold numbers that nothing reads.

    Raises:
        ValueError: if sources, depths or seeds do not fit.
        TrainingError: if a model never reached a finite loss, or became nonfinite again and again.
    """
    recipe = recipe or Recipe()
    if not sources or not depths or len(sources) != len(seeds):
        raise ValueError(f"{len(sources)} sources and {len(seeds)} seeds for {len(depths)} depths: give each its seed")
    if max(depths) > config.depth or min(depths) < 1:
        raise ValueError(f"depths are {list(depths)}; with depth={config.depth} they must be from 1 to {config.depth}")
    for source in sources:
        check_fits(config, source.N, source.d)
    run = _Run(config, sources, depths, seeds, recipe, progress)
    run.begin(start)
    if recipe.method == "lbfgs":
        run.lbfgs()
    else:
        run.adam()
    parameters = {name: tensor.detach() for name, tensor in run.coordinates.parameters(run.best).items()}
    return Trained(parameters, run.best_loss, run.history)


class _Run:
    """One call of `train`: S models, the best of each that was seen, and the ways to make them better."""

    def __init__(
        self,
        config: MemformerConfig,
        sources: Sequence[TaskSource],
        depths: Sequence[int],
        seeds: Sequence[int],
        recipe: Recipe,
        progress: ProgressCallback | None,
    ) -> None:
        self.config, self.sources, self.recipe, self.progress = config, sources, recipe, progress
        self.depths = list(depths) * len(sources)
        self.seeds = [seed for seed in seeds for _ in depths]
        self.total = recipe.steps_for(config)
        self.history = History(method=recipe.method)
        self.began = time.perf_counter()
        self.validation = draw(
            config, sources, recipe.validation or max(1, recipe.tasks // 2), recipe.batch, recipe.loss
        )
        self.coordinates = coordinates_of(config, sources, len(depths), recipe.whiten)
        like = sources[0].second_moment
        self.live = live_layers(config, self.depths, len(self.depths), like)
        self.best_loss = like.new_full((len(self.depths),), math.inf)
        self.best = like.new_zeros(len(self.depths), sum(self.coordinates.sizes))
        self.idle = 0
        self._losses = torch.compile(self._loss, dynamic=False) if recipe.compile else self._loss

    def begin(self, start: Mapping[str, Tensor] | None) -> None:
        """Find a start with a finite loss; it is the best so far."""
        starts = self._starts() if start is None else [self.coordinates.theta(start)]
        for _ in range(self.recipe.retries + 1):
            for theta in starts:
                self._keep(theta, self._mean_loss(theta))
            wild = ~self.best_loss.isfinite()
            if not bool(wild.any()):
                break
            self.history.events.append(f"{self._names(wild)} had no finite loss at the start, now halved")
            starts = [theta / 2 for theta in starts]
        else:
            raise TrainingError(f"{self._names(~self.best_loss.isfinite())} had no finite loss at the start")
        self._record(0, self.best_loss, self.best_loss, self.best)

    def _starts(self) -> list[Tensor]:
        contexts = torch.stack([source.sample(_SPECTRUM_TASKS).moments.H for source in self.sources])
        contexts = contexts.repeat_interleave(len(self.depths) // len(self.sources), 0)
        starts = []
        for margin in _MARGINS:
            steps = chebyshev_steps(self.coordinates, contexts, self.depths, self.config.depth, margin)
            # A model's random numbers do not depend on the depths and seeds it is trained beside.
            generators = [torch.Generator().manual_seed(seed) for seed in self.seeds]
            starts.append(initial_theta(self.coordinates, steps, generators, self.recipe.noise))
        return starts

    def lbfgs(self) -> None:
        """A fixed set of tasks. A tenth of it leads most of the way; the rest is used once the tenth tells no more."""
        recipe, step = self.recipe, 0
        tasks = draw(self.config, self.sources, recipe.tasks, recipe.batch, recipe.loss)
        stages = [tasks[: max(1, len(tasks) // 10)], tasks] if len(tasks) > 4 else [tasks]
        for batches in stages:
            search = BatchedLbfgs(self.best, lambda theta, batches=batches: self._log_loss(theta, batches))
            self.idle = 0
            while step < self.total:
                search.step()
                step += 1
                stalled = bool(search.stalled.all())
                if stalled or recipe.validates(step, self.total):
                    self._record(step, search.value.exp(), self._mean_loss(search.theta), search.theta)
                    if stalled or recipe.impatient(self.idle):
                        break

    def adam(self) -> None:
        """Fresh tasks at every step."""
        recipe, restarts = self.recipe, torch.zeros_like(self.best_loss)
        search = BatchedAdam(self.best, recipe.betas, recipe.clip)
        running: Tensor | None = None
        for step, batch in enumerate(self._stream(), 1):
            loss, gradient = self._gradient(search.theta, batch)
            lost = ~(loss.isfinite() & gradient.isfinite().all(1))
            running = loss if running is None else running.lerp(loss, 0.1)
            search.step(gradient / running[:, None], self._learning_rate(step))
            validated = recipe.validates(step, self.total)
            if validated:
                validation = self._mean_loss(search.theta)
                lost = lost | ~validation.isfinite()
                self._record(step, running, validation, search.theta)
            if bool(lost.any()):
                restarts = restarts + lost
                if bool((restarts > recipe.retries).any()):
                    raise TrainingError(f"{self._names(restarts > recipe.retries)} became nonfinite again and again")
                self.history.events.append(f"{self._names(lost)} became nonfinite at step {step} and went back")
                search.restart(lost, self.best)
                running = torch.where(lost, self.best_loss, running)
            if step == self.total or (validated and recipe.impatient(self.idle)):
                return

    def _stream(self) -> Iterator[Batch]:
        """Batches without end; each task is used `passes` times, since drawing it costs more than a step on it."""
        recipe = self.recipe
        while True:
            batches = draw(self.config, self.sources, recipe.tasks, min(recipe.batch, recipe.tasks), recipe.loss)
            for _ in range(recipe.passes):
                yield from batches

    def _learning_rate(self, step: int) -> float:
        warmup = max(1.0, self.recipe.warmup * self.total)
        rise = min(1.0, step / warmup)
        if self.recipe.schedule == "constant":
            return self.recipe.learning_rate * rise
        along = max(0.0, step - warmup) / max(1.0, self.total - warmup)
        return self.recipe.learning_rate * rise * (1 + math.cos(math.pi * along)) / 2

    def _loss(self, theta: Tensor, batch: Batch) -> Tensor:
        parameters = self.coordinates.parameters(theta)
        if self.live is None or (self.config.reducible and not self.config.covariate_update):
            return losses(self.config, parameters, batch, self.live)
        # Layers that carry tokens or d×d matrices cost more than the calls saved by running dead ones along.
        found, members = [], len(self.depths) // len(self.sources)
        for member, depth in enumerate(self.depths[:members]):
            own = {name: tensor[member::members] for name, tensor in parameters.items()}
            found.append(losses(*first_layers(self.config, own, depth), batch))
        return torch.stack(found, 1).flatten()

    def _gradient(self, theta: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        theta = theta.detach().requires_grad_()
        loss = self._losses(theta, batch)
        (gradient,) = torch.autograd.grad(loss, theta, torch.ones_like(loss))
        return loss.detach(), gradient

    def _log_loss(self, theta: Tensor, batches: Sequence[Batch]) -> tuple[Tensor, Tensor]:
        """Log of the mean loss and its gradient: small losses weigh as much as large ones in a line search."""
        loss, gradient = torch.zeros_like(theta[:, 0]), torch.zeros_like(theta)
        for batch in batches:
            batch_loss, batch_gradient = self._gradient(theta, batch)
            loss += batch_loss
            gradient += batch_gradient
        return (loss / len(batches)).log(), gradient / loss[:, None]

    @torch.no_grad()
    def _mean_loss(self, theta: Tensor) -> Tensor:
        """Loss on the validation tasks, `(S,)`."""
        return torch.stack([self._loss(theta, batch) for batch in self.validation]).mean(0)

    def _keep(self, theta: Tensor, loss: Tensor) -> bool:
        """Keep `theta` where it is the best so far; whether any model gained more than the tolerance."""
        gain = (self.best_loss / loss).log()
        better = loss < self.best_loss
        self.best = torch.where(better[:, None], theta, self.best)
        self.best_loss = torch.where(better, loss, self.best_loss)
        return bool((better & (gain > self.recipe.tolerance)).any())

    def _record(self, step: int, training: Tensor, validation: Tensor, theta: Tensor) -> None:
        self.idle = 0 if self._keep(theta, validation) else self.idle + 1
        seconds = time.perf_counter() - self.began
        self.history.records.append(Record(step, seconds, training.tolist(), validation.tolist()))
        if self.progress is not None:
            self.progress(Progress(step, self.total, self.best_loss.median().item()))

    def _names(self, which: Tensor) -> str:
        """The models in `which` `(S,)`, for people."""
        numbers = which.nonzero()[:, 0].tolist()
        return ", ".join(f"the model of seed {self.seeds[i]} and depth {self.depths[i]}" for i in numbers)
