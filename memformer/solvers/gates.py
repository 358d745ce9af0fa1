"""Gates and memory weights of a mixture, fitted afterwards: to given tasks together, or to each task's own context."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal, get_args

import torch
from torch import Tensor

from memformer.core.checks import require_choice
from memformer.core.iterative import CHECK_INTERVAL
from memformer.core.modes import learns
from memformer.core.problem import Problem
from memformer.core.tensors import ordinary
from memformer.ledger import is_counting
from memformer.model.forward import check_fits
from memformer.solvers.experts import Mixture
from memformer.training.lbfgs import BatchedLbfgs
from memformer.training.objective import losses, read

Adapt = Literal["gates", "gates_and_memory"]


@learns
def adapt(
    mixture: Mixture, problem: Problem, what: Adapt = "gates", folds: int | None = None, steps: int = 60
) -> Mixture:
    """Fit gates (variant A of the paper), or gates and memory weights (variant B), to tasks, the same for all of them.

    Args:
        mixture: one model.
        problem: B tasks.
        what: `"gates"` or `"gates_and_memory"`.
        folds: None fits the tasks' `w_star` or query labels: right for training tasks, transductive for scored ones.
            A number reads the tasks' *context* alone: it is cut into so many folds, each predicted from the rest;
            N folds leave one out.
        steps: evaluations of L-BFGS.

    Returns:
        The adapted mixture: one model.

    Raises:
        ValueError: if `what` is unknown, folds do not divide the context, or contexts cut short do not fit.
    """
    tasks = replace(problem) if folds is None else context_folds(problem, folds)
    return _fitted(mixture, tasks, tasks.y.square().mean()[None], what, steps)


@learns
def adapt_each(mixture: Mixture, problem: Problem, what: Adapt, folds: int, steps: int) -> Mixture:
    """Fit gates, or gates and memory weights, of each task's own, by cross-validation on its context.

    Tasks do not touch: a task that is solved, or not finite, changes no digit of the others.

    Args:
        mixture: one model.
        problem: B tasks; of each, only the context is read.
        what: see `adapt`.
        folds: see `adapt`.
        steps: evaluations of L-BFGS.

    Returns:
        The mixture with weights for each of the B tasks.

    Raises:
        ValueError: if `what` is unknown, folds do not divide the context, or contexts cut short do not fit.
    """
    return _fitted(mixture, context_folds(problem, folds), problem.y.square().mean(1), what, steps)


def _fitted(mixture: Mixture, tasks: Problem, scale: Tensor, what: Adapt, steps: int) -> Mixture:
    """A model for each of G groups of consecutive tasks, whose losses are in units of `scale`, `(G,)`."""
    require_choice("what", what, get_args(Adapt))
    if len(mixture.gates) > 1:
        raise ValueError("the mixture has weights for each task already; adapt the one it came from")
    check_fits(mixture.config, tasks.N, tasks.d)
    G = len(scale)
    batch = read(mixture.config, tasks, "auto").map(
        lambda _, tensor: tensor.unflatten(-1, (G, -1)).movedim(-2, 0).contiguous(),
        lambda metric: metric.expand(G, -1, -1),
    )
    scale = scale.clamp(min=torch.finfo(tasks.dtype).tiny)
    free = ["gates"] if what == "gates" else ["gates", "alpha", "gamma"]
    names = [name for name in free if name in mixture.parameters]
    kept = {name: ordinary(one).expand(G, *one.shape[1:]) for name, one in mixture.parameters.items()}

    def weights(theta: Tensor) -> dict[str, Tensor]:
        parts = theta.split([kept[name][0].numel() for name in names], 1)
        return kept | {name: part.view_as(kept[name]) for name, part in zip(names, parts, strict=True)}

    def evaluate(theta: Tensor) -> tuple[Tensor, Tensor]:
        theta = theta.detach().requires_grad_()
        each = losses(mixture.config, weights(theta), batch) / scale
        return each.detach(), torch.autograd.grad(each.sum(), theta)[0]

    search = BatchedLbfgs(torch.cat([kept[name].flatten(1) for name in names], 1), evaluate)
    interval = 1 if tasks.device.type == "cpu" or is_counting() else CHECK_INTERVAL
    for step in range(1, steps + 1):
        search.step()
        if step % interval == 0 and bool(search.stalled.all()):
            break
    return replace(mixture, parameters=weights(search.theta))


def context_folds(problem: Problem, folds: int) -> Problem:
    """Tasks made of contexts alone: each fold of a context is to be predicted from the rest of it.

    Args:
        problem: B tasks; neither queries nor true weights are read.
        folds: how many, a divisor of N from 2 to N.

    Returns:
        `B * folds` tasks with contexts of `N - N/folds` points and `N/folds` queries; those of the first task first.

    Raises:
        ValueError: if `folds` is no such number.

    Example:
        >>> problem = Problem(torch.tensor([[[1.0], [2.0]]]), torch.tensor([[3.0, 4.0]]), torch.zeros(1, 1, 1))
        >>> folded = context_folds(problem, folds=2)
        >>> folded.y.tolist(), folded.y_query.tolist()
        ([[4.0], [3.0]], [[3.0], [4.0]])
    """
    N = problem.N
    if not 2 <= folds <= N or N % folds:
        raise ValueError(f"folds is {folds}; with contexts of N = {N} points it must divide N and be from 2 to N")
    size = N // folds
    inside = torch.arange(N, device=problem.device).view(folds, size)
    others = torch.arange(N - size, device=problem.device)
    outside = others + size * (others >= inside[:, :1])
    X, y = problem.X, problem.y
    return Problem(
        X[:, outside].flatten(0, 1), y[:, outside].flatten(0, 1), X[:, inside].flatten(0, 1), y[:, inside].flatten(0, 1)
    )
