"""The published protocol, redone: their draws, their start, their optimiser, all seeds of a curve as one batch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from benchmarks.experiments.paper.curves import Point, scored
from benchmarks.experiments.paper.entries import ModelEntry, PaperExperiment
from benchmarks.experiments.paper.notebook_adamw import Parameters, descend, stack
from benchmarks.experiments.paper.notebook_tasks import FIT_SEED, TEST_SEED, TEST_TASKS, fresh_tasks, rotation, tasks
from memformer.core.problem import Problem
from memformer.model.config import MemformerConfig
from memformer.model.forward import forward
from memformer.training.objective import Batch


def replicate(experiment: PaperExperiment, depth: int) -> Iterator[Point]:
    """Train all models of one depth, and score them as published and on fresh tasks."""
    pretrained: dict[Any, Parameters] = {}
    for entry in experiment.models:
        yield from _curve(experiment, entry, depth, pretrained)


def _curve(
    experiment: PaperExperiment, entry: ModelEntry, depth: int, pretrained: dict[Any, Parameters]
) -> Iterator[Point]:
    turns = [rotation(seed, len(experiment.scales)) for seed in range(experiment.seeds)]
    fitted = [tasks(FIT_SEED, entry.batch, experiment.N, experiment.scales, U) for U in turns]
    parts = [part for problem in fitted for part in _split(problem, entry.split)]
    config = _config(experiment, entry, depth)
    parameters = start(config, experiment.seeds, entry.split, entry.deviation, entry.start)
    if entry.scalar_q == "start":
        _to_scalar(parameters)
    if entry.pretraining:
        plain = MemformerConfig(d=config.d, depth=depth, heads=config.heads, covariate_update=config.covariate_update)
        key = (plain, entry.model_dump_json(include=_BEFORE))  # curves may share this stage
        if key not in pretrained:
            pretrained[key] = _pretrain(experiment, entry, plain, parameters, turns)
        parameters |= pretrained[key]
    batch = stack(config, parts)
    parameters = descend(config, parameters, entry.tuning, lambda _: batch, project=_projection(entry))
    for seed, U in enumerate(turns):
        own = slice(seed * entry.split, (seed + 1) * entry.split)
        models = {name: tensor[own] for name, tensor in parameters.items()}
        if entry.scored == "fit":
            shown = torch.cat([errors(config, models, s, part) for s, part in enumerate(parts[own])])
        else:
            test = tasks(TEST_SEED, TEST_TASKS, experiment.N, experiment.scales, U)
            shown = errors(config, models, 0, test)
        fresh = _split(fresh_tasks(experiment, seed, U), entry.split)
        unseen = torch.cat([errors(config, models, s, part) for s, part in enumerate(fresh)])
        yield from scored(experiment.id, entry.curve, depth, seed, shown, unseen)


_BEFORE = {"pretraining", "deviation", "start", "scalar_q", "batch", "split"}
"""What of an entry decides its models before they are tuned."""


def _config(experiment: PaperExperiment, entry: ModelEntry, depth: int) -> MemformerConfig:
    token = {"num_tokens": experiment.N} if entry.parts.get("gamma") == "token" else {}
    return MemformerConfig(**{"d": len(experiment.scales), "depth": depth, **entry.parts, **token})


def _split(problem: Problem, parts: int) -> list[Problem]:
    size = problem.B // parts
    return [problem.select(slice(i * size, (i + 1) * size)) for i in range(parts)]


def start(
    config: MemformerConfig, seeds: int, per_seed: int, deviation: float, constants: dict[str, float]
) -> Parameters:
    """Q and P small and random, a seed for each training seed; memory weights and gates constant, 0 if not told."""
    parameters = {}
    for name, shape in config.shapes().items():
        if name in ("Q", "P") and name not in constants:
            generators = [torch.Generator().manual_seed(seed) for seed in range(seeds)]
            parameters[name] = torch.cat([deviation * torch.randn(per_seed, *shape, generator=g) for g in generators])
        else:
            parameters[name] = torch.full((seeds * per_seed, *shape), constants.get(name, 0.0))
    return parameters


def _pretrain(
    experiment: PaperExperiment, entry: ModelEntry, plain: MemformerConfig, parameters: Parameters, turns: list[Tensor]
) -> Parameters:
    """Their first stage: no memory, a new batch again and again."""
    assert entry.pretraining is not None

    def batch(step: int) -> Batch:
        drawn = [
            tasks(1_000_003 * (seed + 1) + step, entry.batch, experiment.N, experiment.scales, U)
            for seed, U in enumerate(turns)
        ]
        return stack(plain, [part for problem in drawn for part in _split(problem, entry.split)])

    own = {name: parameters[name] for name in ("Q", "P") if name in parameters}
    return descend(plain, own, entry.pretraining, batch, project=_projection(entry))


def _projection(entry: ModelEntry) -> Any:
    return _to_scalar if entry.scalar_q == "always" else lambda _: None


def _to_scalar(parameters: Parameters) -> None:
    """Q becomes its mean diagonal times the identity, in place."""
    Q = parameters["Q"]
    mean = Q.diagonal(dim1=-2, dim2=-1).mean(-1)[..., None, None]
    Q.copy_(mean * torch.eye(Q.shape[-1]))


def errors(config: MemformerConfig, parameters: Parameters, model: int, problem: Problem) -> Tensor:
    """Squared errors of one model, `(B,)` float64."""
    own = {name: tensor[model : model + 1].double() for name, tensor in parameters.items()}
    double = problem.to(torch.float64)
    assert double.y_query is not None
    return (forward(config, own, double).predictions[-1, 0] - double.y_query).square().flatten()
