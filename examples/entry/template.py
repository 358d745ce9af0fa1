# SPDX-License-Identifier: MIT
# /// entry
# name = "decaying_steps"
# authors = ["Ada Lovelace"]
# source = "https://doi.org/10.1016/0041-5553(63)90382-3"
# budget = "none"
# ///
"""Gradient descent whose steps get shorter."""

from dataclasses import dataclass
from typing import NamedTuple

import torch

from memformer import IterativeSolver, Needs


class Iterate(NamedTuple):
    """What is carried from step to step: the iterate and the gradient there, `(B, d)` each."""

    w: torch.Tensor
    g: torch.Tensor


@dataclass(frozen=True)
class DecayingSteps(IterativeSolver):
    """w - eta / sqrt(k + 1) g."""

    eta: float = 0.5
    needs = Needs.NOTHING

    def init(self, problem):
        b = problem.moments.b
        return Iterate(torch.zeros_like(b), -b)

    def step(self, problem, state, k):
        w = state.w - self.eta / (k + 1) ** 0.5 * state.g
        H, b = problem.moments
        return Iterate(w, (H @ w[..., None])[..., 0] - b), None
