"""The very tasks of the published notebooks, number for number: their seeds, their order of draws."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from benchmarks.experiments.paper.entries import Component, PaperExperiment
from memformer.core.problem import Problem, matvec

# The batch a model is fitted on and the test batch are the same for every training seed, but for its rotation; tasks
# that nobody saw are not.
FIT_SEED, TEST_SEED, FRESH_SEED = 999, 99, 12_345
TEST_TASKS, FRESH_TASKS = 1000, 20_000


def rotation(seed: int, d: int) -> Tensor:
    """The rotation of a training seed, `(d, d)`: left singular vectors of a matrix uniform on [-1, 1]."""
    generator = torch.Generator().manual_seed(seed)
    return torch.linalg.svd(torch.empty(d, d).uniform_(-1, 1, generator=generator))[0]


def tasks(
    seed: int,
    count: int,
    N: int,
    scales: list[float],
    U: Tensor | None = None,
    components: Sequence[Component] = (),
) -> Problem:
    """A batch of the notebooks' tasks, float32: `x = U D g`, `w = U D^-1 omega`, no noise, one query.

    Args:
        seed: of torch's generator.
        count: number of tasks.
        N: context length.
        scales: the diagonal of D, d numbers.
        U: `(d, d)`; None is the identity (losses of methods without preconditioner do not depend on it).
        components: of g and omega alike, one drawn for each task by its share; none is a standard normal.
    """
    generator, d = torch.Generator().manual_seed(seed), len(scales)
    D = torch.tensor(scales)
    # The first omega is drawn and thrown away; the one that counts comes last.
    torch.randn(count, d, generator=generator)
    g = torch.randn(count, N, d, generator=generator)
    query = torch.randn(count, 1, d, generator=generator)
    omega = torch.randn(count, d, generator=generator)
    if components:
        shares = torch.tensor([one.share for one in components])
        which = torch.multinomial(shares, count, replacement=True, generator=generator)
        mean = torch.tensor([one.mean for one in components])[which, None]
        std = torch.tensor([one.variance for one in components])[which, None].sqrt()
        omega = mean + std * omega
        g, query = (mean[..., None] + std[..., None] * drawn for drawn in (g, query))
    turn = torch.eye(d) if U is None else U
    X, x_query, w = g * D @ turn.mT, query * D @ turn.mT, omega / D @ turn.mT
    return Problem(X, matvec(X, w), x_query, matvec(x_query, w), w)


def fresh_tasks(
    experiment: PaperExperiment, seed: int, U: Tensor | None = None, components: Sequence[Component] = ()
) -> Problem:
    """Tasks of an experiment that nobody saw, others for each training seed."""
    return tasks(FRESH_SEED + seed, FRESH_TASKS, experiment.N, experiment.scales, U, components)


def first_rows(problem: Problem, rows: int) -> Problem:
    """The same tasks with only the first rows of their contexts: the notebooks' baselines leave the last one out."""
    return Problem(problem.X[:, :rows], problem.y[:, :rows], problem.x_query, problem.y_query, problem.w_star)
