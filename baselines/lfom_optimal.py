"""The best linear first-order method with fixed scalar coefficients for a law, in closed form."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from baselines.arnoldi import Krylov, arnoldi
from baselines.exact_law import gaussian_tasks
from baselines.krylov import law_preconditioner
from baselines.objective import Quadratic, quadratic_loss
from baselines.operations import zero_start
from baselines.wishart import GaussianTasks
from memformer.core.checks import store_ints
from memformer.core.iterative import IterativeSolver
from memformer.core.objective import apply_metric
from memformer.core.problem import SPREAD, Moments, Problem, TaskSource, matvec
from memformer.core.solver import Fitting, Needs, Reach, check_num_steps
from memformer.core.trace import Trace
from memformer.ledger import combine

CHUNK = 8192
"""Training tasks are drawn this many at a time; only their moments are kept."""

MAX_COVARIATES = 10_000_000
"""A fit draws at most about this many covariates (tasks x N x d), which takes about a second."""


class LfomState(NamedTuple):
    """Iterate, gradient, the vector to be orthogonalised next `(B, d)`, and the basis so far."""

    w: Tensor
    g: Tensor
    raw: Tensor
    basis: tuple[Tensor, ...]


@dataclass(frozen=True)
class LfomOptimal(IterativeSolver):
    """`w_k = sum_{j<k} c_j H^j b` with the coefficients that minimise a law's expected loss.

    The monomials are never formed. With coefficients shared by all tasks and inner product `mean u^T Sigma v`,
    Arnoldi's process gives `v_0 ~ b`, `v_j ~ H v_{j-1} - sum_{i<j} h_ij v_i` and `a_j = mean v_j^T Sigma w_star`;
    then `w_{k+1} = w_k + a_k v_k` on any task, and every k is served by one run. The means are exact for a law of
    isotropic Gaussians (or one that whitens to them, if preconditioned), where nothing is drawn. For another law they
    are means over training tasks, spread over rare ones where the law knows how.

    Attributes:
        preconditioned: replace `H, b` by `C H, C b` with `C = E[x x^T]^-1`.
        num_tasks: training tasks to draw, if any (fewer where N d is large: at most 10^7 covariates).
        parameters: `coefficients` and `inverse_norm` `(k,)`, `recurrence` `(k, k)`, and `preconditioner`
            `(d, d)` if preconditioned; found by `fit`.

    Needs: the law (its moments, or training tasks of it).
    Cost: one matrix-vector product, and one with C if preconditioned; j passes over the vectors at step j.
    Guarantee: with exact means the expected loss is the LFOM floor. With means over tasks it lies above it, the more so
        the more steps, for the means of high powers of H rest on few plain tasks: coefficients of 100,000 plain tasks
        of the anisotropic law have a log loss of 1.7 to 3.1 at 10 steps, those of as many spread ones -1.70.
    Source: the normal equations of the mean loss over the Krylov space; Pedregosa & Scieur 2020, arXiv 2002.04756, for
        the limit of infinite dimension.

    Example:
        >>> LfomOptimal(num_tasks=0)
        Traceback (most recent call last):
        ValueError: num_tasks is 0; it must be a whole number, 1 or more
    """

    preconditioned: bool = False
    num_tasks: int = 100_000
    parameters: Mapping[str, Tensor] | None = None

    needs: ClassVar[Needs] = Needs.LAW
    # Tasks are drawn, but another draw moves the loss by O(k / num_tasks) of it, far less than the scored tasks do.
    fitting: ClassVar[Fitting] = Fitting.CLOSED_FORM
    version: ClassVar[int] = 3
    numbers: ClassVar[tuple[str, ...]] = ("coefficients", "inverse_norm")

    def __post_init__(self) -> None:
        store_ints(self, "num_tasks", least=1)

    @property
    def reach(self) -> Reach:  # pyright: ignore[reportIncompatibleVariableOverride] -- read on instances
        """The class of methods this instance belongs to."""
        return Reach.FIXED_PRECONDITIONED if self.preconditioned else Reach.FIXED

    def fit(self, tasks: TaskSource, steps: Sequence[int], seed: int = 0) -> LfomOptimal:
        num_steps = max(1, *steps)
        preconditioner = law_preconditioner(tasks) if self.preconditioned else None
        exact = gaussian_tasks(tasks, self.preconditioned)
        if exact is not None:
            return self._with(exact_parameters(exact, num_steps), preconditioner)
        return self.fitted(*draw_moments(tasks, self.count(tasks)), num_steps, preconditioner)

    def count(self, tasks: TaskSource) -> int:
        """How many training tasks a fit draws, if any."""
        return max(1, min(self.num_tasks, MAX_COVARIATES // (tasks.N * tasks.d)))

    def fitted(
        self, moments: Moments, loss: Quadratic, num_steps: int, preconditioner: Tensor | None = None
    ) -> LfomOptimal:
        """With the best coefficients for given training tasks, however many, for up to `num_steps` steps."""
        found = fit_shared(moments, loss, num_steps, preconditioner)
        parameters = {
            "coefficients": found.coefficients[:, 0].cpu(),
            "inverse_norm": found.inverse_norm[:, 0].cpu(),
            "recurrence": found.recurrence[:, :, 0].cpu(),
        }
        return self._with(parameters, preconditioner)

    def _with(self, parameters: dict[str, Tensor], preconditioner: Tensor | None) -> LfomOptimal:
        if preconditioner is not None:
            parameters["preconditioner"] = preconditioner.cpu()
        return replace(self, parameters=parameters)

    def solve(self, problem: Problem, num_steps: int) -> Trace:
        check_num_steps(num_steps)
        fitted = len(self._fitted["coefficients"])
        if num_steps > fitted:
            raise ValueError(f"lfom_optimal was fitted for up to {fitted} steps and cannot take {num_steps}")
        return super().solve(problem, num_steps)

    @property
    def _fitted(self) -> Mapping[str, Tensor]:
        if self.parameters is None:
            raise ValueError("lfom_optimal has no coefficients yet; call fit first")
        return self.parameters

    def _precondition(self, vector: Tensor) -> Tensor:
        return matvec(self._fitted["preconditioner"].to(vector), vector) if self.preconditioned else vector

    def init(self, problem: Problem) -> LfomState:
        w, g = zero_start(problem)
        return LfomState(w, g, self._precondition(-g), ())

    def step(self, problem: Problem, state: LfomState, k: int) -> tuple[LfomState, None]:
        vector = state.raw
        if state.basis:
            overlaps = self._fitted["recurrence"][k, :k].to(vector)
            vector = vector - combine(overlaps[None], torch.stack(state.basis).flatten(1)).view_as(vector)
        vector = vector * float(self._fitted["inverse_norm"][k])
        coefficient = float(self._fitted["coefficients"][k])
        Hv = matvec(problem.moments.H, vector)
        w, g = state.w + coefficient * vector, state.g + coefficient * Hv
        return LfomState(w, g, self._precondition(Hv), (*state.basis, vector)), None


def exact_parameters(law: GaussianTasks, num_steps: int) -> dict[str, Tensor]:
    """`coefficients`, `inverse_norm` and `recurrence` of `LfomOptimal`, from exact moments."""
    coefficients, inverse_norm = torch.zeros(2, num_steps, dtype=torch.float64, device="cpu")
    recurrence = torch.zeros(num_steps, num_steps, dtype=torch.float64, device="cpu")
    directions = law.directions(num_steps)
    for j, direction in enumerate(directions):
        coefficients[j] = direction.overlap / math.sqrt(direction.norm)
        inverse_norm[j] = 1 / math.sqrt(direction.beta if j > 0 else direction.norm)
        if j > 0:
            recurrence[j, j - 1] = float(directions[j - 1].alpha)
        if j > 1:
            recurrence[j, j - 2] = math.sqrt(directions[j - 1].beta)
    return {"coefficients": coefficients, "inverse_norm": inverse_norm, "recurrence": recurrence}


def draw_moments(tasks: TaskSource, count: int, spread: float = SPREAD) -> tuple[Moments, Quadratic]:
    """Moments and loss of `count` tasks in float64, spread over rare ones, drawn in chunks so that no context is kept.

    Where tasks have weights, `b`, `target` and `w_star` are scaled by their roots: what is linear in b and shared by
    all tasks then has the weighted loss.
    """
    moments, losses, tasks = [], [], tasks.spread(spread)
    for start in range(0, count, CHUNK):
        problem = tasks.sample(min(CHUNK, count - start)).to(torch.float64, "cpu")
        (H, b), (metric, target, constant) = problem.moments, quadratic_loss(problem)
        if problem.weights is not None:
            root = problem.weights.sqrt()[:, None]
            b, target, constant = b * root, target * root, constant * problem.weights
        moments.append(Moments(H, b))
        losses.append(Quadratic(metric, target, constant))
    metric = losses[0].metric
    if metric.ndim == 3:
        metric = torch.cat([loss.metric for loss in losses])
    H, b = (torch.cat(parts) for parts in zip(*moments, strict=True))
    target, constant = (torch.cat([getattr(loss, name) for loss in losses]) for name in ("target", "constant"))
    return Moments(H, b), Quadratic(metric, target, constant)


def fit_shared(moments: Moments, loss: Quadratic, num_steps: int, preconditioner: Tensor | None = None) -> Krylov:
    """Best coefficients shared by all tasks, for methods of up to `num_steps` steps."""
    H, b = moments

    def precondition(vector: Tensor) -> Tensor:
        return vector if preconditioner is None else apply_metric(preconditioner.to(vector), vector)

    return arnoldi(lambda v: precondition(matvec(H, v)), precondition(b), loss, num_steps, shared=True)
