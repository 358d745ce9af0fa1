"""Ridge regression whose penalty each task chooses from its own context, by leaving one example out."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from baselines.operations import blank, finite_tasks
from memformer.core.problem import Problem, matvec
from memformer.core.solver import Needs, Solver, check_num_steps
from memformer.core.tensors import factorised, moved
from memformer.core.trace import Trace
from memformer.ledger import matmul_rows

PENALTIES = 10.0 ** torch.linspace(-4, 3, 29, dtype=torch.float64, device="cpu")
"""Penalties that are tried, relative to the mean of the squared singular values of a task's X."""


@cache
def _penalties(dtype: torch.dtype, device: torch.device) -> Tensor:
    return moved(PENALTIES, dtype, device)


class Path(NamedTuple):
    """Ridge at every penalty: `penalties` on `X^T X`, `(B, G)`; `errors`, mean squared left-out error, `(B, G)`."""

    penalties: Tensor
    errors: Tensor


@dataclass(frozen=True)
class RidgeLoo(Solver):
    """Ridge regression `w = (X^T X + lambda I)^-1 X^T y`, lambda the least left-out error of the task's own context.

    With `X = U S V^T` and `h_i(lambda) = sum_j U_ij^2 s_j^2 / (s_j^2 + lambda)`, the residual of example i left out is
    `(y_i - yhat_i) / (1 - h_i)`: all of them at all of `PENALTIES` from one decomposition.

    Needs: nothing but the context; solves directly.
    Cost: one singular value decomposition of X, `O(N d^2)`, and `O(N d)` a penalty.
    Guarantee: the penalty and the weights of scikit-learn's RidgeCV on the same penalties.
    Source: Allen, Technometrics 16 (1974) 125; Golub, Heath & Wahba, Technometrics 21 (1979) 215.

    Example:
        >>> problem = Problem(torch.eye(2)[None], torch.zeros(1, 2), torch.ones(1, 1, 2))
        >>> RidgeLoo().solve(problem, 1).weights[-1].tolist()
        [[0.0, 0.0]]
    """

    needs: ClassVar[Needs] = Needs.DIRECT

    def solve(self, problem: Problem, num_steps: int) -> Trace:
        check_num_steps(num_steps)
        finite = finite_tasks(problem.X, problem.y)
        X, y = blank(finite, problem.X), blank(finite, problem.y)
        U, s, Vt = factorised(torch.linalg.svd, X, full_matrices=False)
        path = left_out(U, s, y)
        best = path.errors.argmin(1, keepdim=True)
        penalty = path.penalties.gather(1, best)
        square = s.square() + penalty
        w = matvec(Vt.mT, s * matvec(U.mT, y) / torch.where(square > 0, square, 1.0))
        return Trace.direct(torch.where(finite[:, None], w, torch.nan), num_steps)


def left_out(U: Tensor, s: Tensor, y: Tensor) -> Path:
    """Left-out errors of `X = U diag(s) V^T`, `U` `(B, N, r)`, `s` `(B, r)`, and `y` `(B, N)` at every penalty."""
    square = s.square()
    penalties = square.mean(-1, keepdim=True) * _penalties(s.dtype, s.device)
    total = square[:, None] + penalties[..., None]
    shrink = square[:, None] / torch.where(total > 0, total, 1.0)
    fitted = matmul_rows(shrink * matvec(U.mT, y)[:, None], U.mT)
    leverage = matmul_rows(shrink, U.square().mT)
    errors = ((y[:, None] - fitted) / (1 - leverage)).square().mean(-1)
    return Path(penalties, errors.nan_to_num(nan=torch.inf))
