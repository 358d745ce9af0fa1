"""One side of a comparison: a process that imports the project from one tree and does what it is asked.

    python side_process.py TREE CPU [PLUGIN ...]

Requests and answers are lines of JSON on standard input and output. The file is run by its path and imports nothing of
the tree it lies in but, by its path, the door for trees that have none; so both sides run the same code around
different trees, and reach them by `benchmarks.api` alone. The process stays on the CPU; -1 leaves it unpinned. A
plug-in is a module or the path of a file; it is imported after the tree.

An answer without numbers says why: `lacks`, if the tree's registry does not have the law or solver that a case names;
`error` otherwise, with `cause`: `import` if something cannot be imported, `package` if the machine lacks an optional
package, or `run`.
"""

from __future__ import annotations

import gc
import importlib
import importlib.util
import itertools
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from types import ModuleType
from typing import Any

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

Answer = dict[str, Any]

_ALWAYS_MORE = itertools.count()

LONG = 0.05
"""Calls of more seconds are not warmed further."""


class Lacking(Exception):
    """The tree's registry does not have what a case names."""


class Side:
    """What was prepared, by key."""

    def __init__(self, door: ModuleType) -> None:
        self.door = door
        self.brought: dict[str, list[str]] = {}
        self.calls: dict[str, Callable[[], object]] = {}

    def names(self, kind: str) -> Answer:
        """Ids in the tree's registry of laws or solvers."""
        return {"names": self.door.names(kind)}

    def added(self, kind: str) -> Answer:
        """Ids that plug-ins brought."""
        return {"names": self.brought[kind]}

    def load(self, plugins: Sequence[str]) -> None:
        """Let plug-ins register what they bring."""
        known = {kind: set(self.door.names(kind)) for kind in ("law", "solver")}
        for plugin in plugins:
            _import(plugin)
        self.brought = {
            kind: [name for name in self.door.names(kind) if name not in old] for kind, old in known.items()
        }

    def prepare(self, key: str, case: dict[str, Any], slowed: float = 1.0) -> Answer:
        """Make a case ready to be timed.

        Args:
            key: name of the case.
            case: what `benchmarks.regression.gate.cases.SpeedCase` says.
            slowed: how many times as long it is to take; 1 but where the gate itself is studied.

        Returns:
            Seconds of the first call.
        """
        call = self._call(case)
        self.calls[key] = call if slowed == 1.0 else _slowed(call, slowed)
        return self.time(key, 1)

    def warm(self, key: str) -> Answer:
        """Seconds of one warm call."""
        first = self.time(key, 1)
        return (
            first if first["seconds"] > LONG else min((self.time(key, 1) for _ in range(3)), key=lambda t: t["seconds"])
        )

    def time(self, key: str, calls: int) -> Answer:
        """Mean seconds of that many calls, those of them that a CPU worked, and how often it was given up in all."""
        call, before = self.calls[key], _given_up()
        start, worked = time.perf_counter(), time.process_time()
        for _ in range(calls):
            call()
        worked, seconds = time.process_time() - worked, time.perf_counter() - start
        return {"seconds": seconds / calls, "cpu": worked / calls, "waited": _given_up() - before}

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


def _given_up() -> int:
    """How often this process gave up its CPU by itself, to wait for something; always more where nobody knows."""
    return next(_ALWAYS_MORE) if resource is None else resource.getrusage(resource.RUSAGE_SELF).ru_nvcsw


def _slowed(call: Callable[[], object], factor: float) -> Callable[[], object]:
    """The call, followed by idle turns until it has taken that many times as long."""

    def slow() -> None:
        start = time.process_time()
        call()
        end = start + factor * (time.process_time() - start)
        while time.process_time() < end:
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


def _import(plugin: str) -> None:
    path = Path(plugin)
    if path.suffix != ".py":
        importlib.import_module(plugin)
        return
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[path.stem] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)


def open_side(tree: Path, plugins: Sequence[str] = ()) -> Side | Answer:
    """The tree's side; an answer that says why there is none, if the tree cannot be imported."""
    try:
        import baselines
        import benchmarks
        import memformer

        for package in (memformer, baselines, benchmarks):
            assert Path(str(package.__file__)).resolve().is_relative_to(tree), f"{package.__file__} is not in {tree}"
        sys.path.append(str(Path(__file__).parents[1]))  # the last: everything else is the tree's
        side = Side(importlib.import_module("legacy_door").open_door())
        side.load(plugins)  # asks for all names: a registry that cannot be filled lacks nothing, it cannot be imported
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


def tidy() -> None:
    """Collect rubbish; what is left now, all that was imported first, is not looked through again."""
    gc.collect()
    gc.freeze()


def main() -> None:
    """Answer requests until the input ends."""
    tree, cpu = Path(sys.argv[1]).resolve(), int(sys.argv[2])
    sys.path[0] = str(tree)
    if cpu >= 0:
        os.sched_setaffinity(0, {cpu})
    requests, answers = os.fdopen(os.dup(0)), os.fdopen(os.dup(1), "w")
    with open(os.devnull) as nothing:  # what is run may read and print, and start what does
        os.dup2(nothing.fileno(), 0)
    os.dup2(2, 1)
    with redirect_stdout(sys.stderr):
        import torch

        torch.set_num_threads(1)
        side = open_side(tree, sys.argv[3:])
        gc.disable()
        tidy()
        print(json.dumps({"ready": True}), file=answers, flush=True)
        for line in requests:
            request = json.loads(line)
            print(json.dumps(answer(side, request)), file=answers, flush=True)
            if request["do"] != "time":  # between cases, never between timed turns
                tidy()


if __name__ == "__main__":
    main()
