"""Memformers whose parameters are written down from the law, not trained."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal, get_args

import numpy as np
import torch
from scipy.optimize import minimize
from torch import Tensor

from baselines.accelerated import HeavyBall
from baselines.lfom_optimal import LfomOptimal
from baselines.residual_roots import comrade, fitted_roots, leja_order
from memformer.core.checks import require_choice
from memformer.core.problem import Problem, TaskSource
from memformer.core.solver import Fitting, Needs, Reach, Solver
from memformer.core.trace import Trace
from memformer.model.construct import Construction, chebyshev, first_order_method, gradient_descent, heavy_ball
from memformer.solvers.memformer import Memformer

Method = Literal["optimal", "chebyshev", "heavy_ball"]


@dataclass(frozen=True)
class ConstructedMemformer(Solver):
    """A Memformer with P = 0 that takes the steps of a method with fixed coefficients, the best for a law.

    `"optimal"` is the best of all such methods. Its residual polynomial is a product of factors `1 - t / root`. A real
    root is a layer with `Q = -1/root I`. A pair of complex roots is two layers of which the second also uses the
    register of the first. Where all roots are real, as without label noise on isotropic Gaussian tasks, the model has
    no memory. `"chebyshev"` and `"heavy_ball"` have conjugate memory and the constants of the interval `[mu, L]` that
    is best for the law and the depth.

    Attributes:
        method: which.
        preconditioned: C in place of I, `C = E[x x^T]^-1`.
        parameters: those of a `Memformer`, for models of all fitted depths; found by `fit`.

    Needs: the law.
    Cost: one matrix-vector product with H a layer, and one with C if preconditioned.
    Guarantee: optimal: the loss is that of `lfom_optimal`, to rounding; the others lie above it.
    Source: von Oswald et al., arXiv 2212.07677, proposition 1, with step sizes from Pedregosa & Scieur 2020, arXiv
        2002.04756; Dutta & Sra, arXiv 2410.07263, proposition 3.2, for memory.

    Example:
        >>> problem = Problem(torch.ones(1, 2, 1), torch.ones(1, 2), torch.ones(1, 1, 1))
        >>> ConstructedMemformer().solve(problem, 1)
        Traceback (most recent call last):
        ValueError: the Memformer has no parameters yet; call fit first
    """

    method: Method = "optimal"
    preconditioned: bool = False
    parameters: Mapping[str, Tensor] | None = None

    needs: ClassVar[Needs] = Needs.LAW
    anytime: ClassVar[bool] = False
    fitting: ClassVar[Fitting] = Fitting.CLOSED_FORM

    def __post_init__(self) -> None:
        require_choice("method", self.method, get_args(Method))

    @property
    def reach(self) -> Reach:  # pyright: ignore[reportIncompatibleVariableOverride] -- read on instances
        """The class of methods this instance belongs to."""
        return Reach.FIXED_PRECONDITIONED if self.preconditioned else Reach.FIXED

    @property
    def model(self) -> Memformer:
        """The Memformer itself."""
        found = self.parameters or {}
        memory = "conjugate" if "alpha" in found else "first_order" if "gamma" in found else "none"
        preconditioner = "full" if self.preconditioned else "scalar"
        return Memformer(memory=memory, preconditioner=preconditioner, parameters=self.parameters)

    def fit(self, tasks: TaskSource, steps: Sequence[int], seed: int = 0) -> ConstructedMemformer:
        depths = sorted({step for step in steps if step > 0}, reverse=True)
        found = {"depths": torch.tensor(depths, dtype=torch.int64), "made_for": torch.tensor([tasks.d, tasks.N])}
        if depths:
            best = LfomOptimal(self.preconditioned).fit(tasks, depths).parameters
            assert best is not None
            C = best.get("preconditioner")
            if self.method == "optimal":
                made = _optimal(best, depths, tasks.d, C)
            else:
                intervals = torch.tensor([_best_interval(self.method, best, depth) for depth in depths]).double()
                made = _on_interval(self.method, intervals, depths[0], tasks.d, C)
            found.update(made.parameters)
        return replace(self, parameters=found)

    def solve(self, problem: Problem, num_steps: int) -> Trace:
        return self.model.solve(problem, num_steps)


def _optimal(best: Mapping[str, Tensor], depths: list[int], d: int, C: Tensor | None) -> Construction:
    """Models of all depths, the largest first, that run a fitted `LfomOptimal`."""
    tables = torch.zeros(len(depths), depths[0], depths[0], dtype=torch.float64)
    for table, depth in zip(tables, depths, strict=True):
        roots = leja_order(fitted_roots(best, depth))
        table[: len(roots), : len(roots)] = step_table(roots)
    if bool((tables.tril(-1) == 0).all()):
        return gradient_descent(tables.diagonal(dim1=1, dim2=2), depths[0], d, C)
    return first_order_method(tables, d, C)


def _on_interval(method: str, intervals: Tensor, depth: int, d: int = 1, C: Tensor | None = None) -> Construction:
    """Models with the constants of intervals `[mu, L]` `(S, 2)`."""
    mu, L = intervals.unbind(1)
    if method == "chebyshev":
        return chebyshev(mu, L, depth, d, C)
    return heavy_ball(*HeavyBall().constants(mu, L), depth, d, 2 / (L + mu), C)


def _best_interval(method: str, best: Mapping[str, Tensor], depth: int) -> tuple[float, float]:
    """`mu, L` with the least expected loss after `depth` steps.

    With q the method's polynomial and q* the best one, the loss is the floor plus the squared distance of q and q* in
    the basis in which `LfomOptimal` runs.
    """
    product, one = comrade(best, depth)
    optimum = best["coefficients"][:depth].double().numpy()

    def interval(x: np.ndarray) -> tuple[float, float]:
        mu = math.exp(x[0])
        return mu, mu + math.exp(x[1])

    def distance(x: np.ndarray) -> float:
        made = _on_interval(method, torch.tensor([interval(x)], dtype=torch.float64), depth).parameters
        before = q = np.zeros(depth)
        for eta, beta in zip(-made["Q"].flatten().numpy(), made["gamma"].flatten().numpy(), strict=True):
            before, q = q, q + eta * (one - product @ q) + beta * (q - before)
        return float(np.square(q - optimum).sum())

    roots = [abs(root) for root in fitted_roots(best, depth)]
    start = [math.log(min(roots)), math.log(max(roots) - 0.9 * min(roots))]
    return interval(minimize(distance, start, method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-15}).x)


def step_table(roots: Sequence[complex]) -> Tensor:
    """The method `w_{k+1} = w_k - sum_{i<=k} table[k, i] grad f(w_i)` with a given residual polynomial.

    With `m = 1/|root|`, a pair of complex roots is `w_1 = w_0 - m g_0`, `w_2 = w_1 - m g_1 - (2 Re 1/root - 2 m) g_0`,
    whose residual is `1 - 2 Re(1/root) t + m^2 t^2`.

    Args:
        roots: in the order of the steps; a complex root is followed by its conjugate.

    Returns:
        `(k, k)` float64, lower triangular.

    Example:
        >>> step_table([2.0, 1j, -1j]).tolist()
        [[0.5, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, -2.0, 1.0]]
    """
    table = torch.zeros(len(roots), len(roots), dtype=torch.float64)
    steps = iter(enumerate(roots))
    for k, root in steps:
        table[k, k] = 1 / abs(root) if root.imag else 1 / root.real
        if root.imag:
            last, _ = next(steps)
            table[last, last] = 1 / abs(root)
            table[last, k] = 2 * (1 / root).real - 2 / abs(root)
    return table
