"""The door for commits that have none: what `benchmarks.api` offers, from the modules that such commits have.

`open_door` is what other programs call. This file is loaded by its path, beside whatever tree is first on `sys.path`,
and imports nothing of the tree that it lies in. Modules are named as they were before the layout of one room a subject
(commit 76bd9b2), and second as they were on the few commits between the move and the door. It stays as it is.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Sequence
from functools import lru_cache
from types import ModuleType
from typing import Any

API = 0


def open_door() -> ModuleType:
    """`benchmarks.api` of the tree that is first on the path; this module where that tree has none.

    Raises:
        Exception: whatever importing the tree's own door raises.
    """
    try:
        return importlib.import_module("benchmarks.api")
    except ModuleNotFoundError as error:
        if error.name != "benchmarks.api":
            raise
    for filled in ("laws", "solvers", "metrics"):
        _module(f"benchmarks.{filled}", f"benchmarks.catalogue.{filled}")
    return sys.modules[__name__]


def _module(*names: str) -> Any:
    """The first of these modules that exists."""
    for name in names[:-1]:
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError as error:
            if not f"{name}.".startswith(f"{error.name}."):
                raise
    return importlib.import_module(names[-1])


def _registry(kind: str) -> Any:
    registry = _module("benchmarks.registry", "benchmarks.catalogue.registry")
    return getattr(registry, {"law": "LAWS", "solver": "SOLVERS", "metric": "METRICS"}[kind])


def names(kind: str) -> list[str]:
    """See `benchmarks.api.names`, and so on for what follows."""
    return list(_registry(kind))


def law(name: str, **params: Any) -> Any:
    """A registered task law."""
    return _registry("law").create(name, **params)


def solver(name: str, **params: Any) -> Any:
    """A registered solver, not fitted."""
    return _registry("solver").create(name, **params)


def stream(law: Any, seed: int, purpose: str, dtype: str = "float64", device: str = "cpu") -> Any:
    """Tasks of a law."""
    torch = _module("torch")
    purposes = _module("benchmarks.tasks.law").Purpose
    return law.stream(seed, purposes[purpose.upper()], getattr(torch, dtype), torch.device(device))


def problem(X: Any, y: Any, x_query: Any, y_query: Any = None) -> Any:
    """Tasks of one's own."""
    return _module("memformer.problem", "memformer.core.problem").Problem(X, y, x_query, y_query)


def fitted(solver: Any, law: Any, steps: Sequence[int], seed: int = 0) -> Any:
    """The solver fitted to training tasks of a law."""
    return solver.fit(stream(law, seed, "train"), steps, seed=seed)


def random_fit(solver: Any) -> bool:
    """Whether another seed gives another fitted solver: such commits do not tell it from being fitted at all."""
    return solver.trains


def losses(
    solver: Any, law: Any, seed: int, tasks: int, steps: Sequence[int], metric: str = "expected_test_loss"
) -> Any:
    """Loss of each scored task, `(len(steps), tasks)`."""
    apply, problem = _registry("metric")[metric].load(), _scored(law, seed, tasks)
    if solver.anytime:
        return apply(problem, solver.solve(problem.blinded(), max(steps)))[list(steps)].numpy()
    numpy = _module("numpy")
    return numpy.stack([apply(problem, solver.solve(problem.blinded(), step))[step].numpy() for step in steps])


@lru_cache(maxsize=8)
def _scored(law: Any, seed: int, tasks: int) -> Any:
    return stream(law, seed, "score").sample(tasks)


def floor(
    solver: Any, law: Any, seed: int, tasks: int, steps: Sequence[int], metric: str = "expected_test_loss"
) -> Any:
    """Loss of the best method of the solver's class on the same tasks."""
    torch = _module("torch")
    floors = _module("benchmarks.harness.floors", "benchmarks.harness.scores.floors")
    key = floors.FloorKey(law, seed, tasks, max(steps), torch.float64, torch.device("cpu"))
    found = floors.floor_losses(key, solver.reach, metric)
    return None if found is None else found[list(steps)]


def harness_cell(solver: Any, law: Any, steps: Sequence[int], seeds: Sequence[int], tasks: int) -> Callable[[], str]:
    """A call that takes the harness through one cell."""
    torch, cells = _module("torch"), _module("benchmarks.harness.cell")
    measure = _module("benchmarks.harness.scores.measure", "benchmarks.harness.cell")
    store = _module("benchmarks.harness.fitting", "benchmarks.harness.scores.fitting").ParameterStore(None)
    named = {"law_name": law.metadata.name, "solver_name": type(solver).__name__, "solver_params": {}}
    place = {"dtype": torch.float64, "device": torch.device("cpu"), "time_limit": 60.0}
    counts = {"steps": tuple(steps), "seeds": tuple(seeds), "tasks": tasks}
    cell = cells.Cell(law=law, solver=solver, **counts, **named, **place)
    return lambda: measure.run_cell(cell, store).status


class _TrainingStep:
    """One Memformer near gradient descent and one batch."""

    def __init__(self, problem: Any, config: Any) -> None:
        torch = _module("torch")
        self._torch, self._objective = torch, _module("memformer.training.objective", "memformer.objective")
        self._config = config
        part = vars(self._objective.read(self._config, problem, "query"))
        self._batch = self._objective.Batch(**{name: None if one is None else one[None] for name, one in part.items()})
        generator, shapes = torch.Generator().manual_seed(1), self._config.shapes()
        start = {name: 0.05 * torch.randn(1, *shape, generator=generator) for name, shape in shapes.items()}
        start["Q"] -= 0.5 * (torch.eye(problem.d) if start["Q"].ndim == 5 else 1.0)
        self._coordinates = _module("memformer.training.whitening", "memformer.coordinates").Coordinates(
            self._config, None
        )
        theta = self._coordinates.theta({name: one.to(problem.X) for name, one in start.items()})
        self._adam = _module("memformer.training.adam", "memformer.adam").BatchedAdam(theta)

    def loss(self) -> float:
        """Forward pass."""
        with self._torch.no_grad():
            return self._loss(self._adam.theta).item()

    def gradient(self) -> Any:
        """Forward and backward pass."""
        theta = self._adam.theta.detach().requires_grad_()
        return self._torch.autograd.grad(self._loss(theta).sum(), theta)[0]

    def step(self) -> None:
        """Forward and backward pass and a step of Adam."""
        self._adam.step(self.gradient(), 1e-4)

    def _loss(self, theta: Any) -> Any:
        return self._objective.losses(self._config, self._coordinates.parameters(theta), self._batch)


def training_step(problem: Any, depth: int, **config: Any) -> Any:
    """A Memformer near gradient descent and a batch."""
    return _TrainingStep(problem, _config(problem.d, depth, config))


def training_history(law: Any, depth: int, seed: int, recipe: dict[str, Any], **config: Any) -> list[tuple[int, float]]:
    """Steps and validation losses of a Memformer that trains on a law."""
    made = _module("memformer.training.recipe", "memformer.recipe").Recipe(**recipe)
    train = _module("memformer.training.train", "memformer.training").train
    source = [stream(law, seed, "train")]
    records = train(_config(law.d, depth, config), source, [depth], [seed], made).history.records
    return [(record.step, record.validation[0]) for record in records]


def _config(d: int, depth: int, parts: dict[str, Any]) -> Any:
    return _module("memformer.model.config", "memformer.config").MemformerConfig(d=d, depth=depth, **parts)
