"""Conjugate gradient: on H, preconditioned by the task law, and on X itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from baselines.operations import safe_divide, undefined_where, zero_start
from memformer.core.iterative import IterativeSolver
from memformer.core.problem import Problem, TaskSource, dot, matvec
from memformer.core.solver import Fitting, Needs, Reach
from memformer.core.tensors import in_double
from memformer.kernels.recurrences import Iterates, conjugate_gradient


class CGState(NamedTuple):
    """Iterate, gradient, search direction `p` `(B, d)`, and `gg = g^T C g` `(B, 1)`, C the preconditioner."""

    w: Tensor
    g: Tensor
    p: Tensor
    gg: Tensor


@dataclass(frozen=True)
class ConjugateGradient(IterativeSolver):
    """Conjugate gradient on `H w = b`.

    `alpha = g^T g / p^T H p`, `w <- w + alpha p`, `g' = g + alpha H p`, `p <- -g' + (g'^T g' / g^T g) p`.

    Needs: nothing.
    Cost: one matrix-vector product a step.
    Guarantee: `||e_k||_H <= 2/(s^k + s^-k) ||e_0||_H`, `s = (sqrt kappa - 1)/(sqrt kappa + 1)`; exact after d steps.
    Source: Hestenes & Stiefel 1952; Saad, Iterative Methods for Sparse Linear Systems, algorithm 6.18.

    Example:
        >>> problem = Problem(torch.eye(2)[None], torch.ones(1, 2), torch.ones(1, 1, 2))
        >>> ConjugateGradient().solve(problem, 1).weights[-1].tolist()
        [[1.0, 1.0]]
    """

    needs: ClassVar[Needs] = Needs.NOTHING
    reach: ClassVar[Reach] = Reach.KRYLOV
    version: ClassVar[int] = 2

    def compiled(self, problem: Problem, num_steps: int) -> Iterates:
        return conjugate_gradient(problem.X, problem.y, num_steps)

    def init(self, problem: Problem) -> CGState:
        w, g = zero_start(problem)
        return CGState(w, g, -g, dot(g, g))

    def step(self, problem: Problem, state: CGState, k: int) -> tuple[CGState, Tensor]:
        Hp = matvec(problem.moments.H, state.p)
        curvature = dot(state.p, Hp)
        # A division by zero is masked by the loop: the task is undefined there, or has converged. Its gradient is not.
        divide = safe_divide if curvature.requires_grad else torch.div
        alpha = divide(state.gg, curvature)
        w = torch.addcmul(state.w, alpha, state.p)
        g = torch.addcmul(state.g, alpha, Hp)
        gg = dot(g, g)
        p = torch.addcmul(-g, divide(gg, state.gg), state.p)
        return CGState(w, g, p, gg), undefined_where(curvature)


@dataclass(frozen=True)
class PreconditionedCG(IterativeSolver):
    """Conjugate gradient preconditioned by the law: `C = E[x x^T]^-1` (pseudo-inverse where it is singular).

    cg with `g^T C g` for `g^T g`, and `C g` for `g` in the direction `p`.

    Attributes:
        parameters: `preconditioner`, `(d, d)` symmetric positive definite; found by `fit`.

    Needs: the law (its second moment).
    Cost: one product with H and one with C a step.
    Guarantee: that of cg with the condition number of `C^1/2 H C^1/2`.
    Source: Saad, Iterative Methods for Sparse Linear Systems, algorithm 9.1.

    Example:
        >>> problem = Problem(torch.eye(2)[None], torch.ones(1, 2), torch.ones(1, 1, 2))
        >>> PreconditionedCG({"preconditioner": torch.eye(2)}).solve(problem, 1).weights[-1].tolist()
        [[1.0, 1.0]]
    """

    parameters: Mapping[str, Tensor] | None = None

    needs: ClassVar[Needs] = Needs.LAW
    reach: ClassVar[Reach] = Reach.KRYLOV_PRECONDITIONED
    fitting: ClassVar[Fitting] = Fitting.CLOSED_FORM

    def fit(self, tasks: TaskSource, steps: Sequence[int], seed: int = 0) -> PreconditionedCG:
        return replace(self, parameters={"preconditioner": law_preconditioner(tasks)})

    def _precondition(self, g: Tensor) -> Tensor:
        if self.parameters is None:
            raise ValueError("pcg has no preconditioner yet; call fit first")
        return matvec(self.parameters["preconditioner"].to(g), g)

    def init(self, problem: Problem) -> CGState:
        w, g = zero_start(problem)
        z = self._precondition(g)
        return CGState(w, g, -z, dot(g, z))

    def step(self, problem: Problem, state: CGState, k: int) -> tuple[CGState, Tensor]:
        Hp = matvec(problem.moments.H, state.p)
        curvature = dot(state.p, Hp)
        alpha = safe_divide(state.gg, curvature)
        w = state.w + alpha * state.p
        g = state.g + alpha * Hp
        z = self._precondition(g)
        gg = dot(g, z)
        p = safe_divide(gg, state.gg) * state.p - z
        return CGState(w, g, p, gg), undefined_where(curvature)


def law_preconditioner(tasks: TaskSource) -> Tensor:
    """The (pseudo-)inverse of the law's second moment, `(d, d)` float64, on the CPU."""
    moment = tasks.second_moment
    # Where it is singular, one computed from rows has eigenvalues of tens of eps, and is then rounded to its dtype.
    rounding = max(64, len(moment)) * torch.finfo(torch.float64).eps + torch.finfo(moment.dtype).eps
    return torch.linalg.pinv(in_double(moment), hermitian=True, rtol=rounding)


class CGLSState(NamedTuple):
    """Iterate, gradient, direction `(B, d)`, residual `y - X w` `(B, N)`, `gg = g^T g` `(B, 1)`."""

    w: Tensor
    g: Tensor
    p: Tensor
    residual: Tensor
    gg: Tensor


@dataclass(frozen=True)
class CGLS(IterativeSolver):
    """Conjugate gradient for least squares, on X: cg's iterates without squaring the condition number.

    `q = X p`, `alpha = N g^T g / q^T q`, `w <- w + alpha p`, `r <- r - alpha q`, `g = -X^T r / N`, `p` as in cg.

    Needs: nothing.
    Cost: one product with X and one with X^T a step.
    Guarantee: in exact arithmetic the iterates of cg on H, and of LSQR.
    Source: Hestenes & Stiefel 1952, section 10; Björck, Numerical Methods for Least Squares Problems, 7.4.1.

    Example:
        >>> problem = Problem(torch.eye(2)[None], torch.ones(1, 2), torch.ones(1, 1, 2))
        >>> CGLS().solve(problem, 1).weights[-1].tolist()
        [[1.0, 1.0]]
    """

    needs: ClassVar[Needs] = Needs.NOTHING
    reach: ClassVar[Reach] = Reach.KRYLOV

    def init(self, problem: Problem) -> CGLSState:
        g = -matvec(problem.X.mT, problem.y) / problem.N
        return CGLSState(torch.zeros_like(g), g, -g, problem.y, dot(g, g))

    def step(self, problem: Problem, state: CGLSState, k: int) -> tuple[CGLSState, Tensor]:
        q = matvec(problem.X, state.p)
        curvature = dot(q, q) / problem.N
        alpha = safe_divide(state.gg, curvature)
        residual = state.residual - alpha * q
        g = -matvec(problem.X.mT, residual) / problem.N
        gg = dot(g, g)
        p = safe_divide(gg, state.gg) * state.p - g
        return CGLSState(state.w + alpha * state.p, g, p, residual, gg), undefined_where(curvature)
