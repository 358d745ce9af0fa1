"""What asv measures of a Memformer's training: the parts of one step, and the losses on the way."""

from __future__ import annotations

from typing import Any

import torch

from benchmarks.catalogue.registry import RegistryError
from benchmarks.errors import UserError
from benchmarks.tasks.law import Law, Purpose
from memformer.core.problem import Problem
from memformer.model.config import MemformerConfig
from memformer.training.adam import BatchedAdam
from memformer.training.objective import Batch, losses, read
from memformer.training.recipe import Recipe
from memformer.training.train import train
from memformer.training.whitening import Coordinates


class TrainingStep:
    """One Memformer near gradient descent and one batch, for measuring what training is made of.

    Args:
        problem: the batch.
        depth: number of layers.
        config: other fields of `MemformerConfig`.

    Raises:
        UserError: if the configuration is not a Memformer's.

    Example:
        >>> from benchmarks.tasks.gaussian import Isotropic
        >>> one = TrainingStep(Isotropic().stream(0, Purpose.TRAIN).sample(50), depth=2, memory="conjugate")
        >>> before = one.loss()
        >>> one.step()
        >>> one.loss() < before
        True
    """

    def __init__(self, problem: Problem, depth: int, **config: Any) -> None:
        self._config = _config(problem.d, depth, config)
        part = read(self._config, problem, "query")
        self._batch = Batch(**{name: None if one is None else one[None] for name, one in vars(part).items()})
        generator, shapes = torch.Generator().manual_seed(1), self._config.shapes()
        start = {name: 0.05 * torch.randn(1, *shape, generator=generator) for name, shape in shapes.items()}
        start["Q"] -= 0.5 * (torch.eye(problem.d) if start["Q"].ndim == 5 else 1.0)
        self._coordinates = Coordinates(self._config, None)
        self._adam = BatchedAdam(self._coordinates.theta({name: one.to(problem.X) for name, one in start.items()}))

    def loss(self) -> float:
        """Forward pass: the mean query loss."""
        with torch.no_grad():
            return self._loss(self._adam.theta).item()

    def gradient(self) -> torch.Tensor:
        """Forward and backward pass: the gradient of the loss in the flat parameters, `(1, n)`."""
        theta = self._adam.theta.detach().requires_grad_()
        return torch.autograd.grad(self._loss(theta).sum(), theta)[0]

    def step(self) -> None:
        """Forward and backward pass and a step of Adam."""
        self._adam.step(self.gradient(), 1e-4)

    def _loss(self, theta: torch.Tensor) -> torch.Tensor:
        return losses(self._config, self._coordinates.parameters(theta), self._batch)


def training_history(law: Law, depth: int, seed: int, recipe: dict[str, Any], **config: Any) -> list[tuple[int, float]]:
    """Steps and validation losses of a Memformer that trains on a law.

    Args:
        law: of the tasks.
        depth: number of layers.
        seed: of tasks and start.
        recipe: fields of `Recipe`.
        **config: other fields of `MemformerConfig`.

    Returns:
        At each validation, how many steps were taken and the mean loss, in units of y squared.

    Raises:
        UserError: if recipe or configuration is not one.

    Example:
        >>> from benchmarks.tasks.gaussian import Isotropic
        >>> budget = {"steps": 4, "interval": 2, "tasks": 100, "batch": 50, "validation": 50, "patience": 0}
        >>> [step for step, _ in training_history(Isotropic(), 2, 0, budget, memory="conjugate")]
        [0, 2, 4]
    """
    try:
        made = Recipe(**recipe)
    except (TypeError, ValueError) as error:
        raise UserError(f"this is no recipe of training: {error}") from error
    source = law.stream(seed, Purpose.TRAIN)
    records = train(_config(law.d, depth, config), [source], [depth], [seed], made).history.records
    return [(record.step, record.validation[0]) for record in records]


def _config(d: int, depth: int, parts: dict[str, Any]) -> MemformerConfig:
    try:
        return MemformerConfig(d=d, depth=depth, **parts)
    except TypeError as error:
        raise RegistryError(f"this is no configuration of a Memformer: {error}") from error
    except ValueError as error:
        raise UserError(f"this is no configuration of a Memformer: {error}") from error
