"""The address of a cell: a hash of everything that can change its numbers."""

from __future__ import annotations

import hashlib
import json
import platform
import uuid
from collections.abc import Sequence
from functools import cache
from importlib.metadata import version
from typing import Any

from benchmarks.catalogue.registry import METRICS, SOLVERS
from benchmarks.harness.cell import Cell
from benchmarks.harness.scores.fitting import NUMERICAL, modules_of, settings_of
from benchmarks.harness.scores.table import identity
from benchmarks.runs import environment
from benchmarks.runs.schema import SCHEMA_VERSION
from benchmarks.runs.source import SCORING, foreign_source, source_hash
from benchmarks.suites.entries import Timings


def cell_key(cell: Cell, threads: int) -> str:
    """40 hexadecimal digits that change with whatever can change a row of the cell.

    That is: the schema, law and solver with their versions and parameters, the fingerprints of the scored tasks and
    of the law that the solver is fitted on, steps, seeds, number of tasks and how they are drawn, protocol, dtype, kind
    of device and which accelerator, limits, threads, the versions of Python and of the numerical packages, the metrics,
    and the source of this project and of plug-ins.

    A cell whose plug-in has no source file gets `no_key`.
    """
    content = _content(cell, threads)
    return no_key() if content is None else _digest(content)


def no_key() -> str:
    """A key that is found only in this run, and only by who has it."""
    return f"{uuid.uuid4().hex}-once"


def timings_key(cells: list[str], settings: Timings, batches: Sequence[int] = ()) -> str:
    """The same for the timings of cells with these keys, which were raced together: those of another machine differ."""
    machine = {name: environment.describe()[name] for name in ("system", "cpu", "cores", "gpus", "packages")}
    return _digest({"cells": cells, "settings": settings.model_dump(), "batches": list(batches), "machine": machine})


def _content(cell: Cell, threads: int) -> dict[str, Any] | None:
    metrics = {name: METRICS[name].load() for name in METRICS}
    used = modules_of(cell.law, cell.fitted_on, cell.solver)
    foreign = foreign_source(used.union(metric.__module__ for metric in metrics.values()))
    if foreign is None:
        return None
    defaults = SOLVERS[cell.solver_name].defaults if cell.solver_name in SOLVERS else {}
    return {
        "schema": SCHEMA_VERSION,
        "identity": identity(cell, max(cell.steps)),
        "classes": [f"{kind.__module__}.{kind.__qualname__}" for kind in (type(cell.law), type(cell.solver))],
        "settings": settings_of(cell.solver),
        "defaults": dict(defaults),
        "fitted_on": [cell.fitted_on.metadata.version, cell.fitted_on.fingerprint],
        "draw": cell.draw,
        "steps": cell.steps,
        "seeds": cell.seeds,
        "tasks": cell.tasks,
        "limits": [cell.time_limit, cell.memory_limit],
        "threads": threads,
        "metrics": sorted(metrics),
        "versions": _versions(),
        "source": source_hash(SCORING),
        "foreign": foreign,
        **({} if cell.device.type == "cpu" else {"machine": environment.machine(cell.device)}),
    }


@cache
def _versions() -> dict[str, str]:
    return {"python": platform.python_version(), **{name: version(name) for name in NUMERICAL}}


def _digest(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=repr).encode()).hexdigest()[:40]
