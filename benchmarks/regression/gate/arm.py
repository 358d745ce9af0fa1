"""One arm of a comparison: a process that imports the project from one tree and does what it is asked.

    python arm.py TREE CPU

Requests and answers are lines of JSON on standard input and output. The file is run by its path and imports nothing
of the tree it lies in, so that both arms run the same code around different trees. CPU -1 leaves the process unpinned.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import time
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any


class Missing(Exception):
    """The tree lacks what a case names."""


class Arm:
    """What was prepared, by key."""

    def __init__(self) -> None:
        self.calls: dict[str, Callable[[], object]] = {}
        self.last_law: Any = None
        self.problems: dict[tuple[int, int], Any] = {}

    def prepare(self, key: str, case: dict[str, Any], slowed: float = 1.0) -> dict[str, float]:
        """Make a case ready to be timed.

        Args:
            key: name of the case.
            case: what `benchmarks.regression.gate.cases.SpeedCase` says.
            slowed: how many times as long it is to take; 1 but where the gate itself is studied.

        Returns:
            Seconds of one warm call.
        """
        call = _call(case)
        self.calls[key] = call if slowed == 1.0 else _slowed(call, slowed)
        for _ in range(3):
            self.calls[key]()
        return {"seconds": min(self.time(key, 1)["seconds"] for _ in range(3))}

    def time(self, key: str, calls: int) -> dict[str, float]:
        """Mean seconds of that many calls."""
        call = self.calls[key]
        start = time.perf_counter()
        for _ in range(calls):
            call()
        return {"seconds": (time.perf_counter() - start) / calls}

    def losses(self, case: dict[str, Any], file: str) -> dict[str, Any]:
        """Per-task losses of what `benchmarks.regression.gate.cases.LossCase` says, written to an npy file.

        Returns:
            The fingerprint of the law, and whether the solver is fitted.
        """
        import numpy as np

        law, solver, purpose = _law(case), _solver(case), _purpose()
        seeds, steps = case["seeds"], case["steps"]
        fitted = solver.fit_many([law.stream(seed, purpose.TRAIN) for seed in seeds], steps, seeds)
        found = []
        for seed, one in zip(seeds, fitted, strict=True):
            problem = self._problem(law, seed, purpose.SCORE, case["tasks"])
            whole = _losses(one, problem, max(steps)) if one.anytime else None
            found.append([(_losses(one, problem, step) if whole is None else whole)[step] for step in steps])
        np.save(file, np.array(found))
        trains = solver.trains if hasattr(solver, "trains") else solver.fitting.required  # older trees have the former
        return {"fingerprint": law.fingerprint, "trains": trains}

    def _problem(self, law: Any, seed: int, purpose: Any, tasks: int) -> Any:
        """Scored tasks; those of the last law are kept, since many solvers ask for them."""
        if law != self.last_law:
            self.last_law, self.problems = law, {}
        if (seed, tasks) not in self.problems:
            self.problems[seed, tasks] = law.stream(seed, purpose).sample(tasks)
        return self.problems[seed, tasks]


def _losses(solver: Any, problem: Any, steps: int) -> Any:
    """`(steps + 1, tasks)`."""
    from benchmarks.catalogue.metrics import expected_test_loss

    found: Any = expected_test_loss(problem, solver.solve(problem.blinded(), steps))
    return found.numpy()


def _law(case: dict[str, Any]) -> Any:
    from benchmarks.catalogue import laws  # noqa: F401 -- it fills the registry
    from benchmarks.catalogue.registry import LAWS

    if case["law"] not in LAWS:
        raise Missing(f"no law {case['law']!r}")
    try:
        return LAWS.create(case["law"], **case["law_params"])
    except ImportError as error:
        raise Missing(str(error)) from None


def _solver(case: dict[str, Any]) -> Any:
    from benchmarks.catalogue import solvers  # noqa: F401 -- it fills the registry
    from benchmarks.catalogue.registry import SOLVERS

    if case["solver"] not in SOLVERS:
        raise Missing(f"no solver {case['solver']!r}")
    return SOLVERS.create(case["solver"], **case["params"])


def _purpose() -> Any:
    from benchmarks.tasks.law import Purpose

    return Purpose


def _call(case: dict[str, Any]) -> Callable[[], object]:
    """What is timed: drawing tasks, a fit, or a solve of a problem whose moments nobody has computed yet."""
    law, purpose, kind = _law(case), _purpose(), case["kind"]
    if kind == "draw":
        return lambda: law.stream(0, purpose.TIMING).sample(case["batch"])
    solver, steps = _solver(case), case["steps"]
    if kind == "fit":
        return lambda: solver.fit(law.stream(0, purpose.TRAIN), [steps], seed=0)
    fitted = solver.fit(law.stream(0, purpose.TRAIN), [steps], seed=0)
    problem = law.stream(0, purpose.TIMING).sample(case["batch"]).blinded()
    return lambda: fitted.solve(problem.blinded(), steps)


def _slowed(call: Callable[[], object], factor: float) -> Callable[[], object]:
    """The call, followed by idle turns until it has taken that many times as long."""

    def slow() -> None:
        start = time.perf_counter()
        call()
        end = start + factor * (time.perf_counter() - start)
        while time.perf_counter() < end:
            pass

    return slow


def main() -> None:
    """Answer requests until the input ends."""
    tree, cpu = Path(sys.argv[1]).resolve(), int(sys.argv[2])
    sys.path[0] = str(tree)
    answers = sys.stdout
    with redirect_stdout(sys.stderr):
        import torch

        import baselines
        import benchmarks
        import memformer

        torch.set_num_threads(1)
        for package in (memformer, baselines, benchmarks):
            assert Path(str(package.__file__)).resolve().is_relative_to(tree), f"{package.__file__} is not in {tree}"
        if cpu >= 0:
            os.sched_setaffinity(0, {cpu})  # only now, so that both arms import at the same time
        gc.collect()
        gc.disable()
        arm = Arm()
        print(json.dumps({"ready": True}), file=answers, flush=True)
        for line in sys.stdin:
            request = json.loads(line)
            try:
                answer = getattr(arm, request.pop("do"))(**request)
            except Missing as error:
                answer = {"missing": str(error)}
            except Exception as error:
                answer = {"error": " ".join(f"{type(error).__name__}: {error}".split())[:300]}
            print(json.dumps(answer), file=answers, flush=True)
            if "calls" not in request:
                gc.collect()


if __name__ == "__main__":
    main()
