"""Classical methods with fixed constants, the constants being the best for a task law."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import numpy as np
import torch
from scipy.optimize import minimize
from torch import Tensor

from baselines.accelerated import HeavyBall, MomentumState, Nesterov
from baselines.gradient import GradientDescent
from baselines.krylov import law_preconditioner
from baselines.objective import mean_loss
from memformer.core.checks import require_choice, store_ints
from memformer.core.iterative import IterativeSolver
from memformer.core.objective import LeastSquares, Objective
from memformer.core.problem import SPREAD, Problem, TaskSource, matvec
from memformer.core.solver import Fitting, Needs, Reach, Solver, check_num_steps
from memformer.core.trace import Trace
from memformer.training.recipe import TrainingError

GRID_TASKS = 500
"""The grid is searched on this many tasks, the refinement on all."""

GRID_BETAS = (-0.9, -0.7, -0.5, -0.3, -0.1, 0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)


@dataclass(frozen=True)
class Tuned(Solver):
    """A classical method with the constants `eta`, `beta` that minimise a law's mean expected loss after k steps.

    Each number of steps has constants of its own: a grid over `(eta, beta)`, then Nelder-Mead on `log eta` and
    `artanh beta`, on training tasks. The search itself leaves nothing to chance, but its tasks are drawn anew under
    every seed, and so are the constants: the fit is random. Two constants are searched for and no form is learned.

    Attributes:
        method: `"gradient_descent"` (`eta` alone), `"heavy_ball"` or `"nesterov"`.
        num_tasks: training tasks.
        preconditioned: gradients are multiplied by `C = E[x x^T]^-1`; not for gradient descent, which is heavy ball
            with `beta = 0`.
        parameters: `steps`, `eta`, `beta`, `(R,)` each for R numbers of steps, and `preconditioner` `(d, d)` if
            preconditioned; found by `fit`.

    Needs: the law (training tasks of it).
    Cost: that of the method: one matrix-vector product a step, and one with C if preconditioned.
    Guarantee: never below the LFOM floor on fresh tasks.
    Source: Polyak 1964; Nesterov 1983; Nelder & Mead 1965.

    Example:
        >>> tuned = {"steps": torch.tensor([1]), "eta": torch.tensor([0.5]), "beta": torch.tensor([0.0])}
        >>> problem = Problem(torch.eye(2)[None], torch.ones(1, 2), torch.ones(1, 1, 2))
        >>> Tuned("gradient_descent", parameters=tuned).solve(problem, 1).weights[-1].tolist()
        [[0.25, 0.25]]
    """

    method: Literal["gradient_descent", "heavy_ball", "nesterov"] = "heavy_ball"
    num_tasks: int = 20_000
    preconditioned: bool = False
    parameters: Mapping[str, Tensor] | None = None

    needs: ClassVar[Needs] = Needs.LAW
    anytime: ClassVar[bool] = False
    fitting: ClassVar[Fitting] = Fitting.RANDOM
    version: ClassVar[int] = 3
    numbers: ClassVar[tuple[str, ...]] = ("eta", "beta")

    def __post_init__(self) -> None:
        require_choice("method", self.method, ("gradient_descent", "heavy_ball", "nesterov"))
        store_ints(self, "num_tasks", least=1)
        if self.preconditioned and self.method == "gradient_descent":
            raise ValueError("preconditioned=True needs method='heavy_ball' or 'nesterov'")

    @property
    def reach(self) -> Reach:  # pyright: ignore[reportIncompatibleVariableOverride] -- read on instances
        """The class of methods this instance belongs to."""
        return Reach.FIXED_PRECONDITIONED if self.preconditioned else Reach.FIXED

    @property
    def serves(self) -> type[Objective]:  # pyright: ignore[reportIncompatibleVariableOverride] -- read on instances
        """Objectives that this instance can minimise."""
        return LeastSquares if self.preconditioned else Objective

    def prepare(self, dtype: torch.dtype, device: torch.device) -> None:
        HeavyBall().prepare(dtype, device)

    def fit(self, tasks: TaskSource, steps: Sequence[int], seed: int = 0) -> Tuned:
        problem = tasks.spread(SPREAD).sample(self.num_tasks).to(torch.float64, "cpu")
        chosen = sorted({step for step in steps if step > 0})
        C = law_preconditioner(tasks) if self.preconditioned else None
        constants = [_search(self.method, problem, step, C) for step in chosen]
        table = torch.tensor(constants, dtype=torch.float64).reshape(-1, 2)
        parameters = {"steps": torch.tensor(chosen), "eta": table[:, 0], "beta": table[:, 1]}
        return replace(self, parameters=parameters if C is None else {**parameters, "preconditioner": C})

    def solve(self, problem: Problem, num_steps: int) -> Trace:
        check_num_steps(num_steps)
        if self.parameters is None:
            raise ValueError(f"{self.method} has not been tuned yet; call fit first")
        steps = self.parameters["steps"].tolist()
        if num_steps == 0:
            return GradientDescent(eta=1.0).solve(problem, 0)
        if num_steps not in steps:
            raise ValueError(f"{self.method} was tuned for {steps} steps and cannot take {num_steps}")
        eta, beta = (float(self.parameters[name][steps.index(num_steps)]) for name in ("eta", "beta"))
        if self.method == "gradient_descent":
            return GradientDescent(eta=eta).solve(problem, num_steps)
        method = (HeavyBall if self.method == "heavy_ball" else Nesterov)(eta=eta, beta=beta)
        if "preconditioner" in self.parameters:
            method = _Preconditioned(method, self.parameters["preconditioner"].to(problem.y))
        return method.solve(problem, num_steps)


@dataclass(frozen=True)
class _Preconditioned(IterativeSolver):
    """A method of fixed constants that is given `C g` for every gradient `g`; the tests of the loop see `g`."""

    method: HeavyBall | Nesterov
    C: Tensor

    def init(self, problem: Problem) -> MomentumState:
        state = self.method.init(problem)
        return state._replace(previous_g=matvec(self.C, state.g))

    def step(self, problem: Problem, state: MomentumState, k: int) -> tuple[MomentumState, None]:
        return self.method.step(problem, state._replace(g=matvec(self.C, state.g)), k)


def _search(method: str, problem: Problem, num_steps: int, C: Tensor | None = None) -> tuple[float, float]:
    """Best `(eta, beta)` for `num_steps` steps."""
    few = problem.first(GRID_TASKS)
    # With one step, and for gradient descent, momentum has nothing to act on.
    has_beta = num_steps > 1 and method != "gradient_descent"
    base = float(1 / (problem.spectrum.L if C is None else _largest(C, problem)).median())
    etas = base * np.geomspace(0.1, 3.0, 24)
    betas = GRID_BETAS if has_beta else (0.0,)
    grid = np.array([(eta, beta) for eta in etas for beta in betas])
    losses = _mean_losses(method, few, grid, num_steps, C)
    if not np.isfinite(losses).any():
        raise TrainingError(f"no constants of {method} have a finite loss after {num_steps} steps")
    start_eta, start_beta = grid[int(np.argmin(losses))]

    def constants(x: np.ndarray) -> tuple[float, float]:
        # Rounding must not carry tanh to 1 exactly, which the methods refuse.
        return base * float(np.exp(x[0])), 0.999 * float(np.tanh(x[1])) if has_beta else 0.0

    def objective(x: np.ndarray) -> float:
        return float(_mean_losses(method, problem, np.array([constants(x)]), num_steps, C)[0])

    start = [np.log(start_eta / base), np.arctanh(start_beta)][: 1 + has_beta]
    simplex = np.array([start, *(start + 0.1 * np.eye(len(start)))])
    found = minimize(
        objective, start, method="Nelder-Mead", options={"initial_simplex": simplex, "xatol": 1e-3, "fatol": 1e-5}
    )
    return constants(found.x)


def _largest(C: Tensor, problem: Problem) -> Tensor:
    """Largest eigenvalue of `C H`, `(B,)`."""
    values, vectors = torch.linalg.eigh(C)
    root = vectors * values.clamp(min=0).sqrt()
    return torch.linalg.eigvalsh(root.mT @ problem.moments.H @ root)[:, -1]


def _mean_losses(
    method: str, problem: Problem, constants: np.ndarray, num_steps: int, C: Tensor | None = None
) -> np.ndarray:
    """Log of the mean loss after `num_steps` steps for each pair `(eta, beta)`."""
    # Candidates are the last dimension, `(B, d, G)`: one product serves them all.
    eta, beta = torch.from_numpy(constants).to(problem.X).unbind(-1)
    w = problem.X.new_zeros(problem.B, problem.d, 1).expand(-1, -1, len(constants))
    momentum = torch.zeros_like(w)
    for _ in range(num_steps):
        at = w + beta * momentum if method == "nesterov" else w
        g = problem.objective.gradients(problem, at)
        following = w + beta * momentum - eta * (g if C is None else C @ g)
        momentum, w = following - w, following
    losses = mean_loss(problem, w.permute(2, 0, 1))
    return losses.nan_to_num(nan=torch.inf, posinf=torch.inf).clamp(min=1e-300).log().cpu().numpy()
