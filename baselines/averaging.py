"""Average-case optimal methods: coefficients from the expected spectrum of a random design."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from torch import Tensor

from baselines.operations import gradient, zero_start
from memformer.core.iterative import IterativeSolver
from memformer.core.problem import Problem
from memformer.core.solver import Needs, Reach


class AverageState(NamedTuple):
    """Iterate and gradient, the iterate before, and the recurrence's coefficient `delta`, the same for all tasks."""

    w: Tensor
    g: Tensor
    previous_w: Tensor
    delta: float


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
        >>> import torch
        >>> problem = Problem(torch.eye(2)[None], torch.ones(1, 2), torch.ones(1, 1, 2))
        >>> MarchenkoPastur().solve(problem, 1).weights[-1].tolist()
        [[0.25, 0.25]]
    """

    needs: ClassVar[Needs] = Needs.LAW
    reach: ClassVar[Reach] = Reach.FIXED

    def init(self, problem: Problem) -> AverageState:
        w, g = zero_start(problem)
        return AverageState(w, g, w, 0.0)

    def step(self, problem: Problem, state: AverageState, k: int) -> tuple[AverageState, None]:
        ratio = problem.d / problem.N
        rho = (1 + ratio) / math.sqrt(ratio)
        # With delta_0 = 0 the recurrence itself yields the first step: delta_1 = -1/rho, no momentum.
        delta = -1 / (rho + state.delta)
        w = state.w + (1 + rho * delta) * (state.previous_w - state.w) + (delta / math.sqrt(ratio)) * state.g
        return AverageState(w, gradient(problem, w), state.w, delta), None
