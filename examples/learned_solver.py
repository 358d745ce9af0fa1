from dataclasses import dataclass

import torch
from torch import nn

from benchmarks.api import SOLVERS
from memformer import LearnedSolver, matvec


class Rates(nn.Module):
    def __init__(self, steps):
        super().__init__()
        self.rates = nn.Parameter(torch.full((steps,), 0.5))

    def forward(self, X, y, x_query):
        w, predictions = torch.zeros_like(X[:, 0]), []
        for rate in self.rates:
            w = w + rate * matvec(X.mT, y - matvec(X, w)) / X.shape[1]
            predictions.append(matvec(x_query, w))
        return torch.stack(predictions)


@SOLVERS.register("learned_rates", "gradient descent, a learned rate a step")
@dataclass(frozen=True)
class LearnedRates(LearnedSolver):
    iterations: int = 500

    def build(self, d, N, steps):
        return Rates(steps)
