"""Methods whose step is a multiple of the gradient: gradient descent, steepest descent, Barzilai-Borwein."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

import torch
from torch import Tensor

from baselines.operations import column, gradient, safe_divide, undefined_where, zero_start
from memformer.core.checks import require_choice, require_number
from memformer.core.iterative import IterativeSolver, State
from memformer.core.objective import Objective
from memformer.core.problem import Problem, TaskSource, dot, matvec
from memformer.core.solver import Needs, Reach
from memformer.kernels.recurrences import Iterates, three_term


class StepState(NamedTuple):
    """Iterate, gradient `(B, d)` and step size `(B, 1)`."""

    w: Tensor
    g: Tensor
    eta: Tensor


class ConstantSteps(IterativeSolver):
    """A method with constants: those of each task's spectrum, or, where `eta` is given, the same for all tasks.

    It asks for gradients alone, and so serves every objective.
    """

    eta: float | None
    serves: ClassVar[type[Objective]] = Objective

    @property
    def told(self) -> Needs:
        """What of each task's spectrum its constants come from."""
        return Needs.MU_L

    @property
    def reach(self) -> Reach:  # pyright: ignore[reportIncompatibleVariableOverride] -- read on instances
        """The class of methods this instance belongs to."""
        return Reach.KRYLOV if self.eta is None else Reach.FIXED

    @property
    def needs(self) -> Needs:  # pyright: ignore[reportIncompatibleVariableOverride] -- read on instances
        """What this instance must be told."""
        return self.told if self.eta is None else Needs.NOTHING

    def skip(self, tasks: TaskSource) -> tuple[bool, str]:
        objective = tasks.objective
        if self.needs is Needs.MU_L and objective.curvature[0] + objective.ridge == 0:
            return True, (
                f"its constants need curvature from below, and of {objective.name} without a ridge none is known"
            )
        return super().skip(tasks)


@dataclass(frozen=True)
class GradientDescent(ConstantSteps):
    """Gradient descent with a constant step: `w_{k+1} = w_k - eta g_k`.

    Attributes:
        step_rule: `"mu_L"` is `eta = 2/(mu+L)`, `"L"` is `eta = 1/L`, of each task.
        eta: one fixed step for all tasks (of the objective normalised by N); overrides `step_rule`.

    Needs: `mu, L`; only `L` for `step_rule="L"`; nothing for a fixed `eta`.
    Cost: one matrix-vector product a step.
    Guarantee: with `2/(mu+L)`, `||e_k|| <= ((kappa-1)/(kappa+1))^k ||e_0||`; with `1/L`, `(1-1/kappa)^k`, and
        `f(w_k) - f* <= L ||e_0||^2 / (2 k)` even if mu is 0. For every objective, mu and L bounds on its curvature.
    Source: Nesterov, Introductory Lectures on Convex Optimization, theorems 2.1.14 and 2.1.15; Beck & Teboulle 2009,
        theorem 3.1.

    Example:
        >>> problem = Problem(torch.eye(2)[None], torch.ones(1, 2), torch.ones(1, 1, 2))
        >>> GradientDescent().solve(problem, 1).weights[-1].tolist()
        [[1.0, 1.0]]
    """

    step_rule: Literal["mu_L", "L"] = "mu_L"
    eta: float | None = None

    version: ClassVar[int] = 2

    def __post_init__(self) -> None:
        require_choice("step_rule", self.step_rule, ("mu_L", "L"))
        if self.eta is not None:
            require_number("eta", self.eta, least=0.0, strictly=True)

    @property
    def told(self) -> Needs:
        return Needs.L if self.step_rule == "L" else Needs.MU_L

    def _step_size(self, problem: Problem) -> Tensor:
        """Of each task, `(B,)`."""
        if self.eta is not None:
            return problem.X.new_full((problem.B,), self.eta)
        mu, L = problem.spectrum
        return 1 / L if self.step_rule == "L" else 2 / (mu + L)

    def compiled(self, problem: Problem, num_steps: int) -> Iterates:
        return three_term(problem.X, problem.y, self._step_size(problem).expand(num_steps, -1))

    def init(self, problem: Problem) -> StepState:
        return StepState(*zero_start(problem), column(self._step_size(problem)))

    def step(self, problem: Problem, state: StepState, k: int) -> tuple[StepState, None]:
        w = state.w - state.eta * state.g
        return StepState(w, gradient(problem, w), state.eta), None


@dataclass(frozen=True)
class SteepestDescent(IterativeSolver):
    """Gradient descent with an exact line search (Cauchy): `eta_k = g^T g / g^T H g`.

    Needs: nothing.
    Cost: one matrix-vector product a step.
    Guarantee: `f(w_k) - f* <= ((kappa-1)/(kappa+1))^{2k} (f(w_0) - f*)`.
    Source: Cauchy 1847; Nocedal & Wright, Numerical Optimization, theorem 3.3.

    Example:
        >>> problem = Problem(torch.eye(2)[None], torch.ones(1, 2), torch.ones(1, 1, 2))
        >>> SteepestDescent().solve(problem, 1).weights[-1].tolist()
        [[1.0, 1.0]]
    """

    needs: ClassVar[Needs] = Needs.NOTHING
    reach: ClassVar[Reach] = Reach.KRYLOV

    def init(self, problem: Problem) -> State:
        return State(*zero_start(problem))

    def step(self, problem: Problem, state: State, k: int) -> tuple[State, Tensor]:
        Hg = matvec(problem.moments.H, state.g)
        curvature = dot(state.g, Hg)
        eta = safe_divide(dot(state.g, state.g), curvature)
        return State(state.w - eta * state.g, state.g - eta * Hg), undefined_where(curvature)


@dataclass(frozen=True)
class BarzilaiBorwein(IterativeSolver):
    """Gradient descent with a step from the last two iterates; the first is a Cauchy step.

    With `s = w_k - w_{k-1}`, `y = g_k - g_{k-1}`: `eta_k = s^T s / s^T y` (long) or `s^T y / y^T y` (short). Here
    `s` is a multiple of `g_{k-1}` and `y` of `H g_{k-1}`, so both come from the product the last step took.

    Attributes:
        variant: `"long"` or `"short"`.

    Needs: nothing.
    Cost: one matrix-vector product a step.
    Guarantee: `eta_k` (long) is the Cauchy step of iterate k-1; R-linear convergence, not monotone.
    Source: Barzilai & Borwein 1988, equations 5 and 6.

    Example:
        >>> problem = Problem(torch.eye(2)[None], torch.ones(1, 2), torch.ones(1, 1, 2))
        >>> BarzilaiBorwein().solve(problem, 1).weights[-1].tolist()
        [[1.0, 1.0]]
    """

    variant: Literal["long", "short"] = "long"

    needs: ClassVar[Needs] = Needs.NOTHING
    reach: ClassVar[Reach] = Reach.KRYLOV

    def __post_init__(self) -> None:
        require_choice("variant", self.variant, ("long", "short"))

    def init(self, problem: Problem) -> StepState:
        w, g = zero_start(problem)
        return StepState(w, g, torch.zeros_like(w[:, :1]))

    def step(self, problem: Problem, state: StepState, k: int) -> tuple[StepState, Tensor]:
        Hg = matvec(problem.moments.H, state.g)
        curvature = dot(state.g, Hg)
        cauchy = safe_divide(dot(state.g, state.g), curvature)
        eta = cauchy if k == 0 else state.eta
        following = cauchy if self.variant == "long" else safe_divide(curvature, dot(Hg, Hg))
        # A short step is also nothing where `H g` has no square: less than any number, or infinite.
        undefined = undefined_where(curvature if self.variant == "long" else following)
        return StepState(state.w - eta * state.g, state.g - eta * Hg, following), undefined
