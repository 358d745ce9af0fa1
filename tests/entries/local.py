"""An entry as a solver in this process: the board is tested without boxes, which take seconds."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from benchmarks.entries.box import BoxError
from memformer.core.problem import Problem, TaskSource
from memformer.core.solver import Solver
from memformer.core.trace import Trace


def loaded(file: str) -> Solver:
    """The solver of a file."""
    name = "local_" + hashlib.sha256(Path(file).read_bytes()).hexdigest()[:8]
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    own: Any = [one for one in vars(module).values() if isinstance(one, type) and one.__module__ == name]
    return next(one for one in own if issubclass(one, Solver))()


@dataclass(frozen=True)
class Local(Solver):
    """Stands for `benchmarks.entries.boxed.Boxed`."""

    file: str
    isolated: bool = True
    log: str = ""
    parameters: Mapping[str, Tensor] | None = None

    def __post_init__(self) -> None:
        try:
            solver = loaded(self.file)
        except Exception as error:
            raise BoxError(str(error)) from None
        for name in ("needs", "reach", "fitting", "learned", "batched", "version", "anytime", "serves"):
            object.__setattr__(self, name, getattr(solver, name))

    @property
    def sha256(self) -> str:
        return hashlib.sha256(Path(self.file).read_bytes()).hexdigest()

    def fit(self, tasks: TaskSource, steps: Sequence[int], seed: int = 0) -> Local:
        if not self.fitting.required:
            return self
        fitted: Any = replace(loaded(self.file), iterations=3).fit(tasks, steps, seed)  # type: ignore[call-arg]
        with Path(self.log).open("a") as lines:
            lines.write(json.dumps({"tasks": 7, "seconds": 0.5}) + "\n")
        return replace(self, parameters=fitted.parameters)

    def solve(self, problem: Problem, num_steps: int) -> Trace:
        solver: Any = loaded(self.file)
        return (replace(solver, parameters=self.parameters) if self.parameters else solver).solve(problem, num_steps)
