"""The posterior mean over a pool of tasks: of the law's pool, or of tasks that were drawn from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from baselines.operations import blank, finite_tasks
from memformer.core.checks import store_ints
from memformer.core.problem import Problem, TaskSource, dot, matvec
from memformer.core.solver import Fitting, Needs, Solver, check_num_steps
from memformer.core.trace import Trace
from memformer.ledger import matmul_rows

_NO_POOL = "dmmse needs a law with a pool of tasks, or training tasks with true weights"


@dataclass(frozen=True)
class Dmmse(Solver):
    """Discrete least mean squares: the mean of the pool's tasks, each weighted by how well it fits the context.

    `w = sum_m p_m w_m`, `p_m` proportional to `exp(-||y - X w_m||^2 / (2 noise_var))`; without noise, the nearest. The
    pool is the law's, or, where it has none, that of so many training tasks: what a method reaches that has learned
    them by heart.

    Attributes:
        num_tasks: training tasks that are the pool where the law has none.
        parameters: `pool` `(M, d)` and `noise_var`, a scalar; found by `fit`.

    Needs: the law (its pool, or training tasks with true weights; its noise).
    Cost: M vectors with H: `O(M d^2)` once the moments exist.
    Guarantee: least expected loss of all solvers on a law whose pool it is.
    Source: Raventós et al., arXiv 2306.15063, equation 3.

    Example:
        >>> problem = Problem(torch.eye(2)[None], torch.tensor([[0.9, 0.1]]), torch.ones(1, 1, 2))
        >>> known = {"pool": torch.eye(2), "noise_var": torch.tensor(0.0)}
        >>> Dmmse(parameters=known).solve(problem, 1).weights[-1].tolist()
        [[1.0, 0.0]]
    """

    num_tasks: int = 4096
    parameters: Mapping[str, Tensor] | None = None

    needs: ClassVar[Needs] = Needs.LAW
    fitting: ClassVar[Fitting] = Fitting.RANDOM

    def __post_init__(self) -> None:
        store_ints(self, "num_tasks", least=1)

    def skip(self, tasks: TaskSource) -> tuple[bool, str]:
        known = getattr(tasks, "pool", None) is not None or tasks.sample(1).w_star is not None
        why = self._refusal(tasks.objective) or ("" if known else _NO_POOL)
        return bool(why), why

    def fit(self, tasks: TaskSource, steps: Sequence[int], seed: int = 0) -> Dmmse:
        pool = getattr(tasks, "pool", None)
        if pool is None:
            pool = tasks.sample(self.num_tasks).w_star
        if pool is None:
            raise ValueError(_NO_POOL)
        noise_var = torch.tensor(tasks.noise_var, dtype=torch.float64, device="cpu")
        return replace(self, parameters={"pool": pool.cpu(), "noise_var": noise_var})

    def solve(self, problem: Problem, num_steps: int) -> Trace:
        check_num_steps(num_steps)
        if self.parameters is None:
            raise ValueError("dmmse does not know the pool yet; call fit first")
        H, b = problem.moments
        finite = finite_tasks(H, b)
        pool, noise_var = self.parameters["pool"].to(problem.X), self.parameters["noise_var"].to(problem.dtype)
        # ||y - X w||^2 / N less ||y||^2 / N, which all of the pool share.
        misfit = dot(matmul_rows(pool.expand(problem.B, -1, -1), blank(finite, H)), pool)[..., 0]
        misfit = misfit - 2 * matvec(pool, blank(finite, b))
        misfit = misfit - misfit.amin(1, keepdim=True)
        if float(noise_var) > 0:
            weights = (-problem.N / 2 * misfit / noise_var).softmax(1)
        else:
            weights = torch.nn.functional.one_hot(misfit.argmin(1), len(pool)).to(problem.X)
        w = matvec(pool.mT, weights)
        return Trace.direct(torch.where(finite[:, None], w, torch.nan), num_steps)
