"""Training modules of any architecture: several starts on the same fresh tasks, the best by validation is the model."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor, nn

from memformer.core.modes import learns
from memformer.core.problem import Problem, TaskSource, matvec
from memformer.training.budget import Budget
from memformer.training.recipe import Progress, ProgressCallback, TrainingError
from memformer.training.search import SearchRecord
from memformer.training.start import Losses, Start
from memformer.training.unfinished import Point, Unfinished

FEW_STEPS = 100
"""A budget of fewer steps is a try, whose loss need not fall."""

_DRAWN_AT_ONCE = 8192
_TOLERANCE = 1e-3


class TrainedModule(NamedTuple):
    """What training found.

    Attributes:
        state: of the best start's module, on the CPU, by name.
        record: what all starts found.
        flops: floating-point operations of all starts, in products of matrices.
    """

    state: dict[str, Tensor]
    record: SearchRecord
    flops: float


@learns
def train_module(
    build: Callable[[], nn.Module],
    losses: Losses,
    tasks: TaskSource,
    budget: Budget,
    seeds: list[int],
    dtype: torch.dtype = torch.float32,
    progress: ProgressCallback | None = None,
    unfinished: Unfinished | None = None,
) -> TrainedModule:
    """Train a module from several starts; the same arguments give the same bits.

    Random numbers of a start, from its initialisation to its dropout, hang on its seed alone. torch's own generators
    are left as they were.

    Args:
        build: makes a module, with parameters drawn from torch's default generators.
        losses: mean losses of a module on tasks; training minimises the mean of their logarithms.
        tasks: whose stream is trained on, and whose validation tasks judge.
        budget: how long, and how.
        seeds: one a start.
        dtype: of parameters and tasks in training.
        progress: called after every validation.
        unfinished: where the state of training is kept now and then, and taken up again; it gives the same bits as if
            nothing had happened.

    Raises:
        TrainingError: if no start has a finite loss, or the loss of none ever falls.
        ValueError: if the losses do not depend on the parameters.
    """
    tasks = tasks.spread(budget.spread) if budget.spread > 1 else tasks
    judges = min(budget.validation, budget.batch * budget.iterations)
    validation = list(_batches(tasks.validation(), judges, min(judges, 1024), budget.queries, dtype))
    device = validation[0].device
    with _own_random_numbers(device):
        starts = [Start(build, losses, budget, seed, dtype, device) for seed in seeds]
        first = [start.validate(0, validation) for start in starts]
        if not any(map(math.isfinite, first)):
            raise TrainingError(f"no start of {_name(starts)} has a finite loss before training")
        point = (unfinished and unfinished.take_up(starts)) or Point(running=tuple(range(len(starts))))
        stream = _batches(tasks, budget.batch * budget.iterations, budget.batch, budget.queries, dtype, point.step)
        for problem in () if point.ended else stream:
            point = _stepped(point, problem, starts, validation, progress)
            if unfinished is not None and (point.ended or starts[0].budget.validates(point.step)):
                unfinished.keep(point, starts)
            if point.ended:
                break
    chosen = min(starts, key=lambda start: start.best)
    if chosen.best_step == 0 and budget.iterations >= FEW_STEPS:
        raise TrainingError(
            f"the loss of {_name(starts)} never fell in {chosen.taken} steps from {min(first):.3g}, where it started; "
            "another learning_rate may help"
        )
    record = SearchRecord(tuple(start.best for start in starts), tuple(start.taken for start in starts))
    state = {name: tensor.cpu() for name, tensor in chosen.state.items()}
    return TrainedModule(state, record, float(starts[0].flops * sum(start.taken for start in starts)))


def _stepped(
    point: Point,
    problem: Problem,
    starts: Sequence[Start],
    validation: Sequence[Problem],
    progress: ProgressCallback | None,
) -> Point:
    """Where training is after one more step of all starts that run."""
    budget, step, idle = starts[0].budget, point.step + 1, point.idle
    running = [place for place in point.running if starts[place].step(step, problem, place == 0)]
    if running and (budget.validates(step) or _dropped(budget, step)):
        before = min(start.best for start in starts)
        for place in running:
            starts[place].validate(step, validation)
        best = min(start.best for start in starts)
        idle = 0 if best < before * math.exp(-_TOLERANCE) else idle + 1
        if progress is not None:
            progress(Progress(step, budget.iterations, best))
        kept = budget.search.kept(step / budget.iterations) if step < budget.iterations else len(starts)
        running = sorted(running, key=lambda place: starts[place].best)[:kept]
    return Point(step, idle, tuple(running), not running or idle >= budget.patience or step == budget.iterations)


def _dropped(budget: Budget, step: int) -> bool:
    """Whether starts are dropped after step `step`."""
    now, before = (budget.search.kept(at / budget.iterations) for at in (step, step - 1))
    return now < before


def _batches(
    tasks: TaskSource, count: int, size: int, queries: int, dtype: torch.dtype, passed: int = 0
) -> Iterator[Problem]:
    """The next tasks, `size` at a time and at least `count`, drawn ahead in blocks; the first `passed` are left out."""
    ahead = max(1, _DRAWN_AT_ONCE // size)
    for first in range(0, number := math.ceil(count / size), ahead):
        block = tasks.sample(size * min(ahead, number - first)).to(dtype=dtype)
        for place in range(max(0, passed - first), block.B // size):
            yield _asked(block.select(slice(place * size, (place + 1) * size)), queries)


def _asked(problem: Problem, queries: int) -> Problem:
    """The tasks, each asked at points of others too, with labels that have no noise."""
    moment, w_star = problem.second_moment, problem.w_star
    if queries == 1 or w_star is None or moment is None or moment.ndim == 3:
        return problem
    x_query = torch.cat([problem.x_query.roll(other, 0) for other in range(queries)], 1)
    y_query = problem.objective.mean(matvec(x_query, w_star))
    return replace(problem, x_query=x_query, y_query=y_query)


def _name(starts: Sequence[Start]) -> str:
    return type(starts[0].module).__name__


@contextmanager
def _own_random_numbers(device: torch.device) -> Iterator[None]:
    """Within this block torch's default generators are ours; afterwards they are as they were."""
    with torch.random.fork_rng([device] if device.type == "cuda" else []), float32_by_default():
        yield


@contextmanager
def float32_by_default() -> Iterator[None]:
    """Within this block modules are made in float32, whatever their maker's caller prefers."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    try:
        yield
    finally:
        torch.set_default_dtype(before)
