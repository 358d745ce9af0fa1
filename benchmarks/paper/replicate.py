"""The published protocol, redone: their draws, their start, their optimiser, all seeds of a curve as one batch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from benchmarks.paper.draws import FIT_SEED, TEST_SEED, rotation, tasks
from benchmarks.paper.entries import Experiment, ModelEntry
from benchmarks.paper.points import Point
from memformer.config import MemformerConfig
from memformer.model import forward
from memformer.objective import Batch, losses, read
from memformer.problem import Problem

SEEDS = (0, 1, 2, 3, 4)
LAYERS = (1, 2, 3, 4)
TEST_TASKS, FRESH_TASKS, FRESH_SEED = 1000, 20_000, 12_345
_START_STD, _RATE, _REDRAWN_EVERY, _CLIP = 1e-4, 0.01, 100, 0.01


def replicate(experiment: Experiment, entry: ModelEntry, layers: Sequence[int] = LAYERS) -> Iterator[Point]:
    """Train the depths of one curve with five seeds, and score them as published and on fresh tasks."""
    turns = [rotation(seed, len(experiment.scales)) for seed in SEEDS]
    fitted = [tasks(FIT_SEED, entry.batch, experiment.N, experiment.scales, U) for U in turns]
    parts = [part for problem in fitted for part in _split(problem, entry.split)]
    for depth in layers:
        config = _config(experiment, entry, depth)
        parameters = _start(config, entry, len(parts))
        if entry.pretraining:
            _pretrain(experiment, entry, config, parameters)
        _fine_tune(entry, config, parameters, parts)
        for seed, U in enumerate(turns):
            own = slice(seed * entry.split, (seed + 1) * entry.split)
            models = {name: tensor[own] for name, tensor in parameters.items()}
            if entry.scored == "fit":
                shown = torch.cat([_errors(config, models, s, part) for s, part in enumerate(parts[own])])
            else:
                test = tasks(TEST_SEED, TEST_TASKS, experiment.N, experiment.scales, U)
                shown = _errors(config, models, 0, test)
            fresh = tasks(FRESH_SEED + seed, FRESH_TASKS, experiment.N, experiment.scales, U)
            unseen = torch.cat([_errors(config, models, s, part) for s, part in enumerate(_split(fresh, entry.split))])
            yield Point(experiment.id, entry.curve, depth, seed, "published", _log_mean(shown))
            yield Point(experiment.id, entry.curve, depth, seed, "fresh", _log_mean(unseen))


def _config(experiment: Experiment, entry: ModelEntry, depth: int) -> MemformerConfig:
    token = {"num_tokens": experiment.N} if entry.parts.get("gamma") == "token" else {}
    return MemformerConfig(**{"d": len(experiment.scales), "depth": depth, **entry.parts, **token})


def _split(problem: Problem, parts: int) -> list[Problem]:
    size = problem.B // parts
    return [problem.select(slice(i * size, (i + 1) * size)) for i in range(parts)]


def _start(config: MemformerConfig, entry: ModelEntry, models: int) -> dict[str, Tensor]:
    """Q and P small and random, a seed for each training seed; memory weights and gates constant."""
    parameters = {}
    for name, shape in config.shapes().items():
        if name in ("Q", "P"):
            per_seed = models // len(SEEDS)
            drawn = [
                _START_STD * torch.randn(per_seed, *shape, generator=torch.Generator().manual_seed(seed))
                for seed in SEEDS
            ]
            parameters[name] = torch.cat(drawn)
        else:
            parameters[name] = torch.full((models, *shape), entry.start.get(name, 0.0))
    return parameters


def _pretrain(
    experiment: Experiment, entry: ModelEntry, config: MemformerConfig, parameters: dict[str, Tensor]
) -> None:
    """Their first stage: no memory, AdamW, each matrix's gradient clipped, a new batch every 100 steps."""
    plain = MemformerConfig(
        d=config.d, depth=config.depth, heads=config.heads, covariate_update=config.covariate_update
    )
    own = {name: parameters[name].clone().requires_grad_() for name in ("Q", "P") if name in parameters}
    optimiser = torch.optim.AdamW(own.values(), lr=_RATE, betas=(0.99, 0.9), weight_decay=0.0)
    turns = [rotation(seed, config.d) for seed in SEEDS]
    batch: Batch | None = None
    for step in range(entry.pretraining):
        if step % _REDRAWN_EVERY == 0:
            drawn = [
                tasks(1_000_003 * (seed + 1) + step, entry.batch, experiment.N, experiment.scales, U)
                for seed, U in enumerate(turns)
            ]
            batch = _stack(plain, [part for problem in drawn for part in _split(problem, entry.split)])
        assert batch is not None
        _project(entry, own)
        optimiser.zero_grad()
        losses(plain, own, batch).sum().backward()
        for tensor in own.values():
            if tensor.grad is None:  # P of a single layer: nobody reads what it does
                continue
            norm = torch.linalg.matrix_norm(tensor.grad, keepdim=True)
            tensor.grad.mul_(_CLIP / norm.clamp(min=_CLIP))
        optimiser.step()
    parameters.update({name: tensor.detach() for name, tensor in own.items()})


def _fine_tune(
    entry: ModelEntry, config: MemformerConfig, parameters: dict[str, Tensor], fitted: list[Problem]
) -> None:
    """Their second stage: Adam on one fixed batch."""
    batch = _stack(config, fitted)
    own = {name: tensor.requires_grad_(name not in entry.frozen) for name, tensor in parameters.items()}
    optimiser = torch.optim.Adam([tensor for tensor in own.values() if tensor.requires_grad], lr=_RATE)
    for _ in range(entry.steps):
        _project(entry, own)
        optimiser.zero_grad()
        losses(config, own, batch).sum().backward()
        optimiser.step()
    _project(entry, own)
    parameters.update({name: tensor.detach() for name, tensor in own.items()})


def _project(entry: ModelEntry, parameters: dict[str, Tensor]) -> None:
    if entry.scalar_q:
        with torch.no_grad():
            Q = parameters["Q"]
            mean = Q.diagonal(dim1=-2, dim2=-1).mean(-1)[..., None, None]
            Q.copy_(mean * torch.eye(Q.shape[-1]))


def _stack(config: MemformerConfig, problems: list[Problem]) -> Batch:
    """One group of tasks a model."""
    batches = [read(config, Problem(p.X, p.y, p.x_query, p.y_query), "query") for p in problems]
    stacked = {}
    for name in vars(batches[0]):
        parts = [getattr(batch, name) for batch in batches]
        stacked[name] = None if parts[0] is None else torch.stack(parts).contiguous()
    return Batch(**stacked)


def _errors(config: MemformerConfig, parameters: dict[str, Tensor], model: int, problem: Problem) -> Tensor:
    """Squared errors of one model, `(B,)` float64."""
    own = {name: tensor[model : model + 1].double() for name, tensor in parameters.items()}
    double = problem.to(torch.float64)
    assert double.y_query is not None
    return (forward(config, own, double).predictions[-1, 0] - double.y_query).square().flatten()


def _log_mean(errors: Tensor) -> float:
    return errors.mean().log().item()
