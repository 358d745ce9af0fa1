"""Mixtures of experts as published: experts of one component each, gates fitted to the very batch that is scored."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from benchmarks.experiments.paper.curves import Point, scored
from benchmarks.experiments.paper.entries import Component, MixtureEntry, PaperExperiment
from benchmarks.experiments.paper.notebook_adamw import Parameters, descend, stack
from benchmarks.experiments.paper.notebook_tasks import TEST_SEED, TEST_TASKS, fresh_tasks, rotation, tasks
from benchmarks.experiments.paper.replicate import errors, start
from memformer.model.config import MemformerConfig
from memformer.solvers.experts import assemble


def mix(experiment: PaperExperiment, depth: int) -> Iterator[Point]:
    """Train the experts of all curves at one depth, join them, fit what is free, and score."""
    d, seeds = len(experiment.scales), range(experiment.seeds)
    weights: dict[str, Any] = {"gamma": "token", "gamma_sharing": "past", "num_tokens": experiment.N}
    config = MemformerConfig(d=d, depth=depth, memory="first_order", covariate_update=True, **weights)
    trained: dict[str, tuple[Parameters, list[Tensor | None]]] = {}
    for entry in experiment.mixtures:
        # The experts' rotations differ; the mixture is tested under that of the last one.
        key = entry.model_dump_json(include={"training", "deviation"})
        experts = []
        for component in entry.experts:
            name = key + component.model_dump_json(exclude={"share"})
            if name not in trained:
                trained[name] = _expert(experiment, config, entry, component, len(trained))
            experts.append(trained[name])
        turns = experts[-1][1]
        joined = [
            assemble(config, {name: torch.stack([own[name][seed] for own, _ in experts]) for name in experts[0][0]})
            for seed in seeds
        ]
        whole, names = joined[0].config, joined[0].parameters
        parameters = {name: torch.cat([one.parameters[name] for one in joined]) for name in names}
        parameters["gates"] = torch.zeros_like(parameters["gates"])
        # The published batch is one draw; here each seed has its own, so that seeds tell how much hangs on it.
        N, scales = experiment.N, experiment.scales
        tested = [tasks(TEST_SEED + 1000 * s, TEST_TASKS, N, scales, turns[s], entry.tested) for s in seeds]
        batch = stack(whole, tested)
        parameters = descend(whole, parameters, entry.tuning, lambda _, batch=batch: batch, entry.free)
        for seed in seeds:
            fresh = fresh_tasks(experiment, seed, turns[seed], entry.tested)
            on_both = (errors(whole, parameters, seed, one) for one in (tested[seed], fresh))
            yield from scored(experiment.id, entry.curve, depth, seed, *on_both)


def _expert(
    experiment: PaperExperiment, config: MemformerConfig, entry: MixtureEntry, component: Component, number: int
) -> tuple[Parameters, list[Tensor | None]]:
    """One expert for each training seed, and their rotations."""
    turns = [rotation(100 * number + s, config.d) if experiment.rotated else None for s in range(experiment.seeds)]
    seeds = range(10_000 + 100 * number, 10_000 + 100 * number + len(turns))
    drawn = [
        tasks(seed, TEST_TASKS, experiment.N, experiment.scales, U, [component])
        for seed, U in zip(seeds, turns, strict=True)
    ]
    batch = stack(config, drawn)
    begin = start(config, len(turns), 1, entry.deviation, {"gamma": 1.0})
    return descend(config, begin, entry.training, lambda _: batch), turns
