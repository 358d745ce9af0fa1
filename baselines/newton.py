"""Newton-Schulz: the inverse of H by products alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from baselines.operations import gradient, zero_start
from memformer.core.iterative import IterativeSolver
from memformer.core.ledger import matmul
from memformer.core.problem import Problem, matvec
from memformer.core.solver import Needs


class NewtonSchulzState(NamedTuple):
    """Iterate, gradient `(B, d)`, and the approximate inverse `(B, d, d)`."""

    w: Tensor
    g: Tensor
    inverse: Tensor


@dataclass(frozen=True)
class NewtonSchulz(IterativeSolver):
    """Newton's iteration for the inverse: `M_{k+1} = M_k (2 I - H M_k)`, `M_0 = H/||H H||_F`; `w_k = M_k b`, `w_0 = 0`.

    Needs: nothing.
    Cost: two d x d matrix products and two matrix-vector products a step, against one matrix-vector product for
        a first-order method.
    Guarantee: `I - H M_{k+1} = (I - H M_k)^2`. For a singular H it tends to the pseudo-inverse, while rounding
        in the null space doubles each step, so many more steps than convergence takes do harm there.
    Source: Schulz 1933; Ben-Israel & Cohen 1966; Fu et al., arXiv 2310.17086, for transformers.

    Example:
        >>> problem = Problem(torch.eye(2)[None].double(), torch.ones(1, 2).double(), torch.ones(1, 1, 2).double())
        >>> NewtonSchulz().solve(problem, 6).weights[-1].round(decimals=6).tolist()
        [[1.0, 1.0]]
    """

    needs: ClassVar[Needs] = Needs.NOTHING

    def init(self, problem: Problem) -> NewtonSchulzState:
        H = problem.moments.H
        return NewtonSchulzState(*zero_start(problem), H / torch.linalg.matrix_norm(matmul(H, H))[:, None, None])

    def step(self, problem: Problem, state: NewtonSchulzState, k: int) -> tuple[NewtonSchulzState, None]:
        H, b = problem.moments
        inverse = 2 * state.inverse - matmul(state.inverse, matmul(H, state.inverse))
        w = matvec(inverse, b)
        return NewtonSchulzState(w, gradient(problem, w), inverse), None
