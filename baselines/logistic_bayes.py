"""What no prediction of binary labels beats: the chance of a label averaged over the posterior of the weights."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import ClassVar

import numpy as np
import torch
from scipy import stats
from torch import Tensor

from baselines.damped_newton import Newton
from baselines.operations import finite_tasks
from memformer.core.checks import store_ints
from memformer.core.objective import Logistic, Objective
from memformer.core.problem import Problem, TaskSource
from memformer.core.solver import Fitting, Needs, Solver, check_num_steps
from memformer.core.tensors import moved
from memformer.core.trace import Trace
from memformer.ledger import matmul

FREEDOM = 6.0
"""Degrees of freedom of the proposal: its tails must be heavier than those of the posterior."""

NEWTON_STEPS = 40
"""To the maximum a posteriori, where the proposal begins."""

ADAPTATIONS = 4
"""Rounds in which the proposal is fitted to the posterior."""

TOGETHER = 2**22
"""About so many predictors are held at once."""


@dataclass(frozen=True)
class LogisticBayes(Solver):
    """`log(p / (1 - p))` with `p = E[1/(1 + e^-u) | X, y]`, `u = x^T w`, for weights `N(0, v I)` before the context.

    The mean over the posterior is taken by adaptive importance sampling. The proposal is a Student distribution, which
    begins at the maximum a posteriori with the inverse Hessian there, and moves to the mean and covariance of the
    weighted points. Its points are the same quasi-random ones for all tasks. `sampling_error` says what they leave.

    Attributes:
        points: of the proposal, a power of two.
        parameters: `variance`, v; found by `fit`.

    Needs: the law (the variance of its weights).
    Cost: a Newton iteration, and twice `points` products with the context.
    Guarantee: least expected log loss of all predictions, but for `sampling_error`.
    Source: Bishop, Pattern Recognition and Machine Learning, sections 4.5 and 11.1.4; adaptive: Cappé et al., J.
        Comput. Graph. Stat. 13 (2004) 907-929.

    Example:
        >>> known = {"variance": torch.tensor(1.0)}
        >>> problem = Problem(torch.ones(1, 1, 1), torch.ones(1, 1), torch.ones(1, 1, 1), objective=Logistic(ridge=1.0))
        >>> round(LogisticBayes(parameters=known).solve(problem, 1).predictions[-1].item(), 2)
        0.35
    """

    points: int = 8192
    parameters: Mapping[str, Tensor] | None = None

    needs: ClassVar[Needs] = Needs.LAW
    fitting: ClassVar[Fitting] = Fitting.CLOSED_FORM
    serves: ClassVar[type[Objective]] = Logistic

    def __post_init__(self) -> None:
        store_ints(self, "points", least=2)
        if self.points & (self.points - 1):
            raise ValueError(f"points is {self.points}; it must be a power of two")

    def skip(self, tasks: TaskSource) -> tuple[bool, str]:
        why = self._refusal(tasks.objective)
        why = why or ("" if _variance(tasks) is not None else _NO_PRIOR)
        return bool(why), why

    def fit(self, tasks: TaskSource, steps: Sequence[int], seed: int = 0) -> LogisticBayes:
        variance = _variance(tasks)
        if variance is None:
            raise ValueError(_NO_PRIOR)
        return replace(self, parameters={"variance": variance.cpu()})

    def solve(self, problem: Problem, num_steps: int) -> Trace:
        check_num_steps(num_steps)
        if self.parameters is None:
            raise ValueError("logistic_bayes does not know the variance of the weights yet; call fit first")
        ridge = 1 / (problem.N * float(self.parameters["variance"]))
        posed, finite = replace(problem, objective=Logistic(ridge)), finite_tasks(problem.X, problem.y, problem.x_query)
        found = problem.X.new_full(problem.x_query.shape[:2], torch.nan)
        if bool(finite.any()):
            found[finite] = torch.cat([self._predicted(part) for part in self._parts(posed.select(finite))])
        return Trace.of_predictions(torch.stack([torch.zeros_like(found)] + [found] * num_steps))

    def _parts(self, problem: Problem) -> Iterator[Problem]:
        """The tasks, as many at a time as memory should hold."""
        size = max(1, TOGETHER // (self.points * (problem.N + problem.x_query.shape[1])))
        return (problem.select(slice(at, at + size)) for at in range(0, problem.B, size))

    def _predicted(self, problem: Problem) -> Tensor:
        """`(B, q)`."""
        w, log_weights = self._sampled(problem)
        return _log_odds(matmul(problem.x_query, w), log_weights)

    def sampling_error(self, problem: Problem) -> float:
        """How far the mean log loss lies above the least there is for want of points, about, in nats.

        Two halves of the points give two chances; half their difference, squared, is the variance of a chance p, which
        costs that over `2 p (1 - p)`.
        """
        lost = []
        for part in self._parts(problem):
            w, log_weights = self._sampled(part)
            halves = zip(matmul(part.x_query, w).chunk(2, -1), log_weights.chunk(2, -1), strict=True)
            one, other = (torch.sigmoid(_log_odds(at, weights)) for at, weights in halves)
            middle = (one + other) / 2
            lost.append((one - other).square() / 4 / (2 * middle * (1 - middle)).clamp(min=1e-12))
        return float(torch.cat(lost).clamp(max=1.0).mean())

    def _sampled(self, problem: Problem) -> tuple[Tensor, Tensor]:
        """Points of the posterior `(B, d, points)`, and their log weights `(B, points)`."""
        top = Newton().solve(problem, NEWTON_STEPS).weights
        assert top is not None
        centre, precision = top[-1], problem.N * problem.objective.hessian(problem, top[-1])
        covariance = torch.linalg.inv(precision)
        for last in [False] * ADAPTATIONS + [True]:
            root = torch.linalg.cholesky(covariance)
            points = self.points if last else max(2, self.points // 4)
            base, log_base = _proposal(points, problem.d, problem.dtype, problem.device)
            w = centre[..., None] + root @ base.mT
            eta = matmul(problem.X, w)
            ridge = problem.objective.ridge / 2 * w.square().sum(1)
            fit = -problem.N * (problem.objective.loss(eta, problem.y[..., None]).mean(1) + ridge)
            log_weights = fit - log_base
            if last:
                return w, log_weights
            # The proposal moves towards the weighted points, the further the more of them count.
            weights = log_weights.softmax(-1)
            effective = 1 / weights.square().sum(-1, keepdim=True)
            share = (effective / (effective + 10 * problem.d))[..., None]
            mean = (w * weights[:, None]).sum(-1)
            off = (w - mean[..., None]) * weights[:, None].sqrt()
            covariance = (1 - share) * covariance + share * (off @ off.mT)
            centre = centre + share[..., 0] * (mean - centre)
        raise AssertionError("the last round returns")


def _log_odds(at: Tensor, log_weights: Tensor) -> Tensor:
    """`log(p / (1 - p))` of the mean chance of predictors `(B, q, S)` at weighted points: `(B, q)`."""
    weights = log_weights.log_softmax(-1)[:, None]
    yes, no = (torch.logsumexp(weights + torch.nn.functional.logsigmoid(s * at), -1) for s in (1, -1))
    return yes - no


_NO_PRIOR = "logistic_bayes needs a law whose weights are N(0, v I), and this one does not state that"


def _variance(tasks: TaskSource) -> Tensor | None:
    """v, where the prior of the weights is `N(0, v I)`; else None."""
    prior = tasks.prior(tasks.sample(1).X)
    if prior is None or len(prior.mean) > 1 or bool(prior.mean.any()):
        return None
    covariance = prior.covariance[0]
    isotropic = torch.equal(covariance, covariance[0, 0] * torch.eye(tasks.d, device=covariance.device).to(covariance))
    return covariance[0, 0] if isotropic else None


@cache
def _proposal(points: int, d: int, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor]:
    """Points of a Student distribution of scale 1, `(points, d)`, and their log densities but for a constant."""
    uniform = stats.qmc.Sobol(d + 1, scramble=False).random_base2(int(math.log2(points))) + 0.5 / points
    normal, chi = stats.norm.ppf(uniform[:, :d]), stats.chi2.ppf(uniform[:, d], FREEDOM)
    found = torch.from_numpy(normal * np.sqrt(FREEDOM / chi)[:, None])
    log_density = -(FREEDOM + d) / 2 * torch.log1p(found.square().sum(-1) / FREEDOM)
    return moved(found, dtype, device), moved(log_density, dtype, device)
