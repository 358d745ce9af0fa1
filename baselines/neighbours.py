"""The mean label of the nearest points of the context."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from baselines.operations import blank, finite_tasks
from memformer.core.checks import store_ints
from memformer.core.problem import Problem
from memformer.core.solver import Needs, Solver, check_num_steps
from memformer.core.trace import Trace


@dataclass(frozen=True)
class NearestNeighbours(Solver):
    """Predicts at a query the mean label of the `k` context points nearest to it; it has no weights.

    Attributes:
        k: neighbours; all of the context where that has fewer points.

    Needs: nothing but the context; solves directly.
    Cost: the distances of N points to each query, `O(N d)` a query.
    Guarantee: none here; the yardstick of a method that uses no linear structure.
    Source: Fix & Hodges 1951; k = 3 in Garg et al., arXiv 2208.01066, section 3.

    Example:
        >>> problem = Problem(torch.eye(2)[None], torch.tensor([[1.0, 5.0]]), torch.tensor([[[0.9, 0.0]]]))
        >>> NearestNeighbours(k=1).solve(problem, 1).predictions[-1].tolist()
        [[1.0]]
    """

    k: int = 3

    needs: ClassVar[Needs] = Needs.DIRECT

    def __post_init__(self) -> None:
        store_ints(self, "k", least=1)

    def solve(self, problem: Problem, num_steps: int) -> Trace:
        check_num_steps(num_steps)
        finite = finite_tasks(problem.X, problem.y, problem.x_query)
        X, y, x_query = (blank(finite, part) for part in (problem.X, problem.y, problem.x_query))
        nearest = torch.cdist(x_query, X).topk(min(self.k, problem.N), largest=False).indices
        found = y[:, None].expand(-1, nearest.shape[1], -1).gather(2, nearest).mean(-1)
        found = torch.where(finite[:, None], found, torch.nan)
        return Trace.of_predictions(torch.stack([torch.zeros_like(found)] + [found] * num_steps))
