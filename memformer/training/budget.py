"""How long a module is trained, and how."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from memformer.core.checks import require_number, store_ints
from memformer.training.search import Search


@dataclass(frozen=True, kw_only=True)
class Budget:
    """How a module is trained: AdamW on fresh tasks, warm-up and cosine, gradients of the log loss clipped by norm.

    A budget is said in training steps and tasks, never in seconds: the same budget gives the same parameters on a slow
    machine and a fast one.

    Attributes:
        iterations: training steps of a start, at most.
        batch: fresh tasks of a step, the same for all starts.
        learning_rate: at its highest.
        warmup: share of the steps over which it rises.
        weight_decay: AdamW's.
        clip: largest norm of the gradient.
        queries: points at which a task is asked in training, where tasks share their second moment and tell `w_star`:
            its own, and those of other tasks. More of them tell more of a task for little more time.
        spread: how far tasks are spread over rare ill-conditioned ones (see `TaskSource.spread`); 1 spreads none.
            Methods with fixed coefficients want it: rare tasks carry much of their mean loss.
        validation: tasks that choose among starts, and among what each has been; no more than training draws.
        validations: how often they do.
        patience: stop once so many validations in a row gained no start more than 0.001 in log loss.
        search: how many starts, and when weak ones are dropped.

    Raises:
        ValueError: if a value is out of its range.
    """

    iterations: int = 2000
    batch: int = 256
    learning_rate: float = 3e-3
    warmup: float = 0.05
    weight_decay: float = 0.0
    clip: float = 1.0
    queries: int = 1
    spread: float = 1.0
    validation: int = 4096
    validations: int = 20
    patience: int = 10
    search: Search = field(default_factory=lambda: Search(starts=3, drops=((0.25, 0.5),)))

    def __post_init__(self) -> None:
        store_ints(self, "iterations", "batch", "queries", "validation", "validations", "patience", least=1)
        for name in ("learning_rate", "clip"):
            require_number(name, getattr(self, name), least=0.0, strictly=True)
        require_number("spread", self.spread, least=1.0)
        for name in ("warmup", "weight_decay"):
            require_number(name, getattr(self, name), least=0.0)

    def rate(self, step: int) -> float:
        """Learning rate of step `step = 1, 2, ...`."""
        rise = max(1.0, self.warmup * self.iterations)
        along = max(0.0, step - rise) / max(1.0, self.iterations - rise)
        return self.learning_rate * min(1.0, step / rise) * (1 + math.cos(math.pi * along)) / 2

    def validates(self, step: int) -> bool:
        """Whether there is a validation after step `step`."""
        return step == self.iterations or step % max(1, self.iterations // self.validations) == 0
