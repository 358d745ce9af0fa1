"""Searching: training from several random starts, of which the best is kept, and what the starts found."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from memformer.core.checks import require_number, store_ints

NEAR = 0.05
"""A start is near the best if its log validation loss is at most so far above it."""


@dataclass(frozen=True, kw_only=True)
class Search:
    """From where training starts, and how long it follows each start.

    All starts of all models train as one batch on the same tasks. Now and then the weakest, by their validation loss,
    are dropped. The model is the start that ends best on validation tasks, which no start trains on.

    A random start has entries of Q and P from `N(0, scale^2 / d)` (a scalar Q from `N(0, scale^2)`), in coordinates in
    which covariates are white, and memory weights and gates that differ by `N(0, memory_scale^2)` from a memory that is
    not used yet. Of the law it is told the second moment and nothing else.

    Attributes:
        starts: how many.
        scale: of Q and P: standard deviation of their entries times `sqrt(d)`.
        memory_scale: standard deviation of what memory weights and gates deviate by.
        descent: whether the first start is gradient descent with Chebyshev's step sizes for the law's mean spectrum,
            P near 0, in place of a random one. It is told more of the law than random starts are.
        drops: pairs of a share of the training steps and a share of the starts that go on from there. More than half
            of the starts should go on to the end: else the median start is never trained to its end, and not known.

    Raises:
        ValueError: if a value is out of its range.

    Example:
        >>> Search(starts=8, drops=((0.25, 0.75), (0.5, 0.6))).kept(0.5)
        5
    """

    starts: int = 1
    scale: float = 0.67
    memory_scale: float = 0.09
    descent: bool = False
    drops: tuple[tuple[float, float], ...] = ()

    def __post_init__(self) -> None:
        store_ints(self, "starts", least=1)
        for name in ("scale", "memory_scale"):
            require_number(name, getattr(self, name), least=0.0)
        for when, share in self.drops:
            if not (0 < when < 1 and 0 < share <= 1):
                raise ValueError(f"drops are {self.drops!r}; they must be pairs of shares, more than 0 and at most 1")

    def kept(self, when: float) -> int:
        """How many starts train on after the share `when` of the training steps."""
        shares = [share for at, share in self.drops if at <= when]
        return max(1, math.ceil(min([1.0, *shares]) * self.starts - 1e-9))

    def generators(self, seed: int, depth: int) -> list[torch.Generator]:
        """One for each start of a model: its numbers depend on nothing else that is trained beside it."""
        return [torch.Generator().manual_seed(_mixed(seed, depth, start)) for start in range(self.starts)]


def _mixed(*numbers: int) -> int:
    """One seed of several: different numbers give unrelated seeds."""
    return int(np.random.SeedSequence(list(numbers)).generate_state(1, np.uint64)[0] >> 1)


@dataclass(frozen=True)
class SearchRecord:
    """What the starts of one model found.

    Attributes:
        losses: validation loss of each start, at its end or when it was dropped; infinite where it never was finite.
        steps: training steps after which each start ended or was dropped.

    Example:
        >>> record = SearchRecord((1.0, 1.02, 7.4), (100, 100, 100))
        >>> record.starts, record.best, round(record.spread, 2), round(record.near_best, 2), round(record.median, 2)
        (3, 0.0, 2.0, 0.67, 0.02)
    """

    losses: tuple[float, ...]
    steps: tuple[int, ...]

    @property
    def logs(self) -> list[float]:
        """Log validation losses, the best first."""
        return sorted(math.log(loss) if 0 < loss < math.inf else math.inf for loss in self.losses)

    @property
    def starts(self) -> int:
        """How many starts there were."""
        return len(self.losses)

    @property
    def best(self) -> float:
        """Log validation loss of the start that was chosen."""
        return self.logs[0]

    @property
    def spread(self) -> float:
        """Log validation loss of the worst start minus that of the best."""
        return self.logs[-1] - self.best

    @property
    def near_best(self) -> float:
        """Share of the starts whose log validation loss is within 0.05 of the best."""
        return sum(log <= self.best + NEAR for log in self.logs) / self.starts

    @property
    def median(self) -> float | None:
        """Log validation loss of the median start, which is what a user gets who trains once.

        Starts that were dropped count as worse than those that trained to the end. Had one of them overtaken the
        others, the median would be lower. None if the median start was dropped.
        """
        ended = sum(step == max(self.steps) for step in self.steps)
        whole = [loss for loss, step in zip(self.losses, self.steps, strict=True) if step == max(self.steps)]
        logs, middle = SearchRecord(tuple(whole), (0,) * ended).logs, self.starts // 2
        if ended <= middle:
            return None
        return logs[middle] if self.starts % 2 else (logs[middle - 1] + logs[middle]) / 2

    @staticmethod
    def to_tensors(records: Sequence[SearchRecord]) -> dict[str, Tensor]:
        """`search_losses` and `search_steps`, `(R, starts)`, to be kept beside the parameters of R models."""
        return {
            "search_losses": torch.tensor([record.losses for record in records], dtype=torch.float64),
            "search_steps": torch.tensor([record.steps for record in records], dtype=torch.int64),
        }

    @staticmethod
    def from_tensors(tensors: Mapping[str, Tensor]) -> list[SearchRecord] | None:
        """The records of R models; None where none are kept."""
        if "search_losses" not in tensors or "search_steps" not in tensors:
            return None
        rows = zip(tensors["search_losses"].tolist(), tensors["search_steps"].tolist(), strict=True)
        return [SearchRecord(tuple(losses), tuple(steps)) for losses, steps in rows]
