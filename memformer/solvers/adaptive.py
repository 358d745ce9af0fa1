"""A Memformer that adapts to each task at test time, from the task's context alone."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from memformer.core.problem import Problem
from memformer.core.solver import Reach, Solver
from memformer.core.trace import Trace
from memformer.model.forward import first_layers
from memformer.solvers.experts import assemble
from memformer.solvers.gates import Adapt, adapt_each
from memformer.solvers.memformer import Memformer


@dataclass(frozen=True)
class AdaptiveMemformer(Memformer):
    """A Memformer with a gate, or gate and memory weights, that are fitted to each task's own context.

    Until `adapt` is called it is the trained Memformer: gate 1. Then `solve` first cuts every context into folds,
    fits the task's weights so that each fold is predicted from the rest of it, and runs the model with them; no query
    label and nothing of another task is used, and the time this takes is part of `solve`.

    Attributes:
        what: `"gates"` (the paper's variant A) or `"gates_and_memory"` (variant B).
        folds: parts a context is cut into, a divisor of N; None leaves one out.
        evaluations: of L-BFGS, at most.
        adapts: whether `adapt` has been called.

    Needs: the law (training tasks of it).
    Cost: `evaluations` passes over `folds` times as many tasks, then the Memformer's.
    Guarantee: with scalar Q, never below the Krylov oracle of any task.
    Source: Dutta & Sra, arXiv 2410.07263, section 4.2, with the labels of the scored queries left out.

    Example:
        >>> AdaptiveMemformer(memory="first_order", what="gates_and_memory").adapts
        False
    """

    what: Adapt = "gates"
    folds: int | None = None
    evaluations: int = 60
    adapts: bool = False

    @property
    def reach(self) -> Reach:  # pyright: ignore[reportIncompatibleVariableOverride] -- read on instances
        """The class of methods this instance belongs to."""
        if not self.adapts:
            return super().reach
        return Reach.KRYLOV if super().reach is Reach.FIXED else Reach.ANY

    @property
    def version(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride] -- read on instances
        """1 more than the Memformer's: a task is adapted to by itself, in units of its own labels."""
        return super().version + 1

    def prepare(self, dtype: torch.dtype, device: torch.device) -> None:
        self._prepare(dtype, device, fits=True)  # it fits gates whenever it solves

    def adapt(self, context: Problem) -> Solver:
        return replace(self, adapts=True)

    def solve(self, problem: Problem, num_steps: int) -> Trace:
        if not self.adapts or num_steps == 0 or self.parameters is None:
            return super().solve(problem, num_steps)
        config, models = self.model(problem, num_steps)
        config, models = first_layers(config, models, num_steps)
        mixture = assemble(config, models, gates=problem.X.new_ones(1))
        folds = problem.N if self.folds is None else self.folds
        adapted = adapt_each(mixture, problem, self.what, folds, self.evaluations)
        found = adapted(problem)
        if found.weights is not None:
            return Trace.of_weights(found.weights.detach())
        return Trace.of_predictions(found.predictions.detach())
