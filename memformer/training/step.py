"""One training step at hand: the parts of it that are worth measuring by themselves."""

from __future__ import annotations

import dataclasses
from functools import partial

import torch
from torch import Tensor

from memformer.core.modes import learns
from memformer.core.problem import Problem
from memformer.model.config import MemformerConfig
from memformer.training.adam import BatchedAdam
from memformer.training.objective import Batch, losses, read
from memformer.training.whitening import Coordinates


class TrainingStep:
    """A Memformer near gradient descent, a batch of tasks, and Adam.

    Args:
        config: the model's.
        problem: the batch, with `y_query`.

    Example:
        >>> X, w, x = torch.ones(3, 4, 2), torch.ones(2), torch.ones(3, 1, 2)
        >>> one = TrainingStep(MemformerConfig(d=2, depth=2), Problem(X, X @ w, x, x @ w))
        >>> before = one.loss()
        >>> one.step()
        >>> one.loss() < before
        True
    """

    @learns
    def __init__(self, config: MemformerConfig, problem: Problem) -> None:
        self._config = config
        self._batch = Batch.stack([read(config, dataclasses.replace(problem), "query")])
        generator, shapes = torch.Generator().manual_seed(1), config.shapes()
        randn = partial(torch.randn, generator=generator, dtype=torch.float32, device="cpu")
        start = {name: 0.05 * randn(1, *shape) for name, shape in shapes.items()}
        start["Q"] -= 0.5 * (torch.eye(problem.d, device="cpu").to(start["Q"]) if start["Q"].ndim == 5 else 1.0)
        self._coordinates = Coordinates(config, None)
        self._adam = BatchedAdam(self._coordinates.theta({name: one.to(problem.X) for name, one in start.items()}))

    def loss(self) -> float:
        """Forward pass: the mean of `(prediction - y_query)^2`."""
        with torch.no_grad():
            return self._loss(self._adam.theta).item()

    @learns
    def gradient(self) -> Tensor:
        """Forward and backward pass: the gradient of the loss in the flat parameters, `(1, n)`."""
        theta = self._adam.theta.detach().requires_grad_()
        return torch.autograd.grad(self._loss(theta).sum(), theta)[0]

    def step(self) -> None:
        """Forward and backward pass, and a step of Adam."""
        self._adam.step(self.gradient(), 1e-4)

    def _loss(self, theta: Tensor) -> Tensor:
        return losses(self._config, self._coordinates.parameters(theta), self._batch)
