"""Which solver of a suite meets which law: every entry must meet one, and no two the same."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.catalogue.registry import LAWS, SOLVERS, Registry
from benchmarks.suites.entries import SolverEntry, TaskEntry


def refuse_idle(tasks: Sequence[TaskEntry], solvers: Sequence[SolverEntry]) -> None:
    """Refuse an entry that meets no other.

    Raises:
        ValueError: naming it.
    """
    for place, entry in enumerate(solvers):
        if not any(entry.only.holds(task) for task in tasks):
            condition = entry.only.model_dump(exclude_none=True)
            raise ValueError(f"solvers[{place}]: {entry.name} is only for {condition}, which no task of the suite is")
    for place, task in enumerate(tasks):
        if not any(entry.only.holds(task) for entry in solvers):
            raise ValueError(f"tasks[{place}]: no solver of the suite is for the law {task.law} at d = {task.d}")


def refuse_same_rows(tasks: Sequence[TaskEntry], solvers: Sequence[SolverEntry], steps: Sequence[int]) -> None:
    """Refuse entries that say the same in other words, a default spelt out say: their rows could not be told apart.

    Raises:
        ValueError: naming the second of them.
    """
    laws = [_law(task) for task in tasks]
    for place, law in enumerate(laws):
        if law in laws[:place]:
            same = f"tasks[{laws.index(law)}] and tasks[{place}]"
            raise ValueError(f"{same} are the same law, so it occurs twice; give each entry once")
    methods = [_method(entry) for entry in solvers]
    for place, (one, method) in enumerate(zip(solvers, methods, strict=True)):
        for before, other in enumerate(solvers[:place]):
            meet = any(one.only.holds(task) and other.only.holds(task) for task in tasks)
            if methods[before] == method and meet and set(one.steps or steps) & set(other.steps or steps):
                same = f"solvers[{before}] and solvers[{place}]"
                raise ValueError(
                    f"{same} are the same solver {one.name!r} on the same tasks, so it occurs twice; give each once"
                )


def _law(task: TaskEntry) -> tuple[Any, ...]:
    return task.law, task.d, task.N, task.noise_std, task.draw, settings(LAWS, task.law, task.params)


def _method(entry: SolverEntry) -> tuple[Any, ...]:
    on = entry.trained_on
    law = on and (on.law, on.noise_std, settings(LAWS, on.law, on.params))
    return entry.name, entry.protocol, law, settings(SOLVERS, entry.name, entry.params)


def settings(registry: Registry, name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Every parameter of an entry of a registry, those that are not given by their defaults.

    What is unknown here, a plug-in that is not loaded say, has only what is given.
    """
    try:
        entry = registry[name]
        known = inspect.signature(entry.load()).parameters.values()
    except Exception:  # whatever importing a plug-in can raise; whoever builds it says so
        return dict(given)
    defaults = {one.name: one.default for one in known if one.default is not inspect.Parameter.empty}
    return {**defaults, **entry.defaults, **given}
