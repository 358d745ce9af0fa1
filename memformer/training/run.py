"""One call of `train`: the rows of a batch, the best of each that was seen, and the ways to make them better."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor

from memformer.core.iterative import CHECK_INTERVAL
from memformer.core.problem import TaskSource
from memformer.model.config import MemformerConfig
from memformer.model.forward import first_layers, live_layers
from memformer.training.adam import BatchedAdam
from memformer.training.lbfgs import BatchedLbfgs
from memformer.training.objective import Batch, draw, losses
from memformer.training.recipe import History, Progress, ProgressCallback, Recipe, Record, TrainingError
from memformer.training.rows import Rows
from memformer.training.search import Search
from memformer.training.whitening import coordinates_of, initial_theta, mean_spectrum, minimax_steps, random_theta

_SPECTRUM_TASKS = 256

_MARGINS = (1.0, 1.5, 2.0, 4.0, 8.0, 16.0)
"""Gradient descent is tried with these factors on the mean largest eigenvalue: heavy tails need short steps."""


Batches = dict[float, Batch]
"""The same tasks spread as far as models of each depth want them, by how far."""


class Run:
    """R rows that train together.

    Args:
        config, sources, depths, seeds, recipe, progress: as `memformer.training.train.train` takes them.
        search: from where training starts.

    Attributes:
        rows: which model and start each row is, and which still train.
        best, best_loss: `(R, n)` and `(R,)`, of each row the best that was seen, by its validation loss.
        history: what happened.
    """

    def __init__(
        self,
        config: MemformerConfig,
        sources: Sequence[TaskSource],
        depths: Sequence[int],
        seeds: Sequence[int],
        recipe: Recipe,
        search: Search,
        progress: ProgressCallback | None,
    ) -> None:
        self.config, self.recipe, self.search, self.progress = config, recipe, search, progress
        self.plain = sources
        self.widths = {depth: recipe.spread_for(config, depth) for depth in depths}
        self.sources = {
            width: [source.spread(width) for source in sources] for width in sorted(set(self.widths.values()))
        }
        totals = [recipe.steps_for(config, depth) for depth in depths]
        self.rows, self.total = Rows(seeds, depths, search, totals), max(totals)
        self.history = History(method=recipe.method)
        self.began = time.perf_counter()
        judges = {width: [one.validation() for one in spread] for width, spread in self.sources.items()}
        self.validation = self._draw(judges, recipe.validation or max(1, recipe.tasks // 2), recipe.batch)
        self.all_coordinates = coordinates_of(config, sources, len(depths) * search.starts, recipe.whiten)
        self.like = sources[0].second_moment
        self.best_loss = self.like.new_full((len(self.rows.depths),), math.inf)
        self.best = self.like.new_zeros(len(self.rows.depths), sum(self.all_coordinates.sizes))
        self.last = torch.stack([self.best_loss, self.best_loss])
        self.idle = 0
        self._regroup()
        self._losses = torch.compile(self._loss, dynamic=False) if recipe.compile else self._loss

    def _regroup(self) -> None:
        """Make ready for the rows that are active now."""
        active, config = self.rows.active, self.config
        self.coordinates = self.all_coordinates.of(active)
        depths = [self.rows.depths[row] for row in active.tolist()]
        self.totals = self.rows.totals[active].to(self.like)
        self.live = live_layers(config, depths, len(depths), self.like)
        # Layers that carry tokens or d×d matrices cost more than the calls saved by running dead ones along.
        apart = self.live is not None and (config.covariate_update or not config.reducible)
        numbers = torch.tensor(depths)
        self.sources = {width: self.sources[width] for width in sorted({self.widths[depth] for depth in depths})}
        members = {depth: (numbers == depth).nonzero()[:, 0] for depth in dict.fromkeys(depths)} if apart else {}
        self.parts = {depth: own.to(self.like.device) for depth, own in members.items()}
        self.width = self.widths[depths[0]] if depths else 1.0
        self.back = torch.cat(list(self.parts.values())).argsort() if self.parts else None

    def _draw(self, sources: Mapping[float, Sequence[TaskSource]], count: int, size: int) -> list[Batches]:
        """The next `count` tasks of each source, in batches, as far spread as any model wants them."""
        drawn = [draw(self.config, spread, count, size, self.recipe.loss) for spread in sources.values()]
        return [dict(zip(sources, batches, strict=True)) for batches in zip(*drawn, strict=True)]

    def starts(self) -> list[Tensor]:
        """Where rows may start, `(R, n)` each: of each row the first is taken that is best."""
        rows, search, like = self.rows, self.search, self.like
        models = zip(rows.seeds[:: rows.starts], rows.depths[:: rows.starts], strict=True)
        generators = [generator for model in models for generator in search.generators(*model)]
        random = random_theta(self.coordinates, generators, search.scale, search.memory_scale, like)
        if not search.descent:
            return [random]
        contexts = torch.stack([source.sample(_SPECTRUM_TASKS).moments.H for source in self.plain])
        contexts = contexts.repeat_interleave(len(rows.depths) // len(self.plain), 0)
        first = (torch.arange(len(rows.depths)) % rows.starts == 0)[:, None].to(like.device)
        found, spectrum = [], mean_spectrum(self.coordinates, contexts)
        for margin in _MARGINS:
            steps = minimax_steps(spectrum, rows.depths, self.config.depth, margin)
            own = [torch.Generator().manual_seed(seed) for seed in rows.seeds]
            found.append(torch.where(first, initial_theta(self.coordinates, steps, own, self.recipe.noise), random))
        return found

    def begin(self, starts: Sequence[Tensor]) -> None:
        """Of each row take the best start; halve those without a finite loss."""
        for _ in range(self.recipe.retries + 1):
            for theta in starts:
                self._keep(theta, self._mean_loss(theta))
            wild = ~self.best_loss.isfinite()
            if not bool(wild.any()):
                break
            self.history.events.append(f"{self.rows.names(wild)} had no finite loss at the start, now halved")
            starts = [theta / 2 for theta in starts]
        self._unless_all(~self.best_loss.isfinite(), "had no finite loss at the start")
        self._record(0, self.best_loss, self.best_loss, self.best)

    def _unless_all(self, lost: Tensor, what: str) -> None:
        """Raise if all starts of a model are lost."""
        gone = self.rows.by_model(lost).all(1).repeat_interleave(self.rows.starts, 0)
        if bool(gone.any()):
            raise TrainingError(f"{self.rows.names(gone)} {what}")

    def found(self) -> tuple[dict[str, Tensor], Tensor]:
        """Parameters and validation loss of the best start of each model."""
        rows = self.rows
        loss, start = rows.by_model(self.best_loss).min(1)
        chosen = start.cpu() + rows.starts * torch.arange(len(start))
        parameters = self.all_coordinates.of(chosen).parameters(self.best[chosen])
        return {name: tensor.detach() for name, tensor in parameters.items()}, loss

    def lbfgs(self) -> None:
        """A fixed set of tasks. A tenth of it leads most of the way; the rest is used once the tenth tells no more.

        Weak starts are dropped in between, after half of the evaluations at the latest.
        """
        recipe, rows, step = self.recipe, self.rows, 0
        tasks = self._draw(self.sources, recipe.tasks, recipe.batch)
        stages = [tasks[: max(1, len(tasks) // 10)], tasks] if len(tasks) > 4 else [tasks]
        for stage, batches in enumerate(stages):
            if stage > 0:
                rows.drop(step, self.best_loss, dict.fromkeys(range(rows.members), self.search.kept(1.0)))
                self._regroup()
            search = BatchedLbfgs(self.best[rows.active], lambda theta, batches=batches: self._log_loss(theta, batches))
            self.idle = 0
            # The rest gets at least half of the evaluations.
            while step < (self.total if batches is tasks else self.total // 2):
                search.step()
                step += 1
                stalled = bool(search.stalled.all())
                if stalled or recipe.validates(step, self.total):
                    self._record(step, search.value.exp(), self._mean_loss(search.theta), search.theta)
                    if stalled or recipe.impatient(self.idle):
                        break
        rows.end(step)

    def adam(self) -> None:
        """Fresh tasks at every step."""
        recipe, rows, restarts = self.recipe, self.rows, torch.zeros_like(self.best_loss)
        search = BatchedAdam(self.best, recipe.betas, recipe.clip)
        running = torch.zeros_like(self.best_loss)
        for step, batch in enumerate(self._stream(), 1):
            loss, gradient = self._gradient(search.theta, batch)
            lost = ~(loss.isfinite() & gradient.isfinite().all(1))
            running = loss if step == 1 else running.lerp(loss, 0.1)
            search.step(gradient / running[:, None], self._learning_rate(step))
            validated = rows.due(step) or recipe.validates(step, self.total)
            if validated:
                validation = self._mean_loss(search.theta)
                lost = lost | ~validation.isfinite()
                self._record(step, running, validation, search.theta)
            # Asking waits for an accelerator, and what is lost stays so until it is asked.
            asked = lost.device.type == "cpu" or validated or step % CHECK_INTERVAL == 0
            if asked and bool(lost.any()):
                restarts[rows.active] += lost
                self._unless_all(restarts > recipe.retries, "became nonfinite again and again")
                which = torch.zeros_like(restarts, dtype=torch.bool)
                which[rows.active] = lost
                if bool((which & (restarts <= recipe.retries)).any()):
                    self.history.events.append(f"{rows.names(which)} became nonfinite at step {step} and went back")
                search.restart(lost, self.best[rows.active])
                running = torch.where(lost, self.best_loss[rows.active], running)
            if rows.due(step):
                going = rows.drop(step, self.best_loss)
                if not len(going):
                    return
                search.keep(going)
                running = running[going]
                self._regroup()
            if validated and recipe.impatient(self.idle):
                return rows.end(step)

    def _stream(self) -> Iterator[Batches]:
        """Batches without end; each task is used `passes` times, since drawing it costs more than a step on it.

        With more than one thread the next tasks are drawn while these are used.
        """
        recipe = self.recipe

        def fresh() -> list[Batches]:
            return self._draw(self.sources, recipe.tasks, min(recipe.batch, recipe.tasks))

        with ThreadPoolExecutor(1) as beside:
            batches = fresh()
            while True:
                following = beside.submit(fresh) if torch.get_num_threads() > 1 else None
                for _ in range(recipe.passes_for(self.config)):
                    yield from batches
                batches = following.result() if following else fresh()

    def _learning_rate(self, step: int) -> Tensor:
        """Of each row, `(A, 1)`."""
        recipe, total = self.recipe, self.totals
        warmup = (recipe.warmup * total).clamp(min=1.0)
        rate = recipe.learning_rate * (step / warmup).clamp(max=1.0)
        if recipe.schedule == "constant":
            return rate
        along = (step - warmup).clamp(min=0.0) / (total - warmup).clamp(min=1.0)
        return rate * (1 + (math.pi * along).cos()) / 2

    def _loss(self, theta: Tensor, batches: Batches) -> Tensor:
        """`(A,)` of the active rows."""
        parameters = self.coordinates.parameters(theta)
        if self.back is None:
            return losses(self.config, parameters, batches[self.width], self.live)
        found = []
        for depth, members in self.parts.items():
            own = {name: tensor[members] for name, tensor in parameters.items()}
            found.append(losses(*first_layers(self.config, own, depth), batches[self.widths[depth]]))
        return torch.cat(found)[self.back]

    def _gradient(self, theta: Tensor, batch: Batches) -> tuple[Tensor, Tensor]:
        theta = theta.detach().requires_grad_()
        loss = self._losses(theta, batch)
        (gradient,) = torch.autograd.grad(loss, theta, torch.ones_like(loss))
        return loss.detach(), gradient

    def _log_loss(self, theta: Tensor, batches: Sequence[Batches]) -> tuple[Tensor, Tensor]:
        """Log of the mean loss and its gradient: small losses weigh as much as large ones in a line search."""
        loss, gradient = torch.zeros_like(theta[:, 0]), torch.zeros_like(theta)
        for batch in batches:
            batch_loss, batch_gradient = self._gradient(theta, batch)
            loss += batch_loss
            gradient += batch_gradient
        return (loss / len(batches)).log(), gradient / loss[:, None]

    @torch.no_grad()
    def _mean_loss(self, theta: Tensor) -> Tensor:
        """Loss of the active rows on the validation tasks, `(A,)`."""
        return torch.stack([self._loss(theta, batch) for batch in self.validation]).mean(0)

    def _keep(self, theta: Tensor, loss: Tensor) -> bool:
        """Keep `theta` where it is a row's best so far; whether any row gained more than the tolerance."""
        active = self.rows.active
        before = self.best_loss[active]
        better = loss < before
        self.best[active] = torch.where(better[:, None], theta, self.best[active])
        self.best_loss[active] = torch.where(better, loss, before)
        return bool((better & ((before / loss).log() > self.recipe.tolerance)).any())

    def _record(self, step: int, training: Tensor, validation: Tensor, theta: Tensor) -> None:
        self.idle = 0 if self._keep(theta, validation) else self.idle + 1
        self.last[:, self.rows.active] = torch.stack([training, validation])
        seconds, by_model = time.perf_counter() - self.began, self.rows.by_model
        # Of each model, the start that is ahead.
        ahead = by_model(self.last[1].nan_to_num(nan=math.inf)).argmin(1, keepdim=True)
        now = [by_model(values).gather(1, ahead)[:, 0].tolist() for values in self.last]
        self.history.records.append(Record(step, seconds, *now))
        if self.progress is not None:
            self.progress(Progress(step, self.total, by_model(self.best_loss).min(1).values.median().item()))
