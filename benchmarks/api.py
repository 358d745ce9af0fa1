"""The stable door to the benchmark: what other programs may import of it, whatever becomes of the rooms behind it.

The gate's side processes, asv's benchmarks and README's example use nothing else of `benchmarks`, so that they run on
other commits than their own. `API` goes up when something here goes away or means something else, not when something
is added. Laws and solvers are those of `benchmarks.tasks.law.Law` and `memformer.core.solver.Solver`.

`LAWS`, `SOLVERS` and `METRICS` are the registries, where plug-ins add theirs; a law is made of `Law`, `Draw`,
`Metadata` and, where its weights are Gaussian, `gaussian_prior`.

Every mistake is a `benchmarks.errors.UserError` whose message is one sentence. What needs the harness imports it: asv
measures the memory of processes that do not.

Example:
    >>> white = law("isotropic", d=5, N=20)
    >>> losses(solver("cg"), white, seed=0, tasks=1000, steps=[1, 5]).mean(axis=1).round(3).tolist()
    [0.922, 0.0]
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.catalogue.registry import LAWS, METRICS, SOLVERS, RegistryError
from benchmarks.errors import UserError
from benchmarks.tasks.gaussian import gaussian_prior as gaussian_prior
from benchmarks.tasks.law import Draw as Draw
from benchmarks.tasks.law import Law, Purpose
from benchmarks.tasks.law import Metadata as Metadata
from benchmarks.tasks.stream import TaskStream
from memformer.core.problem import Problem
from memformer.core.solver import Fitting, Solver
from memformer.model.config import MemformerConfig
from memformer.training.recipe import Recipe, TrainingError
from memformer.training.step import TrainingStep
from memformer.training.train import train

API = 1
"""Number of this interface."""

Losses = NDArray[np.float64]
Made = TypeVar("Made")
Kind = Literal["law", "solver", "metric"]

_CPU = torch.device("cpu")
_REGISTRIES = {"law": LAWS, "solver": SOLVERS, "metric": METRICS}


def names(kind: Kind) -> list[str]:
    """Ids of all registered laws, solvers or metrics; none of them is imported.

    Example:
        >>> "cg" in names("solver"), "isotropic" in names("law")
        (True, True)
    """
    if kind not in _REGISTRIES:
        raise UserError(f"unknown kind {kind!r}; it must be law, solver or metric")
    return list(_REGISTRIES[kind])


def law(name: str, **params: Any) -> Law:
    """A registered task law.

    Args:
        name: its id.
        **params: `d`, `N`, `noise_std`, `num_queries`, `law_seed`, and what the law has of its own.

    Raises:
        UserError: if the law or a parameter is unknown, or a value is out of its range.

    Example:
        >>> law("isotropic", d=3, M=7)  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        benchmarks.catalogue.registry.RegistryError: unknown parameter 'M' of the law 'isotropic'; it has d, ...
    """
    return LAWS.build(Law, name, params)


def solver(name: str, **params: Any) -> Solver:
    """A registered solver, not fitted.

    Args:
        name: its id.
        **params: hyper-parameters.

    Raises:
        UserError: as `law`.

    Example:
        >>> solver("gradient_descent", eta=0.1).eta
        0.1
    """
    return SOLVERS.build(Solver, name, params)


def stream(law: Law, seed: int, purpose: str, dtype: str = "float64", device: str = "cpu") -> TaskStream:
    """Tasks of a law, drawn by `.sample(number)`.

    Args:
        law: see `law`.
        seed: at least 0.
        purpose: `train`, `validation`, `score`, `timing` or `truth`; streams of different purposes share nothing.
        dtype: `float32` or `float64`.
        device: `cpu`, `cuda`, ...

    Raises:
        UserError: for an unknown purpose or dtype, or a device that this machine lacks.

    Example:
        >>> tuple(stream(law("isotropic", d=3, N=7), 0, "score").sample(10).X.shape)
        (10, 7, 3)
    """
    known = [one.name.lower() for one in Purpose]
    if purpose not in known:
        raise UserError(f"unknown purpose {purpose!r}; it must be one of {', '.join(known)}")
    if dtype not in ("float32", "float64"):
        raise UserError(f"unknown dtype {dtype!r}; it must be float32 or float64")
    place = _CPU
    if device != "cpu":
        from benchmarks.harness.devices import build_device, require_dtype

        place = build_device(device)
        require_dtype(place, getattr(torch, dtype))
    return law.stream(seed, Purpose[purpose.upper()], getattr(torch, dtype), place)


def problem(X: Tensor, y: Tensor, x_query: Tensor, y_query: Tensor | None = None) -> Problem:
    """Tasks of one's own, for `solver.solve`.

    Args:
        X: `(B, N, d)` context covariates.
        y: `(B, N)` context labels.
        x_query: `(B, q, d)` covariates of the held-back points.
        y_query: `(B, q)` their labels, where they are known.

    Example:
        >>> one = problem(torch.eye(2)[None], torch.ones(1, 2), torch.ones(1, 1, 2))
        >>> solver("ols").solve(one, 1).weights[-1].tolist()
        [[1.0, 1.0]]
    """
    try:
        return Problem(X, y, x_query, y_query)
    except ValueError as error:
        raise UserError(str(error)) from error


def fitted(solver: Solver, law: Law, steps: Sequence[int], seed: int = 0) -> Solver:
    """The solver fitted to training tasks of a law; itself, if it has nothing to fit.

    Args:
        solver: see `solver`.
        law: see `law`.
        steps: the numbers of steps that will be asked of it.
        seed: of the training tasks and of everything random in the fit.

    Raises:
        UserError: if the law does not tell what the solver needs, or training fails.

    Example:
        >>> fitted(solver("ridge"), law("isotropic", d=2, N=8, noise_std=0.5), steps=[1]).parameters["penalty"].item()
        0.25
    """
    try:
        return solver.fit(stream(law, seed, "train"), steps, seed=seed)
    except (ValueError, TrainingError) as error:
        raise UserError(f"{type(solver).__name__} cannot be fitted: {error}") from error


def random_fit(solver: Solver) -> bool:
    """Whether another seed gives another fitted solver, so that a mean loss varies over seeds as well as over tasks.

    Example:
        >>> random_fit(solver("cg")), random_fit(solver("memformer_conjugate"))
        (False, True)
    """
    return solver.fitting is Fitting.RANDOM


def losses(solver: Solver, law: Law, seed: int, tasks: int, steps: Sequence[int], metric: str | None = None) -> Losses:
    """Loss of each scored task: those tasks of the law that every run with this seed scores on.

    Args:
        solver: fitted, if it has to be.
        law: see `law`.
        seed: of the tasks.
        tasks: how many.
        steps: after how many steps.
        metric: id of a metric; by default `expected_test_loss`, and `test_loss` on real data, whose true weights nobody
            knows, and of a solver that tells predictions alone.

    Returns:
        `(len(steps), tasks)` float64, in units of y squared.

    Raises:
        UserError: if the solver is not fitted, or the metric does not apply.
    """
    from benchmarks.harness.scores.measure import measure
    from benchmarks.harness.scores.protocol import in_blocks

    if metric is not None and metric not in METRICS:
        raise UserError(f"unknown metric {metric!r}; it must be one of {', '.join(METRICS)}")
    try:
        measured = [measure(solver, block, steps) for block in in_blocks(law, seed, tasks, torch.float64, _CPU)]
    except ValueError as error:
        raise UserError(f"{type(solver).__name__} cannot solve: {error}") from error
    if metric is None:
        metric = "expected_test_loss" if "expected_test_loss" in measured[0].losses else "test_loss"
    if any(metric not in part.losses for part in measured):
        raise UserError(f"the metric {metric!r} does not apply to {type(solver).__name__} on {law.metadata.name}")
    return np.concatenate([part.losses[metric] for part in measured], axis=1)


def floor(
    solver: Solver, law: Law, seed: int, tasks: int, steps: Sequence[int], metric: str = "expected_test_loss"
) -> Losses | None:
    """Loss, on the same tasks, of the best method of the solver's class (see `memformer.core.solver.Reach`).

    Returns:
        `(len(steps), tasks)` float64; None where no floor of that class, law and metric is known.

    Example:
        >>> cg, white = solver("cg"), law("isotropic", d=5, N=20)
        >>> bool((losses(cg, white, 0, 100, [2]) >= floor(cg, white, 0, 100, [2])).all())
        True
    """
    from benchmarks.harness.scores.floors import FloorKey, floor_losses

    found = floor_losses(FloorKey(law, seed, tasks, max(steps), torch.float64, _CPU), solver.reach, metric)
    return None if found is None else found[list(steps)]


def harness_cell(solver: Solver, law: Law, steps: Sequence[int], seeds: Sequence[int], tasks: int) -> Callable[[], str]:
    """A call that takes the harness through one cell: tasks, fit, solves, metrics; it returns the cell's status.

    Example:
        >>> harness_cell(solver("cg"), law("isotropic"), [1, 2], [0], 10)()
        'ok'
    """
    from benchmarks.harness.cell import Cell
    from benchmarks.harness.scores.fitting import ParameterStore
    from benchmarks.harness.scores.measure import run_cell

    place: dict[str, Any] = {"dtype": torch.float64, "device": _CPU, "time_limit": 60.0, "solver_params": {}}
    named: dict[str, Any] = {"law_name": law.metadata.name, "solver_name": type(solver).__name__}
    cell = Cell(law=law, solver=solver, steps=tuple(steps), seeds=tuple(seeds), tasks=tasks, **named, **place)
    return lambda: run_cell(cell, ParameterStore(None)).status


def training_step(problem: Problem, depth: int, **config: Any) -> TrainingStep:
    """A Memformer near gradient descent and a batch, for measuring what a training step is made of.

    Args:
        problem: the batch.
        depth: number of layers.
        **config: other fields of `MemformerConfig`.

    Example:
        >>> training_step(stream(law("isotropic"), 0, "train").sample(50), depth=2, memory="conjugate").gradient().shape
        torch.Size([1, 54])
    """
    return TrainingStep(_named(MemformerConfig, d=problem.d, depth=depth, **config), problem)


def training_history(law: Law, depth: int, seed: int, recipe: dict[str, Any], **config: Any) -> list[tuple[int, float]]:
    """Steps and validation losses of a Memformer that trains on a law.

    Args:
        law: see `law`.
        depth: number of layers.
        seed: of tasks and start.
        recipe: fields of `memformer.training.recipe.Recipe`.
        **config: other fields of `MemformerConfig`.

    Returns:
        At each validation, how many steps were taken and the mean loss, in units of y squared.

    Example:
        >>> budget = {"steps": 4, "interval": 2, "tasks": 100, "batch": 50, "validation": 50, "patience": 0}
        >>> [step for step, _ in training_history(law("isotropic"), 2, 0, budget, memory="conjugate")]
        [0, 2, 4]
    """
    model, budget = _named(MemformerConfig, d=law.d, depth=depth, **config), _named(Recipe, **recipe)
    records = train(model, [stream(law, seed, "train")], [depth], [seed], budget).history.records
    return [(record.step, record.validation[0]) for record in records]


def _named(kind: type[Made], **fields: Any) -> Made:
    try:
        return kind(**fields)
    except TypeError as error:
        raise RegistryError(f"{kind.__name__}: {error}") from error
    except ValueError as error:
        raise UserError(f"{kind.__name__}: {error}") from error
