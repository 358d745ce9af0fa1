"""The Memformer: forward pass, backward pass and training step of each variant, memory, and steps to the floor."""

from __future__ import annotations

import math
from typing import Any

import torch

from .catalogue import DEVICES, VARIANTS
from .making import lacking, make_device, make_law, make_solver, synchronise

TASKS, D, N = 500, 5, 20


class Variant:
    """One model in float32 on 500 isotropic tasks, d = 5, N = 20."""

    version = "1"
    timeout = 120
    params = (list(VARIANTS), [2, 4], DEVICES)
    param_names = ("variant", "depth", "device")
    rounds, warmup_time, repeat = 1, 0.02, (10, 200, 0.2)

    def setup(self, variant: str, depth: int, device: str) -> None:
        if getattr(self, "ready", None) == (variant, depth, device):
            return
        self.device = make_device(device)
        torch.set_num_threads(1)
        problem = isotropic(TASKS, N, self.device)
        config = make_config(depth, **VARIANTS[variant])
        with lacking():
            from memformer.training.adam import BatchedAdam
            from memformer.training.objective import Batch, losses, read
            from memformer.training.whitening import Coordinates

        part = read(config, problem, "query")
        batch = Batch(**{name: None if tensor is None else tensor[None] for name, tensor in vars(part).items()})
        coordinates = Coordinates(config, None)
        adam = BatchedAdam(coordinates.theta(start(config, self.device)))

        def loss(theta: torch.Tensor) -> torch.Tensor:
            return losses(config, coordinates.parameters(theta), batch)

        self.adam, self.loss = adam, loss
        self.time_training_step(variant, depth, device)
        self.ready = (variant, depth, device)

    def time_forward(self, variant: str, depth: int, device: str) -> None:
        """The loss."""
        with torch.no_grad():
            self.loss(self.adam.theta)
        synchronise(self.device)

    def time_forward_backward(self, variant: str, depth: int, device: str) -> None:
        """The loss and its gradient."""
        self._gradient()
        synchronise(self.device)

    def time_training_step(self, variant: str, depth: int, device: str) -> None:
        """The loss, its gradient and a step of Adam."""
        self.adam.step(self._gradient(), 1e-4)
        synchronise(self.device)

    def _gradient(self) -> torch.Tensor:
        theta = self.adam.theta.detach().requires_grad_()
        return torch.autograd.grad(self.loss(theta).sum(), theta)[0]


class LongContext:
    """Memory of a training step whose contexts are long: it reads moments, so only the contexts themselves may show."""

    version = "2"
    params = (20, 2_000, 20_000)
    param_names = ("N",)

    def peakmem_training_step(self, length: int) -> None:
        """P = 0, first-order memory, 4 layers, 100 tasks (contexts of 40 MB at N = 20,000)."""
        torch.set_num_threads(1)
        config = make_config(4, **VARIANTS["first_order"])
        with lacking():
            from memformer.training.objective import Batch, losses, read
        part = read(config, isotropic(100, length, torch.device("cpu")), "query")
        batch = Batch(**{name: None if tensor is None else tensor[None] for name, tensor in vars(part).items()})
        own = {name: tensor.requires_grad_() for name, tensor in start(config, torch.device("cpu")).items()}
        losses(config, own, batch).sum().backward()


class StepsToFloor:
    """Training steps until the validation loss is within 1 % of the floor of the class on the same tasks."""

    version = "1"
    timeout = 300
    params = (["conjugate_scalar", "first_order_scalar"], [1, 2, 3])
    param_names = ("variant", "depth")
    unit = "training steps"
    limit, validation = 400, 2000

    def setup(self, variant: str, depth: int) -> None:
        with lacking():
            from memformer.training.recipe import Recipe
            from memformer.training.train import train
        self.recipe, self.train = Recipe, train

    def track_training_steps(self, variant: str, depth: int) -> float:
        """Isotropic tasks, d = 5, N = 20, Adam; the limit of 400 where it is not reached."""
        torch.set_num_threads(1)
        with lacking():
            from benchmarks.tasks.law import Purpose
        law = make_law("isotropic", d=D, N=N)
        # Training draws its validation tasks first, so these are the same.
        judges = law.stream(0, Purpose.TRAIN).sample(self.validation)
        best = make_solver("lfom_optimal", num_tasks=20_000).fit(law.stream(0, Purpose.TRUTH), [depth])
        error = best.solve(judges.blinded(), depth).weights[depth] - judges.w_star
        floor = float(error.square().sum(-1).mean())
        recipe = self.recipe(
            steps=self.limit, tasks=4_000, batch=500, validation=self.validation, interval=2, patience=0
        )
        config = make_config(depth, **VARIANTS[variant])
        history = self.train(config, [law.stream(0, Purpose.TRAIN)], [depth], [0], recipe).history
        losses = [(record.step, record.validation[0]) for record in history.records]
        if not math.isfinite(losses[-1][1]):
            raise FloatingPointError(f"the validation loss is not finite: {losses[-1][1]}")
        return float(next((step for step, loss in losses if loss <= 1.01 * floor), self.limit))


def make_config(depth: int, **parts: Any) -> Any:
    """A Memformer of that depth."""
    with lacking():
        from memformer.model.config import MemformerConfig

        return MemformerConfig(d=D, depth=depth, **parts)


def isotropic(tasks: int, length: int, device: torch.device) -> Any:
    """Isotropic tasks in float32, drawn without the project's laws."""
    from memformer.core.problem import Problem

    generator = torch.Generator().manual_seed(0)
    shapes = ((tasks, length, D), (tasks, 1, D), (tasks, D, 1))
    X, x_query, w = (torch.randn(*shape, generator=generator) for shape in shapes)
    return Problem(X, (X @ w)[..., 0], x_query, (x_query @ w)[..., 0]).to(device=device)


def start(config: Any, device: torch.device) -> dict[str, torch.Tensor]:
    """One model near gradient descent."""
    generator = torch.Generator().manual_seed(1)
    found = {name: 0.05 * torch.randn(1, *shape, generator=generator) for name, shape in config.shapes().items()}
    found["Q"] -= 0.5 * (torch.eye(D) if found["Q"].ndim == 5 else 1.0)
    return {name: tensor.to(device) for name, tensor in found.items()}
