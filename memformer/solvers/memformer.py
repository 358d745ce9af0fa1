"""The Memformer as an ordinary solver of the benchmark: fitted on a law, one model for each number of layers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import ClassVar

import torch
from torch import Tensor

from memformer.core.checks import store_ints
from memformer.core.modes import learns
from memformer.core.problem import Problem, TaskSource
from memformer.core.solver import Fitting, Needs, Reach, Solver, TrainingRecord, check_num_steps
from memformer.core.trace import Trace
from memformer.kernels import first_order_loss, gdpp
from memformer.model.config import Attention, GammaShape, GammaSharing, Gates, MemformerConfig, Memory, Preconditioner
from memformer.model.forward import check_fits, first_layers, forward, reduced_weights
from memformer.training.recipe import Method, ProgressCallback, Recipe
from memformer.training.search import SearchRecord
from memformer.training.train import train


@dataclass(frozen=True)
class Memformer(Solver):
    """A linear Transformer with memory, trained on a law: k steps are the k layers of the model of depth k.

    Attributes:
        memory: `"none"`, `"conjugate"` or `"first_order"`; this and the next eight are as in `MemformerConfig`.
        preconditioner: `"scalar"` or `"full"` Q.
        covariate_update: whether P is free (GD++).
        gamma: shape of a memory weight.
        gamma_sharing: which layers share memory weights.
        gamma_per_head: whether heads have memory weights of their own.
        window: registers kept.
        heads: attention heads.
        gates: weights of heads.
        attention: kind of attention.
        method: of training; this and the next four are as in `Recipe`.
        iterations: at most so many steps of training; None is the method's default.
        tasks: tasks drawn for training (at a time).
        batch: tasks of a training step.
        learning_rate: Adam's.
        starts: random starts of training, of which the best on validation tasks is the model; None is as in `Recipe`.
        parameters: `depths` `(R,)`, `made_for` `(d, N)`, and what `MemformerConfig.shapes` lists, for R models of
            those depths, stacked; found by `fit`. `search_losses` and `search_steps` tell what the starts found.

    Raises:
        ValueError: if a value is out of its range, or a combination makes no sense.

    Needs: the law (training tasks of it).
    Cost: P = 0: one matrix-vector product with H a layer, and one with each Q; else products of d×d matrices.
    Guarantee: P = 0 and scalar Q: never below the LFOM floor on fresh tasks.
    Source: Dutta & Sra, arXiv 2410.07263, equations 9-17.

    Example:
        >>> problem = Problem(torch.ones(1, 2, 1), torch.ones(1, 2), torch.ones(1, 1, 1))
        >>> Memformer(memory="first_order").solve(problem, 1)
        Traceback (most recent call last):
        ValueError: the Memformer has no parameters yet; call fit first
    """

    memory: Memory = "none"
    preconditioner: Preconditioner = "full"
    covariate_update: bool = False
    gamma: GammaShape = "scalar"
    gamma_sharing: GammaSharing = "none"
    gamma_per_head: bool = False
    window: int | None = None
    heads: int = 1
    gates: Gates = "none"
    attention: Attention = "linear"
    method: Method = "adam"
    iterations: int | None = None
    tasks: int = 20_000
    batch: int = 1_000
    learning_rate: float = 0.03
    starts: int | None = None
    parameters: Mapping[str, Tensor] | None = None

    needs: ClassVar[Needs] = Needs.LAW
    anytime: ClassVar[bool] = False
    fitting: ClassVar[Fitting] = Fitting.RANDOM
    learned: ClassVar[bool] = True

    def __post_init__(self) -> None:
        self.config(d=1, N=1, depth=1)
        self.recipe  # noqa: B018 - building it checks its fields
        numbers = ("window", "heads", "iterations", "tasks", "batch", "starts")
        store_ints(self, *(name for name in numbers if getattr(self, name) is not None), least=1)

    def config(self, d: int, N: int, depth: int) -> MemformerConfig:
        """What models of this solver are made of, for contexts of N points in d dimensions."""
        parts = {one.name: getattr(self, one.name) for one in fields(MemformerConfig) if hasattr(self, one.name)}
        return MemformerConfig(d=d, depth=depth, num_tokens=N if self.gamma == "token" else None, **parts)

    @property
    def reach(self) -> Reach:  # pyright: ignore[reportIncompatibleVariableOverride] -- read on instances
        """The class of methods this instance belongs to."""
        if self.covariate_update or self.attention != "linear" or self.gamma == "token":
            return Reach.ANY
        return Reach.FIXED if self.preconditioner == "scalar" else Reach.FIXED_PRECONDITIONED

    @property
    def version(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride] -- read on instances
        """5: with linear attention trained by a compiled loss, other by rounding; 4: tasks are used twice."""
        return 5 if self.attention == "linear" else 4

    @property
    def recipe(self) -> Recipe:
        """How models of this solver are trained."""
        recipe = Recipe(
            method=self.method,
            steps=self.iterations,
            tasks=self.tasks,
            batch=self.batch,
            learning_rate=self.learning_rate,
        )
        if self.starts is None:
            return recipe
        search = recipe.search_for(self.config(d=1, N=1, depth=1))
        return replace(recipe, search=replace(search, starts=self.starts))

    def search(self, num_steps: int) -> SearchRecord | None:
        """What the starts of the model with so many layers found; None if it is not kept."""
        records = SearchRecord.from_tensors(self.parameters or {})
        depths = [] if self.parameters is None else self.parameters["depths"].tolist()
        return records[depths.index(num_steps)] if records and num_steps in depths else None

    def training_record(self, num_steps: int) -> TrainingRecord | None:
        found = self.search(num_steps)
        if found is None:
            return None
        return TrainingRecord(
            steps=max(found.steps),
            tasks=self.recipe.tasks_drawn(self.config(d=1, N=1, depth=1), max(found.steps)),
            starts=found.starts,
            spread=found.spread if math.isfinite(found.spread) else None,
            near_best=found.near_best,
            median=found.median,
        )

    def prepare(self, dtype: torch.dtype, device: torch.device) -> None:
        self._prepare(dtype, device, fits=self.parameters is None)

    def _prepare(self, dtype: torch.dtype, device: torch.device, fits: bool) -> None:
        """What solving calls, and fitting too if it is still to come."""
        if self.attention == "linear" and (self.covariate_update or self.gamma == "token"):
            gdpp.prepare(dtype, device, fits)
        elif self.attention == "linear" and fits:
            first_order_loss.prepare(dtype, device)

    def fit(self, tasks: TaskSource, steps: Sequence[int], seed: int = 0) -> Memformer:
        return self.fit_together([tasks], steps, [seed])[0]

    def fit_many(self, sources: Sequence[TaskSource], steps: Sequence[int], seeds: Sequence[int]) -> list[Solver]:
        return list(self.fit_together(sources, steps, seeds))

    @learns
    def fit_together(
        self,
        sources: Sequence[TaskSource],
        steps: Sequence[int],
        seeds: Sequence[int],
        progress: ProgressCallback | None = None,
    ) -> list[Memformer]:
        """One fitted solver for each pair of source and seed; all depths of all of them train as one batch.

        Args:
            sources: of training tasks, alike in N, d, dtype and device.
            steps: numbers of layers to train models for.
            seeds: of the random starts, one a source.
            progress: called now and then while training.

        Raises:
            TrainingError: if a model never trained.
        """
        depths = sorted({step for step in steps if step > 0}, reverse=True)
        made_for = torch.tensor([sources[0].d, sources[0].N])
        if not depths:
            nothing = {"depths": torch.zeros(0, dtype=torch.int64), "made_for": made_for}
            return [replace(self, parameters=nothing) for _ in sources]
        config = self.config(sources[0].d, sources[0].N, depths[0])
        trained = train(config, sources, depths, seeds, self.recipe, progress=progress)
        fitted = []
        for i in range(len(sources)):
            rows = slice(i * len(depths), (i + 1) * len(depths))
            found = {name: tensor[rows].clone().cpu() for name, tensor in trained.parameters.items()}
            found |= SearchRecord.to_tensors(trained.searches[rows])
            fitted.append(replace(self, parameters={"depths": torch.tensor(depths), "made_for": made_for, **found}))
        return fitted

    def model(self, problem: Problem, num_steps: int) -> tuple[MemformerConfig, dict[str, Tensor]]:
        """Config and parameters (one model) for a number of layers, in the dtype and on the device of a problem.

        Raises:
            ValueError: if nothing was fitted, or not for so many layers or such contexts.
        """
        if self.parameters is None:
            raise ValueError("the Memformer has no parameters yet; call fit first")
        depths = self.parameters["depths"].tolist()
        d, N = self.parameters["made_for"].tolist()
        config = self.config(d, N, max(depths, default=1))
        if num_steps == 0:
            return config, {}
        if num_steps not in depths:
            raise ValueError(f"the Memformer was fitted for {sorted(depths)} layers and cannot take {num_steps}")
        check_fits(config, problem.N, problem.d)
        row = depths.index(num_steps)
        return config, {name: self.parameters[name][row : row + 1].to(problem.X) for name in config.shapes()}

    def solve(self, problem: Problem, num_steps: int) -> Trace:
        check_num_steps(num_steps)
        if num_steps == 0:
            self.model(problem, 0)
            return Trace.of_weights(torch.zeros_like(problem.moments.b)[None])
        config, models = first_layers(*self.model(problem, num_steps), num_steps)
        with torch.no_grad():
            if config.reducible:
                return Trace.of_weights(reduced_weights(config, models, problem)[:, 0])
            found = forward(config, models, problem)
        if found.weights is not None:
            return Trace.of_weights(found.weights[:, 0])
        return Trace.of_predictions(found.predictions[:, 0])
