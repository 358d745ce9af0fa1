"""What it costs to find the eigenvalues that some methods are told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from baselines.operations import blank, finite_tasks
from memformer.core.problem import Problem, extremes
from memformer.core.solver import Needs, Reach, Solver, check_num_steps
from memformer.core.trace import Trace


@dataclass(frozen=True)
class Eigenvalues(Solver):
    """No method: each step finds mu and L of every task's H anew, and the answer stays `w_0 = 0`.

    So the time that more steps take is what eigenvalues cost, H being formed once. Boards show it in place of this
    solver, which belongs into a suite as `{ name = "eigenvalues", steps = [1, 4], tasks = 10 }`: its loss says nothing.

    Needs: nothing.
    Cost: the extreme eigenvalues of one symmetric d x d matrix a step, as `Problem.spectrum` finds them.
    Guarantee: none; the loss is that of the zero vector.
    Source: on a CPU tridiagonal form and Laguerre's iteration, elsewhere a library's `syevd`; Golub & Van Loan, Matrix
        Computations, section 8.3.

    Example:
        >>> problem = Problem(torch.eye(2)[None], torch.ones(1, 2), torch.ones(1, 1, 2))
        >>> Eigenvalues().solve(problem, 1).weights[-1].tolist()
        [[0.0, 0.0]]
    """

    needs: ClassVar[Needs] = Needs.NOTHING
    reach: ClassVar[Reach] = Reach.KRYLOV

    def solve(self, problem: Problem, num_steps: int) -> Trace:
        check_num_steps(num_steps)
        H, b = problem.moments
        finite = finite_tasks(H, b)
        H = blank(finite, H)
        for _ in range(num_steps):
            extremes(H)
        answer = torch.where(finite[:, None], torch.zeros_like(b), torch.nan)
        return Trace.of_weights(answer.expand(num_steps + 1, *b.shape))
