"""What runs in the box: loads an entry's file, and fits or solves once, as it is asked.

It sees tensors alone. Training tasks come from outside, a batch at a time; of scored tasks it is shown contexts and
query points. It imports `memformer` and nothing else of the project, which is not there.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import os
import sys
from pathlib import Path
from typing import Any

import torch

from memformer.core import objective as objectives
from memformer.core.problem import Prior, Problem
from memformer.core.solver import Solver

try:
    import wire  # pyright: ignore[reportMissingImports] -- beside this file in the box
except ModuleNotFoundError:
    from benchmarks.entries import wire

MODULE = "entry_in_a_box"
"""Name of the file's module, whatever the file is called: it replaces nobody."""

TRAITS = ("needs", "reach", "fitting", "learned", "batched", "version", "anytime")


def main() -> None:
    """Answer once."""
    asks, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)  # what an entry prints goes to standard error
    torch.set_num_threads(1)
    try:
        solver = _solver(Path(sys.argv[1]), sys.argv[2])
    except BaseException as error:
        wire.send(answers, {"op": "raised", "why": _why(error)})
        return
    wire.send(answers, {"op": "ready", "serves": solver.serves.__name__, **_traits(solver)})
    try:
        words, tensors = wire.receive(asks)
    except EOFError:
        return
    try:
        if words["op"] == "fit":
            _fit(solver, words, asks, answers)
        else:
            _solve(solver, words, tensors, answers)
    except BaseException as error:
        wire.send(answers, {"op": "raised", "why": _why(error)})


def _solver(file: Path, name: str) -> Solver:
    """The one solver that a file defines, or the one of that name."""
    spec = importlib.util.spec_from_file_location(MODULE, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[MODULE] = module
    spec.loader.exec_module(module)
    own = [
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Solver) and value.__module__ == MODULE
    ]
    found = [one for one in own if dataclasses.is_dataclass(one) and (not name or one.__name__ == name)]
    if len(found) != 1:
        have = ", ".join(one.__name__ for one in own) or "none"
        raise ValueError(f"a file must define one solver, a frozen dataclass; this one has {have}")
    return found[0]()


def _traits(solver: Solver) -> dict[str, Any]:
    return {name: str(value) if isinstance(value := getattr(solver, name), str) else value for name in TRAITS}


def _fit(solver: Solver, words: dict[str, Any], asks: Any, answers: Any) -> None:
    tasks = _Tasks(asks, answers, words["tasks"])
    fitted = solver.fit(tasks, words["steps"], words["seed"])
    parameters = getattr(fitted, "parameters", None) or {}
    wire.send(answers, {"op": "fitted"}, dict(parameters))


def _solve(solver: Solver, words: dict[str, Any], tensors: dict[str, torch.Tensor], answers: Any) -> None:
    parameters = {name.removeprefix("p."): value for name, value in tensors.items() if name.startswith("p.")}
    if parameters:
        solver = dataclasses.replace(solver, parameters=parameters)  # type: ignore[type-var]
    problem = Problem(tensors["X"], tensors["y"], tensors["x_query"], objective=_objective(words["objective"]))
    trace = solver.solve(problem, words["steps"])
    found = {name: getattr(trace, name) for name in ("weights", "predictions", "outcome", "finished")}
    wire.send(answers, {"op": "solved"}, {name: value for name, value in found.items() if value is not None})


def _objective(told: dict[str, Any]) -> objectives.Objective:
    return getattr(objectives, told["kind"])(**told["fields"])


class _Tasks:
    """Training tasks that are drawn outside: a `memformer.core.problem.TaskSource`."""

    def __init__(self, asks: Any, answers: Any, facts: dict[str, Any]) -> None:
        self._asks, self._answers, self._id = asks, answers, facts["id"]
        self.d, self.N, self.noise_var = facts["d"], facts["N"], facts["noise_var"]
        self.whitens_to_isotropic = facts["whitens_to_isotropic"]
        self.objective = _objective(facts["objective"])

    @property
    def second_moment(self) -> torch.Tensor:
        return self._ask("second_moment")[1]["second_moment"]

    def sample(self, batch: int) -> Problem:
        words, tensors = self._ask("sample", batch=int(batch))
        return Problem(**tensors, noise_var=words["noise_var"], objective=self.objective)

    def prior(self, X: torch.Tensor) -> Prior | None:
        _, tensors = self._ask("prior", {"X": X})
        return Prior(**tensors) if tensors else None

    def validation(self) -> _Tasks:
        return _Tasks(self._asks, self._answers, self._ask("validation")[0]["tasks"])

    def spread(self, width: float) -> _Tasks:
        return _Tasks(self._asks, self._answers, self._ask("spread", width=float(width))[0]["tasks"])

    def _ask(self, op: str, tensors: dict[str, torch.Tensor] | None = None, **words: Any) -> Any:
        wire.send(self._answers, {"op": op, "id": self._id, **words}, tensors)
        return wire.receive(self._asks)


def _why(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:500]


if __name__ == "__main__":
    main()
