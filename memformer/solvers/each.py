"""Gates and memory weights of a mixture, fitted to each task's own context and to nothing else."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from memformer.core.modes import learns
from memformer.core.problem import Problem
from memformer.core.tensors import ordinary
from memformer.model.forward import check_fits
from memformer.solvers.experts import Adapt, Mixture, context_folds
from memformer.training.lbfgs import BatchedLbfgs
from memformer.training.objective import losses, read


@learns
def adapt_each(mixture: Mixture, problem: Problem, what: Adapt, folds: int, steps: int) -> Mixture:
    """Fit gates, or gates and memory weights, to each task by cross-validation on its context.

    Tasks do not touch: a task that is solved, or not finite, changes no digit of the others.

    Args:
        mixture: one model.
        problem: B tasks; of each, only the context is read.
        what: see `memformer.solvers.experts.adapt`.
        folds: parts a context is cut into, each predicted from the rest.
        steps: evaluations of L-BFGS.

    Returns:
        The mixture with weights for each of the B tasks.

    Raises:
        ValueError: if folds do not divide the context, or contexts cut short do not fit.
    """
    B, tasks = problem.B, context_folds(problem, folds)
    check_fits(mixture.config, tasks.N, tasks.d)
    batch = read(mixture.config, tasks, "auto").map(
        lambda _, tensor: tensor.unflatten(-1, (B, -1)).movedim(-2, 0).contiguous(),
        lambda metric: metric.expand(B, -1, -1),
    )
    scale = problem.y.square().mean(1).clamp(min=torch.finfo(tasks.dtype).tiny)
    free = ["gates"] if what == "gates" else ["gates", "alpha", "gamma"]
    names = [name for name in free if name in mixture.parameters]
    kept = {name: ordinary(one).expand(B, *one.shape[1:]) for name, one in mixture.parameters.items()}

    def weights(theta: Tensor) -> dict[str, Tensor]:
        parts = theta.split([kept[name][0].numel() for name in names], 1)
        return kept | {name: part.view_as(kept[name]) for name, part in zip(names, parts, strict=True)}

    def evaluate(theta: Tensor) -> tuple[Tensor, Tensor]:
        theta = theta.detach().requires_grad_()
        each = losses(mixture.config, weights(theta), batch) / scale
        return each.detach(), torch.autograd.grad(each.sum(), theta)[0]

    search = BatchedLbfgs(torch.cat([kept[name].flatten(1) for name in names], 1), evaluate)
    for _ in range(steps):
        search.step()
        if bool(search.stalled.all()):
            break
    return replace(mixture, parameters=weights(search.theta))
