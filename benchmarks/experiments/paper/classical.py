"""The published baselines, and the first-order method that is learned without a Transformer."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from baselines.accelerated import HeavyBall, Nesterov
from baselines.krylov import ConjugateGradient
from benchmarks.experiments.paper.curves import Point, scored
from benchmarks.experiments.paper.entries import BaselineEntry, ExtractedEntry, PaperExperiment
from benchmarks.experiments.paper.notebook_tasks import FIT_SEED, first_rows, fresh_tasks, rotation, tasks
from memformer.core.problem import Problem, matvec
from memformer.core.solver import Solver

_RATE = 0.01


def baseline(experiment: PaperExperiment, entry: BaselineEntry) -> Iterator[Point]:
    """A classical method on the tasks that its figure shows, and with the same rows on fresh ones."""
    rows = entry.rows or experiment.N - 1
    solver = _solver(entry, rows)
    once = entry.tasks != "seeds"
    for seed in range(1 if once else experiment.seeds):
        drawn = tasks(FIT_SEED if entry.tasks == "fit" else seed, entry.count, experiment.N, experiment.scales)
        errors = []
        for problem in (drawn, fresh_tasks(experiment, seed)):
            seen = first_rows(problem, rows).to(torch.float64)
            assert seen.y_query is not None
            errors.append((solver.solve(seen, max(experiment.layers)).predict(seen.x_query) - seen.y_query).square())
        for k in experiment.layers:
            yield from scored(experiment.id, entry.curve, k, seed, *(squared[k] for squared in errors))


def _solver(entry: BaselineEntry, rows: int) -> Solver:
    if entry.solver == "cg":
        return ConjugateGradient()
    assert entry.eta is not None
    # Their gradients are of the sum of squares, ours of its mean.
    kind = Nesterov if entry.solver == "nesterov" else HeavyBall
    return kind(eta=entry.eta * rows, beta=entry.beta)


def extracted(experiment: PaperExperiment, entry: ExtractedEntry) -> Iterator[Point]:
    """`w_{k+1} = w_k - sum_{i<=k} G_i * g_i`, each G_i used by all later steps, fitted to the tasks it is scored on."""
    U, rows = rotation(1, len(experiment.scales)), experiment.N - 1
    fitted = first_rows(tasks(FIT_SEED, entry.batch, experiment.N, experiment.scales, U), rows)
    fresh = first_rows(fresh_tasks(experiment, 0, U), rows).to(torch.float64)
    for steps in experiment.layers:
        G = torch.zeros(steps, len(experiment.scales), requires_grad=True)
        optimiser = torch.optim.Adam([G], lr=_RATE)
        for _ in range(entry.epochs):
            optimiser.zero_grad()
            _squared_errors(fitted, G).sum().backward()
            optimiser.step()
        on_both = (_squared_errors(problem, G.detach().double()) for problem in (fitted.to(torch.float64), fresh))
        yield from scored(experiment.id, entry.curve, steps, 0, *on_both)


def _squared_errors(problem: Problem, G: Tensor) -> Tensor:
    """`(B,)`."""
    H, b = problem.moments
    H, b = H * problem.N, b * problem.N
    w, gradients = torch.zeros_like(b), []
    for k in range(len(G)):
        gradients.append(matvec(H, w) - b)
        w = w - (G[: k + 1, None] * torch.stack(gradients)).sum(0)
    assert problem.y_query is not None
    return (matvec(problem.x_query, w) - problem.y_query).square()[:, 0]
