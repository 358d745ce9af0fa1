"""One side of a comparison: a process that imports the project from one tree and does what it is asked.

    python side_process.py TREE CPU

Requests and answers are lines of JSON on standard input and output. The file is run by its path and imports nothing of
the tree it lies in but, by its path, the door for trees that have none; so both sides run the same code around
different trees, and reach them by `benchmarks.api` alone. CPU -1 leaves the process unpinned.

An answer without numbers says why: `lacks`, if the tree's registry does not have the law or solver that a case names;
`error` otherwise, with `cause`: `import` if something cannot be imported, `package` if the machine lacks an optional
package, or `run`.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from pathlib import Path
from types import ModuleType
from typing import Any

Answer = dict[str, Any]


class Lacking(Exception):
    """The tree's registry does not have what a case names."""


class Side:
    """What was prepared, by key."""

    def __init__(self, door: ModuleType) -> None:
        self.door = door
        self.calls: dict[str, Callable[[], object]] = {}

    def names(self, kind: str) -> Answer:
        """Ids in the tree's registry of laws or solvers."""
        return {"names": self.door.names(kind)}

    def prepare(self, key: str, case: dict[str, Any], slowed: float = 1.0) -> Answer:
        """Make a case ready to be timed.

        Args:
            key: name of the case.
            case: what `benchmarks.regression.gate.cases.SpeedCase` says.
            slowed: how many times as long it is to take; 1 but where the gate itself is studied.

        Returns:
            Seconds of one warm call.
        """
        call = self._call(case)
        self.calls[key] = call if slowed == 1.0 else _slowed(call, slowed)
        for _ in range(3):
            self.calls[key]()
        return {"seconds": min(self.time(key, 1)["seconds"] for _ in range(3))}

    def time(self, key: str, calls: int) -> Answer:
        """Mean seconds of that many calls."""
        call = self.calls[key]
        start = time.perf_counter()
        for _ in range(calls):
            call()
        return {"seconds": (time.perf_counter() - start) / calls}

    def losses(self, case: dict[str, Any], file: str) -> Answer:
        """Per-task losses of what `benchmarks.regression.gate.cases.LossCase` says, `(seeds, steps, tasks)`, in a file.

        Returns:
            The fingerprint of the law, and whether fitting the solver is random.
        """
        import numpy as np

        law, solver = self._law(case), self._solver(case)
        seeds, steps = case["seeds"], case["steps"]
        fitted = solver.fit_many([self.door.stream(law, seed, "train") for seed in seeds], steps, seeds)
        found = [
            self.door.losses(one, law, seed, case["tasks"], steps) for seed, one in zip(seeds, fitted, strict=True)
        ]
        np.save(file, np.array(found))
        return {"fingerprint": law.fingerprint, "random_fit": self.door.random_fit(solver)}

    def _call(self, case: dict[str, Any]) -> Callable[[], object]:
        """What is timed: drawing tasks, a fit, or a solve of a problem whose moments nobody has computed yet."""
        law, kind = self._law(case), case["kind"]
        if kind == "draw":
            return lambda: self.door.stream(law, 0, "timing").sample(case["batch"])
        solver, steps = self._solver(case), case["steps"]
        if kind == "fit":
            return lambda: self.door.fitted(solver, law, [steps])
        fitted = self.door.fitted(solver, law, [steps])
        problem = self.door.stream(law, 0, "timing").sample(case["batch"]).blinded()
        return lambda: fitted.solve(problem.blinded(), steps)

    def _law(self, case: dict[str, Any]) -> Any:
        self._check("law", case["law"])
        return self.door.law(case["law"], **case["law_params"])

    def _solver(self, case: dict[str, Any]) -> Any:
        self._check("solver", case["solver"])
        return self.door.solver(case["solver"], **case["params"])

    def _check(self, kind: str, name: str) -> None:
        if name not in self.door.names(kind):
            raise Lacking(f"no {kind} {name!r}")


def _slowed(call: Callable[[], object], factor: float) -> Callable[[], object]:
    """The call, followed by idle turns until it has taken that many times as long."""

    def slow() -> None:
        start = time.perf_counter()
        call()
        end = start + factor * (time.perf_counter() - start)
        while time.perf_counter() < end:
            pass

    return slow


def failure(error: BaseException) -> Answer:
    """The answer that says what went wrong."""
    if isinstance(error, Lacking):
        return {"lacks": str(error)}
    causes = list(_causes(error))
    if any(type(one).__name__ == "MissingPackage" for one in causes):
        cause = "package"
    else:
        cause = "import" if any(isinstance(one, ImportError | SyntaxError) for one in causes) else "run"
    return {"error": " ".join(f"{type(error).__name__}: {error}".split())[:300], "cause": cause}


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """The exception, and those that it was raised for."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def open_side(tree: Path) -> Side | Answer:
    """The tree's side; an answer that says why there is none, if the tree cannot be imported."""
    try:
        import baselines
        import benchmarks
        import memformer

        for package in (memformer, baselines, benchmarks):
            assert Path(str(package.__file__)).resolve().is_relative_to(tree), f"{package.__file__} is not in {tree}"
        sys.path.append(str(Path(__file__).parents[1]))  # the last: everything else is the tree's
        side = Side(importlib.import_module("legacy_door").open_door())
        for kind in ("law", "solver"):
            side.names(kind)  # a registry that cannot be filled lacks nothing: it cannot be imported
        return side
    except (Exception, SystemExit) as error:
        return {**failure(error), "cause": "import"}


def answer(side: Side | Answer, request: dict[str, Any]) -> Answer:
    """What a request is answered with."""
    if isinstance(side, dict):
        return side
    try:
        return getattr(side, request["do"])(**{name: value for name, value in request.items() if name != "do"})
    except (Exception, SystemExit) as error:
        return failure(error)


def main() -> None:
    """Answer requests until the input ends."""
    tree, cpu = Path(sys.argv[1]).resolve(), int(sys.argv[2])
    sys.path[0] = str(tree)
    answers = sys.stdout
    with redirect_stdout(sys.stderr):
        import torch

        torch.set_num_threads(1)
        side = open_side(tree)
        if cpu >= 0:
            os.sched_setaffinity(0, {cpu})  # only now, so that both sides import at the same time
        gc.collect()
        gc.disable()
        print(json.dumps({"ready": True}), file=answers, flush=True)
        for line in sys.stdin:
            request = json.loads(line)
            print(json.dumps(answer(side, request)), file=answers, flush=True)
            if request["do"] != "time":  # rubbish is collected between cases, never between timed turns
                gc.collect()


if __name__ == "__main__":
    main()
