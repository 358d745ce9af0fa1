"""The Memformer: forward pass, backward pass and training step of each variant, memory, and steps to the floor."""

from __future__ import annotations

import math
from typing import Any

import torch

from .catalogue import DEVICES, LEARNED, VARIANTS
from .helpers import door, lacking, make_device, make_law, make_solver, synchronise

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
        self.model = make_step(isotropic(TASKS, N, self.device), depth, **VARIANTS[variant])
        self.time_training_step(variant, depth, device)
        self.ready = (variant, depth, device)

    def time_forward(self, variant: str, depth: int, device: str) -> None:
        """The loss."""
        self.model.loss()
        synchronise(self.device)

    def time_forward_backward(self, variant: str, depth: int, device: str) -> None:
        """The loss and its gradient."""
        self.model.gradient()
        synchronise(self.device)

    def time_training_step(self, variant: str, depth: int, device: str) -> None:
        """The loss, its gradient and a step of Adam."""
        self.model.step()
        synchronise(self.device)


class LearnedSteps:
    """Twenty training steps of each learned method of the field: isotropic, d = 5, N = 20, four steps, one start."""

    version = "1"
    timeout = 120
    params = (LEARNED,)
    param_names = ("solver",)
    rounds, warmup_time, repeat = 1, 0.02, (3, 20, 1.0)

    def setup(self, solver: str) -> None:
        torch.set_num_threads(1)
        self.law = make_law("isotropic", d=D, N=N)
        self.solver = make_solver(solver, iterations=20, batch=64, starts=1)

    def time_training_steps(self, solver: str) -> None:
        """Drawing of tasks and validation before and after them are in it."""
        door().fitted(self.solver, self.law, (1, 2, 3, 4), 0)


class LongContext:
    """Memory of a training step whose contexts are long: it reads moments, so only the contexts themselves may show."""

    version = "2"
    params = (20, 2_000, 20_000)
    param_names = ("N",)

    def peakmem_training_step(self, length: int) -> None:
        """P = 0, first-order memory, 4 layers, 100 tasks (contexts of 40 MB at N = 20,000)."""
        torch.set_num_threads(1)
        make_step(isotropic(100, length, torch.device("cpu")), 4, **VARIANTS["first_order"]).gradient()


class StepsToFloor:
    """Training steps until the validation loss is within 1 % of the floor of the class on the same tasks."""

    version = "2"
    timeout = 300
    params = (["conjugate_scalar", "first_order_scalar"], [1, 2, 3])
    param_names = ("variant", "depth")
    unit = "training steps"
    limit, validation = 400, 2000

    def track_training_steps(self, variant: str, depth: int) -> float:
        """Isotropic tasks, d = 5, N = 20, Adam; the limit of 400 where it is not reached."""
        torch.set_num_threads(1)
        law, stream = make_law("isotropic", d=D, N=N), door().stream
        # The very tasks that training validates on.
        judges = stream(law, 0, "validation").sample(self.validation)
        best = make_solver("lfom_optimal", num_tasks=20_000).fit(stream(law, 0, "truth"), [depth])
        error = best.solve(judges.blinded(), depth).weights[depth] - judges.w_star
        floor = float(error.square().sum(-1).mean())
        recipe = {"steps": self.limit, "tasks": 4_000, "batch": 500, "validation": self.validation, "spread": 1.0}
        with lacking((ImportError,)):
            losses = door().training_history(
                law, depth, 0, {**recipe, "interval": 2, "patience": 0}, **VARIANTS[variant]
            )
        if not math.isfinite(losses[-1][1]):
            raise FloatingPointError(f"the validation loss is not finite: {losses[-1][1]}")
        return float(next((step for step, loss in losses if loss <= 1.01 * floor), self.limit))


def make_step(problem: Any, depth: int, **config: Any) -> Any:
    """A Memformer of that depth and a batch."""
    with lacking():
        return door().training_step(problem, depth, **config)


def isotropic(tasks: int, length: int, device: torch.device) -> Any:
    """Isotropic tasks in float32, drawn without the project's laws."""
    generator = torch.Generator().manual_seed(0)
    shapes = ((tasks, length, D), (tasks, 1, D), (tasks, D, 1))
    X, x_query, w = (torch.randn(*shape, generator=generator) for shape in shapes)
    return door().problem(X, (X @ w)[..., 0], x_query, (x_query @ w)[..., 0]).to(device=device)
