"""One start of a module's training: its optimiser, the best it has been, and how often it became nonfinite."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from memformer.core.problem import Problem
from memformer.training.budget import Budget

Losses = Callable[[nn.Module, Problem], Tensor]
"""From a module and some tasks to its mean loss after each readout, `(R,)`."""

_RETRIES = 5

_NUMBERS = ("best", "best_step", "taken", "damping", "lost", "flops")


class Start:
    """One module on its way.

    Args:
        build: makes a module, with parameters drawn from torch's default generators.
        losses: of a module on tasks.
        budget: how it is trained.
        seed: of everything random in it.
        dtype: of its parameters.
        device: of its parameters.

    Raises:
        ValueError: if the module has nothing to train.
    """

    def __init__(
        self,
        build: Callable[[], nn.Module],
        losses: Losses,
        budget: Budget,
        seed: int,
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        self.seed, self.losses, self.budget = seed, losses, budget
        torch.manual_seed(seed)
        self.module = build().to(dtype=dtype, device=device).train()
        self.weights = [weight for weight in self.module.parameters() if weight.requires_grad]
        if not self.weights:
            raise ValueError(f"{type(self.module).__name__} has no parameters to train")
        self.optimizer = torch.optim.AdamW(self.weights, weight_decay=budget.weight_decay)
        self.best, self.best_step, self.taken = math.inf, 0, 0
        self.damping, self.lost, self.flops = 1.0, 0, 0
        self.state = self._copy()

    def step(self, step: int, problem: Problem, counted: bool) -> bool:
        """One step of training, whose operations may be counted if it is the first; whether the start goes on."""
        torch.manual_seed(self.seed ^ step)
        self.taken = step
        if step > 1 or not counted:
            return self._stepped(step, problem)
        with FlopCounterMode(display=False) as counter:
            goes_on = self._stepped(step, problem)
        self.flops = counter.get_total_flops()
        return goes_on

    @torch.no_grad()
    def validate(self, step: int, problems: Sequence[Problem]) -> float:
        """Geometric mean over readouts of the loss on validation tasks; the state is kept if it is the best so far."""
        self.module.eval()
        each = torch.stack([problem.B * self.losses(self.module, problem) for problem in problems]).sum(0)
        self.module.train()
        loss = math.exp((each / sum(problem.B for problem in problems)).cpu().double().log().mean().item())
        if loss < self.best:
            self.best, self.best_step, self.state = loss, step, self._copy()
        return loss

    def tensors(self) -> dict[str, Tensor]:
        """All that its further training hangs on, by name."""
        numbers = torch.tensor([float(getattr(self, name)) for name in _NUMBERS], dtype=torch.float64)
        moments = {
            f"optimizer.{number}.{name}": value
            for number, of_one in self.optimizer.state_dict()["state"].items()
            for name, value in of_one.items()
        }
        now = {f"now.{name}": value for name, value in self.module.state_dict().items()}
        return {"numbers": numbers, **moments, **now, **{f"best.{name}": value for name, value in self.state.items()}}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """To where it was when `tensors` gave these."""
        device = self.weights[0].device
        for name, value in zip(_NUMBERS, tensors["numbers"].tolist(), strict=True):
            setattr(self, name, type(getattr(self, name))(value) if math.isfinite(value) else value)
        parts: dict[str, dict[str, Tensor]] = {"now": {}, "best": {}, "optimizer": {}}
        for key, value in tensors.items():
            part, _, name = key.partition(".")
            if name:
                parts[part][name] = value.to(device)
        self.module.load_state_dict(parts["now"])
        self.state = parts["best"]
        of_each: dict[int, dict[str, Tensor]] = {}
        for key, value in parts["optimizer"].items():
            number, _, name = key.partition(".")
            of_each.setdefault(int(number), {})[name] = value
        self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": of_each})

    def _stepped(self, step: int, problem: Problem) -> bool:
        loss = self.losses(self.module, problem).log().mean()
        if not loss.requires_grad:
            raise ValueError(f"what {type(self.module).__name__} answers does not depend on its parameters")
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self.weights, self.budget.clip)
        if not bool(norm.isfinite()):
            return self._back()
        for group in self.optimizer.param_groups:
            group["lr"] = self.damping * self.budget.rate(step)
        self.optimizer.step()
        return True

    def _back(self) -> bool:
        """To the best it has been, with half the learning rate and no past; False if that happens too often."""
        self.lost, self.damping = self.lost + 1, self.damping / 2
        self.module.load_state_dict(self.state)
        self.optimizer.state.clear()
        return self.lost <= _RETRIES

    def _copy(self) -> dict[str, Tensor]:
        return {name: tensor.detach().clone() for name, tensor in self.module.state_dict().items()}
