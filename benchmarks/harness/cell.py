"""A cell: one solver on one law, all seeds and numbers of steps; and what became of it. Data alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.runs.schema import Status
from benchmarks.suites.entries import Protocol
from benchmarks.tasks.importance import Sampling
from benchmarks.tasks.law import Law
from memformer.core.solver import Solver


@dataclass(frozen=True)
class Cell:
    """What is to be computed.

    Attributes:
        law, solver: the objects; `law_name`, `solver_name`: their registry ids.
        solver_params: the hyper-parameters the suite gave.
        trained_on: label of `training_law`, empty where there is none.
        fit_steps: numbers of steps that the solver is fitted for, empty for `steps`.
        steps: numbers of steps, ascending.
        seeds: of tasks, training and initialisation.
        tasks: scored tasks for each seed.
        dtype, device: of every computation.
        time_limit: seconds for fitting and solving, all seeds.
        memory_limit: GB that a worker process may hold, None for no limit.
        draw: how the scored tasks are drawn.
        protocol: what the solver is fitted on and may adapt to.
        training_law: whose training tasks the solver is fitted on, where it is not `law`.
        batches: sizes of the batches that are timed, empty for that of the suite.
    """

    law_name: str
    law: Law
    solver_name: str
    solver: Solver
    solver_params: Mapping[str, object] = field(hash=False)
    steps: tuple[int, ...]
    seeds: tuple[int, ...]
    tasks: int
    dtype: torch.dtype
    device: torch.device
    time_limit: float
    draw: Sampling = "plain"
    protocol: Protocol = "held_out"
    memory_limit: float | None = None
    batches: tuple[int, ...] = ()
    training_law: Law | None = None
    trained_on: str = ""
    fit_steps: tuple[int, ...] = ()

    @property
    def fitted_on(self) -> Law:
        """The law whose training tasks the solver is fitted on."""
        return self.law if self.training_law is None else self.training_law

    @property
    def fitted_for(self) -> tuple[int, ...]:
        """The numbers of steps that the solver is fitted for."""
        return self.fit_steps or self.steps


@dataclass(frozen=True)
class Measured:
    """What one seed gave.

    Attributes:
        losses: for each metric `(steps, tasks)`, times the weights if there are any.
        outcomes: codes `(steps, tasks)`.
        weights: `(tasks,)`, where tasks were drawn by importance sampling.
        fresh: the same as `losses` on some tasks that nothing else uses; where a solver was learned and no floor of
            its class is known, so that nothing else would show that it knew the scored tasks.
    """

    losses: dict[str, NDArray[np.float64]]
    outcomes: NDArray[np.int8]
    weights: NDArray[np.float64] | None = None
    fresh: dict[str, NDArray[np.float64]] | None = None


@dataclass(frozen=True)
class CellResult:
    """What became of a cell.

    Attributes:
        cell: what was to be computed.
        measured: one entry for each seed; empty if the cell failed as a whole.
        fitted: the fitted solver of each seed, for the timings pass.
        train_seconds: wall-clock time of the fit, all seeds; None if nothing is fitted.
        train_reused: whether the parameters were found again.
        shipped: whether they are those that come with the project.
        status, reason: `ok`, or why the cell as a whole has no numbers.
        traceback: of the exception that was the reason, if one was.
        lost: whether its worker was lost for a reason outside of the cell, so that another attempt may succeed.
    """

    cell: Cell
    measured: list[Measured] = field(default_factory=list)
    fitted: list[Solver] = field(default_factory=list)
    train_seconds: float | None = None
    train_reused: bool = False
    shipped: bool = False
    status: Status = "ok"
    reason: str = ""
    traceback: str = ""
    lost: bool = False
