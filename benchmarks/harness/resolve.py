"""From the words of a suite to the objects they name, every mistake a sentence."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path

import cloudpickle
import torch

from benchmarks.catalogue.registry import LAWS, SOLVERS
from benchmarks.errors import UserError
from benchmarks.harness.cell import Cell
from benchmarks.suites.entries import SolverEntry, TaskEntry
from benchmarks.suites.suite import Suite
from benchmarks.tasks.law import Law
from memformer.core.solver import Fitting, Solver


def build_law(entry: TaskEntry) -> Law:
    """The law that an entry of a suite names.

    Raises:
        UserError: if the law or a parameter is unknown, or a value is out of its range.
    """
    parameters = {"d": entry.d, "N": entry.N, "noise_std": entry.noise_std, **entry.params}
    return LAWS.build(Law, entry.law, parameters)


def build_solver(entry: SolverEntry) -> Solver:
    """The solver that an entry of a suite names.

    Raises:
        UserError: if the solver or a parameter is unknown, or a value is out of its range.
    """
    solver: Solver = SOLVERS.build(Solver, entry.name, entry.params)
    if not isinstance(solver.fitting, Fitting) or hasattr(solver, "trains"):
        raise UserError(
            f"the solver {entry.name!r} must declare how it is fitted: fitting = Fitting.NONE, Fitting.CLOSED_FORM or "
            "Fitting.RANDOM; 'trains' is no longer read"
        )
    return solver


def build_device(name: str) -> torch.device:
    """The device of that name.

    Raises:
        UserError: if this machine does not have it.
    """
    kinds = {
        "cpu": lambda: 1,
        "cuda": torch.cuda.device_count,
        "mps": lambda: int(torch.backends.mps.is_available()),
    }
    kind, _, index = name.partition(":")
    if kind not in kinds or (index and not index.isdigit()):
        raise UserError(f"unknown device {name!r}; it must be cpu, cuda, cuda:<number> or mps")
    if int(index or 0) >= kinds[kind]():
        present = ", ".join(kind for kind, count in kinds.items() if count())
        raise UserError(f"this machine has no device {name!r}; it has {present}")
    return torch.device(name)


def build_cells(suite: Suite) -> list[Cell]:
    """Every cell of a suite, all of its words checked.

    Raises:
        UserError: naming the first thing that is wrong.
    """
    device = build_device(suite.device)
    tasks = [(entry, build_law(entry)) for entry in suite.tasks]
    methods = [(entry, build_solver(entry)) for entry in suite.solvers]
    for entry, solver in methods:
        if entry.trained_on is not None and (not solver.fitting.required or entry.protocol == "transductive"):
            why = "is fitted on the scored tasks" if solver.fitting.required else "learns nothing"
            raise UserError(f"the solver {entry.name!r} {why}; 'trained_on' has no meaning there")
    for task, law in tasks:
        if task.draw == "importance":
            _require_importance(task, law, [entry for entry, _ in methods if entry.only.holds(task)])
    return [
        Cell(
            law_name=task.law,
            law=law,
            solver_name=entry.name,
            solver=solver,
            solver_params=entry.params,
            steps=tuple(sorted(entry.steps or suite.steps)),
            seeds=tuple(suite.seeds),
            tasks=min(entry.tasks or suite.scores.tasks, task.tasks or suite.scores.tasks, suite.scores.tasks),
            batches=tuple(task.batch or ()),
            dtype=getattr(torch, suite.dtype),
            device=device,
            time_limit=suite.scores.time_limit,
            draw=task.draw,
            protocol=entry.protocol,
            memory_limit=suite.scores.memory_limit,
            training_law=entry.trained_on and build_law(entry.trained_on.at(task)),
            trained_on="" if entry.trained_on is None else entry.trained_on.label,
        )
        for task, law in tasks
        for entry, solver in methods
        if entry.only.holds(task)
    ]


def _require_importance(task: TaskEntry, law: Law, solvers: Sequence[SolverEntry]) -> None:
    """Raise UserError unless a task can be drawn by importance sampling for these solvers."""
    if not law.gaussian_covariates:
        raise UserError(
            f"the law {task.law!r} cannot be drawn by importance sampling, for its covariates are not Gaussian; "
            'leave out draw = "importance" there'
        )
    shown = next((entry for entry in solvers if entry.protocol != "held_out"), None)
    if shown is not None:
        raise UserError(
            f"the solver {shown.name!r} is shown the scored tasks ({shown.protocol}), which importance sampling makes "
            'those of another law; score it on tasks of their own, with only = { draw = "plain" }'
        )


def load_plugin(name: str) -> None:
    """Import a plug-in, a Python file or a module, so that it registers what it adds.

    Raises:
        UserError: if it cannot be found or imported.
    """
    path = Path(name)
    try:
        if path.suffix == ".py":
            if not path.is_file():
                raise UserError(f"no plug-in file {name!r}")
            spec = importlib.util.spec_from_file_location(path.stem, path)
            if spec is None or spec.loader is None:
                raise UserError(f"the plug-in {name!r} is not a Python file")
            module = importlib.util.module_from_spec(spec)
            sys.modules[path.stem] = module
            spec.loader.exec_module(module)
            cloudpickle.register_pickle_by_value(module)  # worker processes cannot import it by name
        else:
            importlib.import_module(name)
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"the plug-in {name!r} cannot be imported: {type(error).__name__}: {error}") from None
