"""Empirical risk minimisation: one model for each training set, all sets of one size as one batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from baselines.lfom_optimal import LfomOptimal
from benchmarks.experiments.learnability.settings import Class
from benchmarks.tasks.law import Law, Purpose
from benchmarks.tasks.stream import StandIn
from memformer.core.problem import Problem
from memformer.model.config import MemformerConfig
from memformer.training.lbfgs import BatchedLbfgs
from memformer.training.objective import Batch, LossKind, draw, losses
from memformer.training.whitening import Coordinates, chebyshev_steps, initial_theta

CHUNK = 1000
"""Tasks evaluated at a time."""

SPECTRUM_TASKS = 1000
"""Training tasks, at most, whose covariates tell where to start and in which coordinates to move."""

LEAST_RISK = 1e-8
"""Empirical risks are told apart down to this: what interpolates its training tasks has found a minimiser."""

CHECKED_EVERY = 10
TOLERANCE = 1e-4
"""A search ends once `CHECKED_EVERY` evaluations lower no model's log risk by more than `TOLERANCE`."""

NOISE = 1e-2
"""Random deviation of the start, relative, so that heads and matrices are not symmetric."""


class Fitted(NamedTuple):
    """S fitted models.

    Attributes:
        config: what they are made of.
        parameters: stacked in front.
        risk: `(S,)` on the training tasks.
    """

    config: MemformerConfig
    parameters: dict[str, Tensor]
    risk: Tensor


def minimise(
    kind: Class,
    law: Law,
    depth: int,
    tasks: int,
    seeds: Sequence[int],
    evaluations: int,
    loss: LossKind = "query",
    purpose: Purpose = Purpose.TRAIN,
) -> Fitted:
    """Fit a model of a class to each training set, the first `tasks` tasks of a stream.

    What a learner could not know is not used: coordinates and start come from the training covariates alone. Sets of
    more than 10,000 tasks are searched from where a tenth of them leads.

    Args:
        kind: a Memformer or a diagonal LFOM.
        law: whose tasks.
        depth: number of layers.
        tasks: of a training set; more than `CHUNK` must be a multiple of it.
        seeds: one a set.
        evaluations: of the risk, at most; a third of them where a tenth of the set has led most of the way.
        loss: the squared error of one query a task, or `"expected"`.
        purpose: of the streams.
    """
    config = kind.made_of(law.d, law.N, depth)
    sources = [law.stream(seed, purpose) for seed in seeds]
    drawn = draw(config, sources, tasks, min(tasks, CHUNK), loss)
    few = min(tasks, SPECTRUM_TASKS)
    contexts = torch.stack([law.stream(seed, purpose).sample(few).moments.H for seed in seeds])
    coordinates = Coordinates(config, None if kind.kind == "diagonal" else contexts.mean(1))
    theta, free = _start(kind, config, coordinates, contexts, seeds)
    stages = [drawn[: len(drawn) // 10], drawn] if len(drawn) >= 10 else [drawn]
    risk = theta[:, 0]
    for stage, batches in enumerate(stages):
        theta, risk = _search(config, coordinates, theta, free, batches, evaluations // 3 if stage else evaluations)
    return Fitted(config, coordinates.parameters(theta), risk)


def _start(
    kind: Class, config: MemformerConfig, coordinates: Coordinates, contexts: Tensor, seeds: Sequence[int]
) -> tuple[Tensor, Tensor]:
    """Gradient descent with minimax steps, `(S, n)`, and which entries are free, `(n,)`, 1 or 0."""
    steps = chebyshev_steps(coordinates, contexts, [config.depth] * len(seeds), config.depth)
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    theta = initial_theta(coordinates, steps, generators, 0.0 if kind.kind == "diagonal" else NOISE)
    if kind.kind != "diagonal":
        return theta, torch.ones_like(theta[0])
    parameters = coordinates.parameters(theta)
    axes = torch.diag_embed(torch.eye(config.d, dtype=theta.dtype))
    # Head h sees coordinate h, so that memory weights of layer l and source j are the diagonal of a coefficient.
    parameters["Q"] = -axes.expand_as(parameters["Q"])
    parameters["gamma"] = torch.diag_embed(steps)[..., None].expand_as(parameters["gamma"])
    free = {name: torch.full_like(value[:1], float(name == "gamma")) for name, value in parameters.items()}
    return coordinates.theta(parameters), coordinates.theta(free)[0]


def _search(
    config: MemformerConfig,
    coordinates: Coordinates,
    theta: Tensor,
    free: Tensor,
    batches: Sequence[Batch],
    evaluations: int,
) -> tuple[Tensor, Tensor]:
    """The best `theta` `(S, n)` found, and its risk `(S,)`."""

    def log_risk(theta: Tensor) -> tuple[Tensor, Tensor]:
        risk, slope = torch.zeros_like(theta[:, 0]), torch.zeros_like(theta)
        for batch in batches:
            moving = theta.detach().requires_grad_()
            loss = losses(config, coordinates.parameters(moving), batch)
            slope += torch.autograd.grad(loss.sum(), moving)[0]
            risk += loss.detach()
        risk, slope = risk / len(batches) + LEAST_RISK, slope * (free / len(batches))
        return risk.log(), slope / risk[:, None]

    search = BatchedLbfgs(theta, log_risk)
    before = search.value
    for evaluation in range(1, evaluations + 1):
        search.step()
        if evaluation % CHECKED_EVERY == 0:
            if bool((search.stalled | (before - search.value < TOLERANCE)).all()):
                break
            before = search.value
    return search.theta, search.value.exp() - LEAST_RISK


class Unlabelled(StandIn):
    """The tasks of a stream without what only the law knows: a training task is its context and labelled queries."""

    def prior(self, X: Tensor) -> None:
        """Nothing is known."""

    def sample(self, batch: int) -> Problem:
        """The next tasks."""
        problem = self._stream.sample(batch)
        return Problem(problem.X, problem.y, problem.x_query, problem.y_query)


def minimise_exactly(law: Law, most: int, tasks: int, seed: int, preconditioned: bool = False) -> LfomOptimal:
    """The scalar coefficients that minimise the empirical risk of one training set, for up to `most` steps."""
    return LfomOptimal(preconditioned, tasks).fit(Unlabelled(law.stream(seed, Purpose.TRAIN)), [most])
