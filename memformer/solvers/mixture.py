"""A mixture of Memformers as an ordinary solver: an expert for each component of the law, gates for each context."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from memformer.core.modes import learns
from memformer.core.problem import Problem, TaskSource
from memformer.core.solver import Reach, Solver, TrainingRecord, check_num_steps
from memformer.core.trace import Trace
from memformer.model.forward import check_fits, first_layers
from memformer.solvers.experts import assemble
from memformer.solvers.gates import adapt_each
from memformer.solvers.memformer import Memformer
from memformer.training.recipe import ProgressCallback
from memformer.training.search import SearchRecord
from memformer.training.train import train


@dataclass(frozen=True)
class MixtureMemformer(Memformer):
    """Memformers trained on one component of the law each, joined as gated heads; the gates are fitted to each context.

    A law has components if its training tasks have an attribute `components`, a `TaskSource` for each; any other law is
    its only one. `solve` cuts every context into folds, fits the task's gates so that each fold is predicted from the
    rest of it, and runs the mixture with them; no query label and nothing of another task is used.

    Attributes:
        folds: parts a context is cut into: the largest divisor of N from 2 to this, N itself if there is none.
        evaluations: of L-BFGS, at most.
        parameters: as in `Memformer`, the models of all depths of the first component first, then the next one's.

    Needs: the law (training tasks of each of its components).
    Cost: `evaluations` passes over `folds` times as many tasks, then one pass of all experts.
    Guarantee: with scalar Q, never below the Krylov oracle of any task.
    Source: Dutta & Sra, arXiv 2410.07263, section 4.3, with the labels of the scored queries left out.
    """

    folds: int = 4
    evaluations: int = 20

    @property
    def reach(self) -> Reach:  # pyright: ignore[reportIncompatibleVariableOverride] -- read on instances
        """The class of methods this instance belongs to."""
        return Reach.KRYLOV if super().reach is Reach.FIXED else Reach.ANY

    @property
    def version(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride] -- read on instances
        """3: with P free too trained by a compiled loss, other by rounding; 2: with P = 0."""
        return 3

    def prepare(self, dtype: torch.dtype, device: torch.device) -> None:
        self._prepare(dtype, device, fits=True)  # it fits gates whenever it solves

    @learns
    def fit_together(
        self,
        sources: Sequence[TaskSource],
        steps: Sequence[int],
        seeds: Sequence[int],
        progress: ProgressCallback | None = None,
    ) -> list[Memformer]:
        """One fitted mixture for each pair of source and seed; the experts of all depths train as one batch.

        Raises:
            TrainingError: if a model never trained.
        """
        depths = sorted({step for step in steps if step > 0}, reverse=True)
        made_for = torch.tensor([sources[0].d, sources[0].N])
        if not depths:
            nothing = {"depths": torch.zeros(0, dtype=torch.int64), "made_for": made_for}
            return [replace(self, parameters=nothing) for _ in sources]
        config = self.config(sources[0].d, sources[0].N, depths[0])
        fitted = []
        for source, seed in zip(sources, seeds, strict=True):
            components: Sequence[TaskSource] = getattr(source, "components", (source,))
            trained = train(config, components, depths, [seed] * len(components), self.recipe, progress=progress)
            found = {name: tensor.cpu() for name, tensor in trained.parameters.items()}
            found |= SearchRecord.to_tensors(trained.searches)
            fitted.append(replace(self, parameters={"depths": torch.tensor(depths), "made_for": made_for, **found}))
        return fitted

    def training_record(self, num_steps: int) -> TrainingRecord | None:
        """Steps of an expert, and the tasks and the starts of all."""
        records = SearchRecord.from_tensors(self.parameters or {})
        if not records or self.parameters is None or num_steps not in (depths := self.parameters["depths"].tolist()):
            return None
        own = records[depths.index(num_steps) :: len(depths)]
        config = self.config(d=1, N=1, depth=1)
        return TrainingRecord(
            steps=max(max(one.steps) for one in own),
            tasks=sum(self.recipe.tasks_drawn(config, max(one.steps)) for one in own),
            starts=sum(one.starts for one in own),
        )

    def solve(self, problem: Problem, num_steps: int) -> Trace:
        check_num_steps(num_steps)
        if self.parameters is None:
            raise ValueError("the mixture has no parameters yet; call fit first")
        depths = self.parameters["depths"].tolist()
        d, N = self.parameters["made_for"].tolist()
        if num_steps == 0:
            return Trace.of_weights(torch.zeros_like(problem.moments.b)[None])
        if num_steps not in depths:
            raise ValueError(f"the mixture was fitted for {sorted(depths)} layers and cannot take {num_steps}")
        config = self.config(d, N, max(depths))
        check_fits(config, problem.N, problem.d)
        rows = slice(depths.index(num_steps), None, len(depths))
        experts = {name: self.parameters[name][rows].to(problem.X) for name in config.shapes()}
        mixture = assemble(*first_layers(config, experts, num_steps))
        folds = next((parts for parts in range(self.folds, 1, -1) if N % parts == 0), N)
        found = adapt_each(mixture, problem, "gates", folds, self.evaluations)(problem)
        if found.weights is not None:
            return Trace.of_weights(found.weights.detach())
        return Trace.of_predictions(found.predictions.detach())

    def adapt(self, context: Problem) -> Solver:
        """Itself: it adapts to every context that it solves."""
        return self
