"""Accelerated first-order methods with coefficients known in advance, for the worst case or the average."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple

import torch
from torch import Tensor

from baselines.gradient import ConstantSteps
from baselines.operations import column, gradient, zero_start
from memformer.core.checks import require_choice, require_number
from memformer.core.iterative import IterativeSolver
from memformer.core.problem import Problem
from memformer.core.solver import Needs, Reach
from memformer.kernels.recurrences import Iterates, three_term


class MomentumState(NamedTuple):
    """Iterate and gradient, those before, and the coefficients `eta`, `beta` `(B, 1)`."""

    w: Tensor
    g: Tensor
    previous_w: Tensor
    previous_g: Tensor
    eta: Tensor
    beta: Tensor


class _Momentum(ConstantSteps):
    """What heavy ball and Nesterov share: two constants, and the last two iterates and gradients."""

    beta: float | None
    version: ClassVar[int] = 2

    def __post_init__(self) -> None:
        if self.eta is not None:
            require_number("eta", self.eta, least=0.0, strictly=True)
        if (self.eta is None) != (self.beta is None):
            raise ValueError(f"eta is {self.eta!r} and beta is {self.beta!r}; give both or neither")
        if self.beta is not None and not -1 < self.beta < 1:
            raise ValueError(f"beta is {self.beta!r}; it must lie between -1 and 1")

    @abstractmethod
    def constants(self, mu: Tensor, L: Tensor) -> tuple[Tensor, Tensor]:
        """`eta` and `beta` of tasks with these extreme eigenvalues, `(B,)` each."""

    def of_tasks(self, problem: Problem) -> tuple[Tensor, Tensor]:
        """`eta` and `beta` of each task, `(B,)`."""
        if self.eta is not None and self.beta is not None:
            return problem.X.new_full((problem.B,), self.eta), problem.X.new_full((problem.B,), self.beta)
        return self.constants(*problem.spectrum)

    def init(self, problem: Problem) -> MomentumState:
        w, g = zero_start(problem)
        return MomentumState(w, g, w, g, *map(column, self.of_tasks(problem)))


def _middle(problem: Problem) -> Tensor:
    """The best step of one, `2/(L + mu)` of each task, `(B,)`."""
    mu, L = problem.spectrum
    return 2 / (L + mu)


def _moved(problem: Problem, state: MomentumState, w: Tensor) -> MomentumState:
    return state._replace(w=w, g=gradient(problem, w), previous_w=state.w, previous_g=state.g)


@dataclass(frozen=True)
class HeavyBall(_Momentum):
    """Polyak's momentum: `w_{k+1} = w_k - eta g_k + beta (w_k - w_{k-1})`.

    `eta = 4/(sqrt L + sqrt mu)^2`, `beta = ((sqrt L - sqrt mu)/(sqrt L + sqrt mu))^2`, first step `2/(L+mu)`.

    Attributes:
        eta: a fixed step for all tasks, together with `beta`; the first step is `eta` as well then.
        beta: a fixed momentum, between -1 and 1.

    Needs: `mu, L`; nothing for fixed `eta, beta`.
    Cost: one matrix-vector product a step.
    Guarantee: for least squares `||e_k|| <= rho^k (1 + k (1-beta)/(1+beta)) ||e_0||`, `rho = sqrt beta`.
    Source: Polyak 1964; d'Aspremont, Scieur & Taylor, Acceleration Methods, section 2.3.

    Example:
        >>> problem = Problem(torch.eye(2)[None], torch.ones(1, 2), torch.ones(1, 1, 2))
        >>> HeavyBall().solve(problem, 1).weights[-1].tolist()
        [[1.0, 1.0]]
    """

    eta: float | None = None
    beta: float | None = None

    def constants(self, mu: Tensor, L: Tensor) -> tuple[Tensor, Tensor]:
        root_mu, root_L = mu.sqrt(), L.sqrt()
        return 4 / (root_L + root_mu) ** 2, ((root_L - root_mu) / (root_L + root_mu)) ** 2

    def compiled(self, problem: Problem, num_steps: int) -> Iterates:
        eta, beta = self.of_tasks(problem)
        steps = eta.repeat(num_steps, 1)
        if self.eta is None:
            steps[:1] = _middle(problem)
        return three_term(problem.X, problem.y, steps, beta)

    def step(self, problem: Problem, state: MomentumState, k: int) -> tuple[MomentumState, None]:
        eta = state.eta if k or self.eta is not None else column(_middle(problem))
        w = state.w - eta * state.g + state.beta * (state.w - state.previous_w)
        return _moved(problem, state, w), None


@dataclass(frozen=True)
class Nesterov(_Momentum):
    """Nesterov's acceleration: `v = w_k + beta_k (w_k - w_{k-1})`, `w_{k+1} = v - eta grad f(v)`, `w_{-1} = w_0`.

    Gradients of least squares are affine, so `grad f(v) = (1+beta_k) g_k - beta_k g_{k-1}` costs nothing more. For
    other objectives the gradient is taken at v alone, and tells whether a task has finished.

    Attributes:
        form: `"strongly_convex"`: `eta = 1/L`, `beta = (sqrt L - sqrt mu)/(sqrt L + sqrt mu)`;
            `"quadratic"`: `eta = 4/(3L+mu)`, `beta = (sqrt(3 kappa + 1) - 2)/(sqrt(3 kappa + 1) + 2)`;
            `"convex"` (FISTA): `eta = 1/L`, `beta_k = (t_k - 1)/t_{k+1}`, `t_{k+1} = (1 + sqrt(1 + 4 t_k^2))/2`.
        eta: a fixed step for all tasks, together with `beta`; they override `form`.
        beta: a fixed momentum, between -1 and 1.

    Needs: `mu, L`; only `L` for `form="convex"`; nothing for fixed `eta, beta`.
    Cost: one matrix-vector product a step.
    Guarantee: strongly convex: `f - f* <= (1-sqrt q)^k (f_0 - f* + mu/2 ||e_0||^2)`, `q = mu/L`; quadratic, of least
        squares: spectral radius `1 - 2/sqrt(3 kappa + 1)`; convex: `f - f* <= L ||e_0||^2 / (2 t_k^2)`.
    Source: Nesterov 1983 and Introductory Lectures, 2.2.22; Lessard, Recht & Packard 2016, proposition 1 (quadratic);
        Beck & Teboulle 2009, theorem 4.4 (convex).

    Example:
        >>> problem = Problem(torch.eye(2)[None], torch.ones(1, 2), torch.ones(1, 1, 2))
        >>> Nesterov("quadratic").solve(problem, 1).weights[-1].tolist()
        [[1.0, 1.0]]
    """

    form: Literal["strongly_convex", "quadratic", "convex"] = "strongly_convex"
    eta: float | None = None
    beta: float | None = None

    def __post_init__(self) -> None:
        require_choice("form", self.form, ("strongly_convex", "quadratic", "convex"))
        super().__post_init__()

    @property
    def told(self) -> Needs:
        return Needs.L if self.form == "convex" else Needs.MU_L

    def constants(self, mu: Tensor, L: Tensor) -> tuple[Tensor, Tensor]:
        if self.form == "quadratic":
            eta, root, root_mu = 4 / (3 * L + mu), (3 * L + mu).sqrt(), 2 * mu.sqrt()
        else:
            eta, root, root_mu = 1 / L, L.sqrt(), mu.sqrt()
        return eta, (root - root_mu) / (root + root_mu)

    def compiled(self, problem: Problem, num_steps: int) -> Iterates:
        eta, beta = self.of_tasks(problem)
        if self.form == "convex" and self.eta is None:
            beta = beta.new_tensor([_fista_beta(k) for k in range(num_steps)])[:, None]
        return three_term(problem.X, problem.y, eta.expand(num_steps, -1), beta, beta)

    def step(self, problem: Problem, state: MomentumState, k: int) -> tuple[MomentumState, None]:
        beta = _fista_beta(k) if self.form == "convex" and self.eta is None else state.beta
        point = state.w + beta * (state.w - state.previous_w)
        if not problem.is_least_squares:
            slope = gradient(problem, point) if k else state.g
            return state._replace(w=point - state.eta * slope, g=slope, previous_w=state.w), None
        slope = state.g + beta * (state.g - state.previous_g)
        w = point - state.eta * slope
        return _moved(problem, state, w), None


def fista_t(k: int) -> float:
    """`t_k` of FISTA: `t_0 = 0`, `t_1 = 1`, `t_{k+1} = (1 + sqrt(1 + 4 t_k^2))/2`."""
    t = 0.0
    for _ in range(k):
        t = (1 + (1 + 4 * t * t) ** 0.5) / 2
    return t


def _fista_beta(k: int) -> float:
    # Step k = 0 leaves w_0, where there is no momentum yet: w_{-1} = w_0.
    return (fista_t(k) - 1) / fista_t(k + 1) if k > 0 else 0.0


class RecurrenceState(NamedTuple):
    """Iterate and gradient, the iterate before, and the recurrence's coefficient, `(B,)` or one for all tasks."""

    w: Tensor
    g: Tensor
    previous_w: Tensor
    coefficient: Any


@dataclass(frozen=True)
class Chebyshev(IterativeSolver):
    """Chebyshev's semi-iteration: the least worst case over spectra in `[mu, L]`, at every k.

    `w_1 = w_0 - 2 g_0/(L+mu)`, `w_{k+1} = w_k + (omega_{k+1}-1)(w_k - w_{k-1}) - omega_{k+1} 2 g_k/(L+mu)`,
    `omega_1 = 2`, `omega_{k+1} = 1/(1 - omega_k rho^2/4)`, `rho = (L-mu)/(L+mu)`.

    Needs: `mu, L`.
    Cost: one matrix-vector product a step.
    Guarantee: `||e_k|| <= ||e_0|| / T_k((L+mu)/(L-mu))`.
    Source: Golub & Varga 1961; d'Aspremont, Scieur & Taylor, Acceleration Methods, algorithm 1.

    Example:
        >>> problem = Problem(torch.eye(2)[None], torch.ones(1, 2), torch.ones(1, 1, 2))
        >>> Chebyshev().solve(problem, 1).weights[-1].tolist()
        [[1.0, 1.0]]
    """

    needs: ClassVar[Needs] = Needs.MU_L
    reach: ClassVar[Reach] = Reach.KRYLOV
    version: ClassVar[int] = 2

    def compiled(self, problem: Problem, num_steps: int) -> Iterates:
        omega = problem.X.new_full((problem.B,), 2.0)
        etas, momenta = [], []
        for k in range(num_steps):
            omega, momentum, eta = self._coefficients(problem, omega, k)
            etas.append(eta)
            momenta.append(momentum)
        none = problem.X.new_empty(0, problem.B)
        return three_term(
            problem.X, problem.y, torch.stack(etas) if etas else none, torch.stack(momenta) if etas else none
        )

    def _coefficients(self, problem: Problem, omega: Tensor, k: int) -> tuple[Tensor, Tensor, Tensor]:
        """Omega, momentum and step of step k, `(B,)` each, from the omega before."""
        mu, L = problem.spectrum
        if k == 0:
            return omega, torch.zeros_like(omega), 2 / (L + mu)
        omega = 1 / (1 - omega * ((L - mu) / (L + mu)) ** 2 / 4)
        return omega, omega - 1, 2 * omega / (L + mu)

    def init(self, problem: Problem) -> RecurrenceState:
        w, g = zero_start(problem)
        return RecurrenceState(w, g, w, torch.full_like(w[:, 0], 2.0))

    def step(self, problem: Problem, state: RecurrenceState, k: int) -> tuple[RecurrenceState, None]:
        omega, momentum, eta = self._coefficients(problem, state.coefficient, k)
        w = state.w + column(momentum) * (state.w - state.previous_w) - column(eta) * state.g
        return RecurrenceState(w, gradient(problem, w), state.w, omega), None


@dataclass(frozen=True)
class MarchenkoPastur(IterativeSolver):
    """Best average case over designs with independent entries of unit variance, as `d, N -> oo` at `r = d/N`.

    `rho = (1+r)/sqrt r`; `w_1 = w_0 - g_0/(1+r)`, `delta_1 = -1/rho`; then `delta' = -1/(rho + delta)` and
    `w_{k+1} = w_k + (1 + rho delta')(w_{k-1} - w_k) + delta' g_k/sqrt r`.

    Needs: the law (the covariates' covariance must be the identity; only `d/N` is read).
    Cost: one matrix-vector product a step.
    Guarantee: the optimal polynomial as `d -> oo`. At d = 5, N = 20 the largest eigenvalues lie beyond the limiting
        spectrum, and the mean loss rises after 3 steps.
    Source: Pedregosa & Scieur 2020, arXiv 2002.04756, theorem 4.1.

    Example:
        >>> problem = Problem(torch.eye(2)[None], torch.ones(1, 2), torch.ones(1, 1, 2))
        >>> MarchenkoPastur().solve(problem, 1).weights[-1].tolist()
        [[0.25, 0.25]]
    """

    needs: ClassVar[Needs] = Needs.LAW
    reach: ClassVar[Reach] = Reach.FIXED

    def init(self, problem: Problem) -> RecurrenceState:
        w, g = zero_start(problem)
        return RecurrenceState(w, g, w, 0.0)

    def step(self, problem: Problem, state: RecurrenceState, k: int) -> tuple[RecurrenceState, None]:
        ratio = problem.d / problem.N
        rho = (1 + ratio) / math.sqrt(ratio)
        # With delta_0 = 0 the recurrence itself yields the first step: delta_1 = -1/rho, no momentum.
        delta = -1 / (rho + state.coefficient)
        w = state.w + (1 + rho * delta) * (state.previous_w - state.w) + (delta / math.sqrt(ratio)) * state.g
        return RecurrenceState(w, gradient(problem, w), state.w, delta), None
