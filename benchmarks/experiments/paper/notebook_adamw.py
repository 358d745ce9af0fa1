"""The notebooks' optimiser: AdamW on all seeds of a curve at once, each matrix's gradient clipped by itself."""

from __future__ import annotations

from collections.abc import Callable, Collection

import torch
from torch import Tensor

from benchmarks.experiments.paper.entries import Stage
from memformer.core.problem import Problem
from memformer.model.config import MemformerConfig
from memformer.training.objective import Batch, losses, read

Parameters = dict[str, Tensor]


def descend(
    config: MemformerConfig,
    parameters: Parameters,
    stage: Stage,
    batch: Callable[[int], Batch],
    free: Collection[str] | None = None,
    project: Callable[[Parameters], None] = lambda _: None,
) -> Parameters:
    """Run one stage of training.

    Args:
        config: of the models.
        parameters: S models.
        stage: how.
        batch: what is fitted from a step on; asked at step 0, and whenever the stage has it drawn anew.
        free: parameters that are trained; None is all.
        project: changes parameters in place before every step, and after the last one.

    Returns:
        The parameters after the last step.
    """
    own = {name: tensor.clone().requires_grad_(free is None or name in free) for name, tensor in parameters.items()}
    trained = {name: tensor for name, tensor in own.items() if tensor.requires_grad}
    first, second = stage.betas
    optimiser = torch.optim.AdamW(trained.values(), lr=stage.rate, betas=(first, second), weight_decay=stage.decay)
    now = batch(0)
    for step in range(stage.steps):
        if stage.redrawn and step and step % stage.redrawn == 0:
            now = batch(step)
        if stage.warmup:
            optimiser.param_groups[0]["lr"] = stage.rate * min(1.0, step / stage.warmup)
        with torch.no_grad():
            project(own)
        optimiser.zero_grad()
        losses(config, own, now).sum().backward()
        if stage.clip is not None:
            for name in {"Q", "P"} & set(trained):
                _clip(own[name].grad, stage.clip)
        optimiser.step()
    with torch.no_grad():
        project(own)
    return {name: tensor.detach() for name, tensor in own.items()}


def _clip(gradient: Tensor | None, most: float) -> None:
    if gradient is not None:  # P of a single layer has none: no later layer reads the covariates
        norm = torch.linalg.matrix_norm(gradient, keepdim=True)
        gradient.mul_(most / norm.clamp(min=most))


def stack(config: MemformerConfig, problems: list[Problem]) -> Batch:
    """One group of tasks a model."""
    return Batch.stack([read(config, Problem(p.X, p.y, p.x_query, p.y_query), "query") for p in problems])
