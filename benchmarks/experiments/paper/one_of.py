"""A law of which every task is one of several laws', each as often as the others; no solver is told which."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from benchmarks.tasks.law import Draw, Law, Metadata


@dataclass(frozen=True, kw_only=True)
class OneOf(Law):
    """Tasks of several laws of one d and N, mixed.

    Attributes:
        laws: whose tasks have true weights, and one second moment each.
    """

    metadata: ClassVar[Metadata] = Metadata("one_of", 1, "")

    laws: tuple[Law, ...]

    def draw(self, batch: int, generator: np.random.Generator) -> Draw:
        which = generator.integers(len(self.laws), size=batch)
        drawn = [law.draw(batch, generator) for law in self.laws]
        moments = torch.stack([law.second_moment for law in self.laws]).numpy()

        def chosen(name: str) -> np.ndarray:
            return np.stack([getattr(one, name) for one in drawn])[which, np.arange(batch)]

        return Draw(chosen("X"), chosen("x_query"), chosen("w_star"), moments[which])

    @cached_property
    def second_moment(self) -> Tensor:
        return torch.stack([law.second_moment for law in self.laws]).mean(0)
