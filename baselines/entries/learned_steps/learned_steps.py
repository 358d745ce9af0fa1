# SPDX-License-Identifier: MIT
# /// entry
# name = "learned_steps"
# authors = ["The memformer-bench developers"]
# source = "https://icml.cc/Conferences/2010/papers/449.pdf"
# budget = "small"
# ///
"""Learned step sizes."""

from dataclasses import dataclass

import torch
from torch import nn

from memformer import LearnedSolver


class Steps(nn.Module):
    def __init__(self, steps):
        super().__init__()
        self.rates = nn.Parameter(torch.full((steps,), 0.5))

    def forward(self, H, b):
        w, found = torch.zeros_like(b), []
        for rate in self.rates:
            w = w - rate * ((H @ w[..., None])[..., 0] - b)
            found.append(w)
        return torch.stack(found)


@dataclass(frozen=True)
class LearnedSteps(LearnedSolver):
    """Gradient descent with a learned step size for each step."""

    iterations: int = 300
    starts: int = 1
    answers = "weights"
    reads = "moments"

    def build(self, d, N, steps):
        return Steps(steps)
