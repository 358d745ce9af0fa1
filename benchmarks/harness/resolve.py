"""From the words of a suite to the objects they name, every mistake a sentence."""

from __future__ import annotations

import dataclasses
import importlib
import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path

import cloudpickle
import torch

from benchmarks.catalogue.registry import LAWS, METRICS, SOLVERS
from benchmarks.errors import MissingPackage, UserError, one_line
from benchmarks.harness.cell import Cell
from benchmarks.harness.devices import build_device, require_dtype
from benchmarks.harness.guard import guarded
from benchmarks.harness.held_back import require_apart, require_parts
from benchmarks.runs.source import TOLD, plugin_source
from benchmarks.suites.entries import SolverEntry, TaskEntry
from benchmarks.suites.suite import Suite
from benchmarks.tasks.law import Law
from memformer.core.solver import Fitting, Needs, Reach, Solver


def build_law(entry: TaskEntry) -> Law:
    """The law that an entry of a suite names.

    Raises:
        UserError: if the law or a parameter is unknown, or a value is out of its range.
    """
    parameters = {"d": entry.d, "N": entry.N, "noise_std": entry.noise_std, **entry.params}
    with guarded():
        law = LAWS.build(Law, entry.law, parameters)
        _require_moment(entry.law, law)
    return law


def _require_moment(name: str, law: Law) -> None:
    """Raise UserError unless the second moment of a law, if it has one, is what a second moment must be."""
    if not law.synthetic:
        return
    try:
        moment = law.second_moment
    except Exception as error:
        raise UserError(f"no task can be drawn from the law {name!r}: {one_line(error)}") from None
    wanted = f"the law {name!r} must have a second_moment that is a {law.d} x {law.d} tensor of float64"
    if not isinstance(moment, torch.Tensor):
        raise UserError(f"{wanted}; it is a {type(moment).__name__}")
    if moment.dtype != torch.float64 or tuple(moment.shape) != (law.d, law.d):
        raise UserError(f"{wanted}; it is of {str(moment.dtype).removeprefix('torch.')}, shape {tuple(moment.shape)}")
    if not moment.isfinite().all() or not torch.allclose(moment, moment.mT):
        raise UserError(f"{wanted}, finite and symmetric")
    least = float(torch.linalg.eigvalsh(moment)[0])
    if least <= 0:
        raise UserError(f"{wanted}, positive definite; its least eigenvalue is {least:.3g}")


def build_solver(entry: SolverEntry) -> Solver:
    """The solver that an entry of a suite names.

    Raises:
        UserError: if the solver or a parameter is unknown, or a value is out of its range.
    """
    with guarded():
        solver: Solver = SOLVERS.build(Solver, entry.name, entry.params)
    if not isinstance(solver.fitting, Fitting) or hasattr(solver, "trains"):
        raise UserError(
            f"the solver {entry.name!r} must declare how it is fitted: fitting = Fitting.NONE, Fitting.CLOSED_FORM or "
            "Fitting.RANDOM; 'trains' is no longer read"
        )
    if not dataclasses.is_dataclass(solver):
        raise UserError(f"the solver {entry.name!r} must be a dataclass; put @dataclass(frozen=True) before its class")
    for trait, kind in _TRAITS.items():
        found = getattr(solver, trait, None)
        if not isinstance(found, kind):
            raise UserError(f"the solver {entry.name!r} must declare {trait}, of type {kind.__name__}; it is {found!r}")
    return solver


_TRAITS = {"needs": Needs, "reach": Reach, "version": int}
_TRAITS |= dict.fromkeys(("learned", "batched", "anytime", "countable"), bool)


def build_cells(suite: Suite) -> list[Cell]:
    """Every cell of a suite, all of its words checked.

    Raises:
        UserError: naming the first thing that is wrong.
    """
    require_dtype(build_device(suite.device), getattr(torch, suite.dtype))
    tasks = [(entry, build_law(entry)) for entry in suite.tasks]
    methods = [(entry, build_solver(entry)) for entry in suite.solvers]
    for entry, solver in methods:
        if entry.trained_on is not None and (not solver.fitting.required or entry.protocol == "transductive"):
            why = "is fitted on the scored tasks" if solver.fitting.required else "learns nothing"
            raise UserError(f"the solver {entry.name!r} {why}; 'trained_on' has no meaning there")
    for task, law in tasks:
        require_parts(law, suite.seeds)
        if task.draw == "importance":
            _require_importance(task, law, [entry for entry, _ in methods if entry.only.holds(task)])
    return [
        _cell(suite, task, law, entry, solver)
        for task, law in tasks
        for entry, solver in methods
        if entry.only.holds(task)
    ]


def available(suite: Suite) -> tuple[Suite, list[str]]:
    """The suite without the optional tasks that need a package which is not installed; and a sentence for each.

    Raises:
        UserError: as `build_law`; or if nothing would be left.
    """
    tasks, left_out = [], []
    for entry in suite.tasks:
        try:
            build_law(entry)
        except MissingPackage as error:
            if not entry.optional:
                raise
            left_out.append(f"{entry.law}: {error}")
            continue
        tasks.append(entry)
    if not tasks:
        raise UserError(f"no task of the suite {suite.name} can be had here: {left_out[0]}")
    solvers = [entry for entry in suite.solvers if any(entry.only.holds(task) for task in tasks)]
    return suite.model_copy(update={"tasks": tasks, "solvers": solvers}) if left_out else suite, left_out


def _cell(suite: Suite, task: TaskEntry, law: Law, entry: SolverEntry, solver: Solver) -> Cell:
    """One solver on one law; what has to be fitted is fitted on the law that its entry names, or else the task's."""
    shifted = solver.fitting.required and entry.protocol != "transductive"
    trained_on = entry.trained_on or (task.trained_on if shifted else None)
    training_law = trained_on and build_law(trained_on.at(task))
    if training_law is not None:
        require_apart(law, training_law)
    return Cell(
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
        device=build_device(suite.device),
        time_limit=suite.scores.time_limit,
        draw=task.draw,
        protocol=entry.protocol,
        memory_limit=suite.scores.memory_limit,
        training_law=training_law,
        trained_on="" if trained_on is None else trained_on.label,
        fit_steps=tuple(sorted(trained_on.steps or ())) if trained_on is not None else (),
    )


def _require_importance(task: TaskEntry, law: Law, solvers: Sequence[SolverEntry]) -> None:
    """Raise UserError unless a task can be drawn by importance sampling for these solvers."""
    if not law.gaussian_covariates:
        raise UserError(
            f"the law {task.law!r} cannot be drawn by importance sampling, which needs linear labels of Gaussian "
            'covariates; leave out draw = "importance" there'
        )
    if law.longest is not None:
        raise UserError(
            f"the law {task.law!r} with longest cannot be drawn by importance sampling, which would stretch what is "
            'drawn and not what is shown; leave out longest, or draw = "importance"'
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
        UserError: if it cannot be found or imported, registers nothing, changes what others share, or is a file that
            has the name of a module that is there, which it would replace.
    """
    path = Path(name)
    module = path.stem if path.suffix == ".py" else name
    new, known = module not in sys.modules, _registered()
    if path.suffix == ".py":
        _refuse_taken(path)
    try:
        if path.suffix == ".py":
            _load_file(path)
        else:
            with guarded():
                importlib.import_module(name)
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"the plug-in {name!r} cannot be imported: {one_line(error)}") from None
    if new and _registered() == known:
        raise UserError(
            f"the plug-in {name!r} adds nothing; it must register a law, a solver or a metric, with "
            "@SOLVERS.register(NAME) before a class for example"
        )
    source = plugin_source(module)
    if source is not None:
        TOLD[module] = source  # of what was loaded, whatever becomes of the file


def _registered() -> int:
    """How many laws, solvers and metrics there are."""
    return sum(len(list(registry)) for registry in (LAWS, SOLVERS, METRICS))


def _refuse_taken(path: Path) -> None:
    """Raise UserError unless a plug-in file is there and replaces no module."""
    if not path.is_file():
        raise UserError(f"no plug-in file {str(path)!r}")
    specs = (finder.find_spec(path.stem, None) for finder in sys.meta_path)
    origins = [getattr(sys.modules.get(path.stem), "__file__", None), *(spec.origin for spec in specs if spec)]
    taken = next((origin for origin in origins if origin), None)
    if taken is not None and Path(taken).resolve() != path.resolve():
        raise UserError(
            f"the plug-in {str(path)!r} would replace the module {path.stem} ({taken}); give it another name"
        )


def _load_file(path: Path) -> None:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise UserError(f"the plug-in {str(path)!r} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    before = sys.modules.get(path.stem)
    sys.modules[path.stem] = module
    try:
        with guarded():
            spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[path.stem]
        if before is not None:
            sys.modules[path.stem] = before
        raise
    cloudpickle.register_pickle_by_value(module)  # worker processes cannot import it by name
