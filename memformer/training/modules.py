"""Training modules of any architecture: several starts on the same fresh tasks, the best by validation is the model."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from memformer.core.checks import require_number, store_ints
from memformer.core.modes import learns
from memformer.core.problem import Problem, TaskSource, matvec
from memformer.training.recipe import Progress, ProgressCallback, TrainingError
from memformer.training.search import Search, SearchRecord

Losses = Callable[[nn.Module, Problem], Tensor]
"""From a module and some tasks to its mean loss after each readout, `(R,)`."""

FEW_STEPS = 100
"""A budget of fewer steps is a try, whose loss need not fall."""

_DRAWN_AT_ONCE = 8192
_RETRIES = 5
_TOLERANCE = 1e-3


@dataclass(frozen=True, kw_only=True)
class Budget:
    """How a module is trained: AdamW on fresh tasks, warm-up and cosine, gradients of the log loss clipped by norm.

    A budget is said in training steps and tasks, never in seconds: the same budget gives the same parameters on a slow
    machine and a fast one.

    Attributes:
        iterations: training steps of a start, at most.
        batch: fresh tasks of a step, the same for all starts.
        learning_rate: at its highest.
        warmup: share of the steps over which it rises.
        weight_decay: AdamW's.
        clip: largest norm of the gradient.
        queries: points at which a task is asked in training, where tasks share their second moment and tell `w_star`:
            its own, and those of other tasks. More of them tell more of a task for little more time.
        spread: how far tasks are spread over rare ill-conditioned ones (see `TaskSource.spread`); 1 spreads none.
            Methods with fixed coefficients want it: rare tasks carry much of their mean loss.
        validation: tasks that choose among starts, and among what each has been; no more than training draws.
        validations: how often they do.
        patience: stop once so many validations in a row gained no start more than 0.001 in log loss.
        search: how many starts, and when weak ones are dropped.

    Raises:
        ValueError: if a value is out of its range.
    """

    iterations: int = 2000
    batch: int = 256
    learning_rate: float = 3e-3
    warmup: float = 0.05
    weight_decay: float = 0.0
    clip: float = 1.0
    queries: int = 1
    spread: float = 1.0
    validation: int = 4096
    validations: int = 20
    patience: int = 10
    search: Search = field(default_factory=lambda: Search(starts=3, drops=((0.25, 0.5),)))

    def __post_init__(self) -> None:
        store_ints(self, "iterations", "batch", "queries", "validation", "validations", "patience", least=1)
        for name in ("learning_rate", "clip"):
            require_number(name, getattr(self, name), least=0.0, strictly=True)
        require_number("spread", self.spread, least=1.0)
        for name in ("warmup", "weight_decay"):
            require_number(name, getattr(self, name), least=0.0)

    def rate(self, step: int) -> float:
        """Learning rate of step `step = 1, 2, ...`."""
        rise = max(1.0, self.warmup * self.iterations)
        along = max(0.0, step - rise) / max(1.0, self.iterations - rise)
        return self.learning_rate * min(1.0, step / rise) * (1 + math.cos(math.pi * along)) / 2

    def validates(self, step: int) -> bool:
        """Whether there is a validation after step `step`."""
        return step == self.iterations or step % max(1, self.iterations // self.validations) == 0


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

    Raises:
        TrainingError: if no start has a finite loss, or the loss of none ever falls.
        ValueError: if the losses do not depend on the parameters.
    """
    tasks = tasks.spread(budget.spread) if budget.spread > 1 else tasks
    judges = min(budget.validation, budget.batch * budget.iterations)
    validation = list(_batches(tasks.validation(), judges, min(judges, 1024), budget.queries, dtype))
    stream = _batches(tasks, budget.batch * budget.iterations, budget.batch, budget.queries, dtype)
    device = validation[0].device
    with _own_random_numbers(device):
        starts = [_Start(build, losses, budget, seed, dtype, device) for seed in seeds]
        first = [start.validate(0, validation) for start in starts]
        if not any(map(math.isfinite, first)):
            raise TrainingError(f"no start of {_name(starts)} has a finite loss before training")
        running, idle = list(starts), 0
        for step in range(1, budget.iterations + 1):
            problem = next(stream)
            running = [start for start in running if start.step(step, problem, start is starts[0])]
            if not running:
                break
            if not (budget.validates(step) or _dropped(budget, step)):
                continue
            before = min(start.best for start in starts)
            for start in running:
                start.validate(step, validation)
            best = min(start.best for start in starts)
            idle = 0 if best < before * math.exp(-_TOLERANCE) else idle + 1
            if progress is not None:
                progress(Progress(step, budget.iterations, best))
            if idle >= budget.patience:
                break
            if step < budget.iterations:
                running = sorted(running, key=lambda start: start.best)[: budget.search.kept(step / budget.iterations)]
    chosen = min(starts, key=lambda start: start.best)
    if chosen.best_step == 0 and budget.iterations >= FEW_STEPS:
        raise TrainingError(
            f"the loss of {_name(starts)} never fell in {chosen.taken} steps from {min(first):.3g}, where it started; "
            "another learning_rate may help"
        )
    record = SearchRecord(tuple(start.best for start in starts), tuple(start.taken for start in starts))
    state = {name: tensor.cpu() for name, tensor in chosen.state.items()}
    return TrainedModule(state, record, float(starts[0].flops * sum(start.taken for start in starts)))


class _Start:
    """One module on its way: its optimiser, the best it has been, and how often it became nonfinite."""

    def __init__(
        self,
        build: Callable[[], nn.Module],
        losses: Losses,
        budget: Budget,
        seed: int,
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        self.seed, self.losses, self.budget = seed, losses, budget
        torch.manual_seed(seed)
        self.module = build().to(dtype=dtype, device=device).train()
        self.weights = [weight for weight in self.module.parameters() if weight.requires_grad]
        if not self.weights:
            raise ValueError(f"{type(self.module).__name__} has no parameters to train")
        self.optimizer = torch.optim.AdamW(self.weights, weight_decay=budget.weight_decay)
        self.best, self.best_step, self.taken = math.inf, 0, 0
        self.damping, self.lost, self.flops = 1.0, 0, 0
        self.state = self._copy()

    def step(self, step: int, problem: Problem, counted: bool) -> bool:
        """One step of training, whose operations may be counted if it is the first; whether the start goes on."""
        torch.manual_seed(self.seed ^ step)
        self.taken = step
        if step > 1 or not counted:
            return self._stepped(step, problem)
        with FlopCounterMode(display=False) as counter:
            goes_on = self._stepped(step, problem)
        self.flops = counter.get_total_flops()
        return goes_on

    def _stepped(self, step: int, problem: Problem) -> bool:
        loss = self.losses(self.module, problem).log().mean()
        if not loss.requires_grad:
            raise ValueError(f"what {type(self.module).__name__} answers does not depend on its parameters")
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self.weights, self.budget.clip)
        if not bool(norm.isfinite()):
            return self._back()
        for group in self.optimizer.param_groups:
            group["lr"] = self.damping * self.budget.rate(step)
        self.optimizer.step()
        return True

    def _back(self) -> bool:
        """To the best it has been, with half the learning rate and no past; False if that happens too often."""
        self.lost, self.damping = self.lost + 1, self.damping / 2
        self.module.load_state_dict(self.state)
        self.optimizer.state.clear()
        return self.lost <= _RETRIES

    @torch.no_grad()
    def validate(self, step: int, problems: list[Problem]) -> float:
        """Geometric mean over readouts of the loss on validation tasks; the state is kept if it is the best so far."""
        self.module.eval()
        each = torch.stack([problem.B * self.losses(self.module, problem) for problem in problems]).sum(0)
        self.module.train()
        loss = math.exp((each / sum(problem.B for problem in problems)).double().log().mean().item())
        if loss < self.best:
            self.best, self.best_step, self.state = loss, step, self._copy()
        return loss

    def _copy(self) -> dict[str, Tensor]:
        return {name: tensor.detach().clone() for name, tensor in self.module.state_dict().items()}


def _dropped(budget: Budget, step: int) -> bool:
    """Whether starts are dropped after step `step`."""
    now, before = (budget.search.kept(at / budget.iterations) for at in (step, step - 1))
    return now < before


def _batches(tasks: TaskSource, count: int, size: int, queries: int, dtype: torch.dtype) -> Iterator[Problem]:
    """The next tasks, `size` at a time and at least `count`, drawn ahead in blocks."""
    ahead = max(1, _DRAWN_AT_ONCE // size)
    left = math.ceil(count / size)
    while left > 0:
        block = tasks.sample(size * min(ahead, left)).to(dtype=dtype)
        for first in range(0, block.B, size):
            yield _asked(block.select(slice(first, first + size)), queries)
        left -= ahead


def _asked(problem: Problem, queries: int) -> Problem:
    """The tasks, each asked at points of others too, with labels that have no noise."""
    moment, w_star = problem.second_moment, problem.w_star
    if queries == 1 or w_star is None or moment is None or moment.ndim == 3:
        return problem
    x_query = torch.cat([problem.x_query.roll(other, 0) for other in range(queries)], 1)
    return replace(problem, x_query=x_query, y_query=matvec(x_query, w_star))


def _name(starts: list[_Start]) -> str:
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
