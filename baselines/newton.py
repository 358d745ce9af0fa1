"""Newton-Schulz: the inverse of H by products alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, NamedTuple

import numpy as np
import torch
from scipy.optimize import minimize
from torch import Tensor

from baselines.krylov import law_preconditioner
from baselines.objective import excess_loss
from baselines.operations import gradient, zero_start
from memformer.core.checks import store_ints
from memformer.core.iterative import IterativeSolver
from memformer.core.problem import Problem, TaskSource, matvec
from memformer.core.solver import Fitting, Needs, Solver, check_num_steps
from memformer.core.trace import Trace
from memformer.core.units import is_ordinary, power_of_two
from memformer.ledger import matmul, uncounted

STRETCH = 1.5
"""Scales are found as if one more task were drawn, its largest eigenvalue so many times as large as usual."""


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
        with uncounted():
            size = None if bool(is_ordinary(H.flatten(1)).all()) else power_of_two(H.detach().abs().amax((1, 2)))
        if size is None:
            start = H / torch.linalg.matrix_norm(matmul(H, H))[:, None, None]
        else:
            scaled = H / size[:, None, None]
            start = scaled / (torch.linalg.matrix_norm(matmul(scaled, scaled)) * size)[:, None, None]
        return NewtonSchulzState(*zero_start(problem), start)

    def step(self, problem: Problem, state: NewtonSchulzState, k: int) -> tuple[NewtonSchulzState, None]:
        return _step(problem, state.inverse), None


@dataclass(frozen=True)
class NewtonSchulzLaw(Solver):
    """Newton-Schulz that begins at the law's inverse, with scales that minimise the law's mean loss after k steps.

    `M_0 = s_0 C`, `C = E[x x^T]^-1`, `M_{j+1} = s_{j+1} M_j (2 I - H M_j)`, `w_j = M_j b`. Every polynomial
    `M_j (a I - c H M_j)` is of this form but for its scale, so the k + 1 scales are all that can be chosen. Each number
    of steps has its own, found by L-BFGS on training tasks, which are drawn anew under every seed, and on one task more
    that is worse than they.

    Attributes:
        num_tasks: training tasks.
        parameters: `preconditioner` `(d, d)`, `steps` `(R,)`, and `scales` `(R, most steps + 1)`, a row for each number
            of steps; found by `fit`.

    Needs: the law (its second moment, and training tasks of it).
    Cost: that of Newton-Schulz: two d x d matrix products and two matrix-vector products a step.
    Guarantee: after k steps `w_k = q(C H) C b` with q of degree `2^k - 1`, as deep as that many first-order steps.
    Source: Schulz 1933; scaled iterations: Pan & Schreiber, SIAM J. Sci. Stat. Comput. 12 (1991) 1109-1130.

    Example:
        >>> given = {"preconditioner": torch.eye(1), "steps": torch.tensor([1]), "scales": torch.tensor([[0.5, 1.0]])}
        >>> problem = Problem(torch.ones(1, 2, 1), torch.ones(1, 2), torch.ones(1, 1, 1))
        >>> NewtonSchulzLaw(parameters=given).solve(problem, 1).weights[-1].tolist()
        [[0.75]]
    """

    num_tasks: int = 20_000
    parameters: Mapping[str, Tensor] | None = None

    needs: ClassVar[Needs] = Needs.LAW
    anytime: ClassVar[bool] = False
    fitting: ClassVar[Fitting] = Fitting.RANDOM
    numbers: ClassVar[tuple[str, ...]] = ("scales",)

    def __post_init__(self) -> None:
        store_ints(self, "num_tasks", least=1)

    def fit(self, tasks: TaskSource, steps: Sequence[int], seed: int = 0) -> NewtonSchulzLaw:
        problem, C = tasks.sample(self.num_tasks).to(torch.float64, "cpu"), law_preconditioner(tasks)
        chosen = sorted({step for step in steps if step > 0})
        scales = torch.zeros(len(chosen), max(chosen, default=0) + 1, dtype=torch.float64)
        for row, step in enumerate(chosen):
            scales[row, : step + 1] = torch.from_numpy(_best_scales(problem, C, step))
        return replace(self, parameters={"preconditioner": C, "steps": torch.tensor(chosen), "scales": scales})

    def solve(self, problem: Problem, num_steps: int) -> Trace:
        check_num_steps(num_steps)
        if self.parameters is None:
            raise ValueError("newton_schulz_law has no scales yet; call fit first")
        steps = self.parameters["steps"].tolist()
        if num_steps and num_steps not in steps:
            raise ValueError(f"newton_schulz_law was fitted for {steps} steps and cannot take {num_steps}")
        row = self.parameters["scales"][steps.index(num_steps)] if num_steps else torch.ones(1, device="cpu")
        return _ScaledNewtonSchulz(self.parameters["preconditioner"].to(problem.y), row.tolist()).solve(
            problem, num_steps
        )


@dataclass(frozen=True)
class _ScaledNewtonSchulz(IterativeSolver):
    """`M_0 = scales[0] start`, `M_{j+1} = scales[j + 1] M_j (2 I - H M_j)`."""

    start: Tensor
    scales: list[float]

    needs: ClassVar[Needs] = Needs.LAW

    def init(self, problem: Problem) -> NewtonSchulzState:
        start = self.scales[0] * self.start.expand(problem.B, -1, -1)
        return NewtonSchulzState(*zero_start(problem), start)

    def step(self, problem: Problem, state: NewtonSchulzState, k: int) -> tuple[NewtonSchulzState, None]:
        return _step(problem, state.inverse, self.scales[k + 1]), None


def _step(problem: Problem, inverse: Tensor, scale: float = 1.0) -> NewtonSchulzState:
    H, b = problem.moments
    inverse = 2 * inverse - matmul(inverse, matmul(H, inverse))
    inverse = inverse if scale == 1.0 else scale * inverse
    w = matvec(inverse, b)
    return NewtonSchulzState(w, gradient(problem, w), inverse)


def _best_scales(problem: Problem, C: Tensor, num_steps: int) -> np.ndarray:
    """`(num_steps + 1,)`, in the eigenbasis of `C^1/2 H C^1/2`, where a step is one polynomial of each eigenvalue."""
    H, b = problem.moments
    values, vectors = torch.linalg.eigh(C)
    root = vectors * values.clamp(min=0).sqrt()
    values, vectors = torch.linalg.eigh(root.mT @ H @ root)
    basis = root @ vectors
    along = matvec(basis.mT, b)
    # Sampled means know no task beyond those drawn, and a polynomial of degree 2^k explodes on the first that is.
    stretch = torch.ones_like(values[0])
    stretch[-1] = STRETCH

    def loss_of(scales: Tensor, stretch: Tensor | float = 1.0) -> Tensor:
        m = scales[0].expand_as(values)
        for scale in scales[1:]:
            m = scale * m * (2 - values * stretch * m)
        return excess_loss(problem, matvec(basis, m * along * stretch)).mean()

    def log_loss(x: np.ndarray) -> tuple[float, np.ndarray]:
        log_scales = torch.from_numpy(x).to(b).requires_grad_()
        scales = log_scales.exp()
        loss = (loss_of(scales) + loss_of(scales, stretch) / problem.B).log()
        (slope,) = torch.autograd.grad(loss, log_scales)
        return loss.item(), slope.cpu().numpy()

    # The plain iteration converges where s_0 is below 2/L; from there the scales may grow.
    first = -float(values[:, -1].quantile(0.99).log())
    start = np.array([first] + [0.0] * num_steps)
    found = minimize(log_loss, start, jac=True, method="L-BFGS-B", options={"ftol": 1e-5})
    return np.exp(found.x)
