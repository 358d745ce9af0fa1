"""Solvers that do what they must not, and a tiny suite to run them in."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.cli.progress import _Lines
from benchmarks.harness.run import run_suite
from benchmarks.runs.read import Run, read_run
from benchmarks.suites.suite import Suite
from memformer.core.problem import Problem, TaskSource
from memformer.core.solver import Fitting, Needs, Solver
from memformer.core.trace import Trace

HONEST = "cg"


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("not even this")


class Stop(BaseException):
    """No `Exception`, as `SystemExit` is none."""


def raises(error: BaseException) -> Callable[[Problem], None]:
    def do(problem: Problem) -> None:
        raise error

    return do


def swallows(problem: Problem) -> None:
    for _ in range(75):
        try:
            time.sleep(0.02)
        except BaseException:
            continue


def turns_into_another(problem: Problem) -> None:
    try:
        time.sleep(5)
    except BaseException:
        raise ValueError("something else") from None


def sorts(problem: Problem) -> None:
    problem.X.numpy().sort(axis=1)


WHAT: dict[str, tuple[Callable[[Problem], Any], str, str]] = {
    "exits": (lambda p: raises(SystemExit(0))(p), "error", "it raised SystemExit: 0"),
    "stops": (lambda p: raises(Stop("here"))(p), "error", "it raised Stop: here"),
    "leaves": (lambda p: os._exit(0), "error", "it called os._exit(0)"),
    "unspeakable": (lambda p: raises(Unspeakable())(p), "error", "Unspeakable, which does not say why"),
    "surrogate": (lambda p: raises(OSError("no file \udc80\x1b"))(p), "error", r"OSError: no file \udc80\x1b"),
    "scales X": (lambda p: p.X.mul_(2), "error", "it changed X of the problem"),
    "scales y unseen": (lambda p: p.y.data.numpy().__imul__(2), "error", "it changed y of the problem"),
    "sorts X": (sorts, "error", "it changed X of the problem"),
    "moves queries": (lambda p: p.x_query.data.add_(1), "error", "it changed x_query of the problem"),
    "wants gradients": (lambda p: p.X.requires_grad_(), "error", "it changed X of the problem"),
    "scales H": (lambda p: p.moments.H.mul_(2), "error", "it changed its moments of the problem"),
    "moves": (lambda p: os.chdir("/"), "error", "it changed the working folder"),
    "sets a dtype": (lambda p: torch.set_default_dtype(torch.float16), "error", "it changed torch's default dtype"),
    "stops gradients": (lambda p: torch.set_grad_enabled(False), "error", "it changed whether torch keeps gradients"),
    "takes threads": (lambda p: torch.set_num_threads(3), "error", "it changed torch's number of threads"),
    "raises on nan": (lambda p: np.seterr(all="raise"), "error", "it changed how NumPy treats errors"),
    "swallows": (swallows, "time_limit", "ran past its time limit of 1 s"),
    "hides": (turns_into_another, "time_limit", "ran past its time limit of 1 s"),
}
"""What is done in `solve` before an honest answer, the status that it has, and what the reason says."""


def answer(problem: Problem, num_steps: int, **changes: Any) -> Trace:
    return replace(Trace.direct(torch.zeros_like(problem.moments.b), num_steps), **changes)


def far(problem: Problem, num_steps: int, value: float) -> Trace:
    return answer(
        problem, num_steps, weights=torch.full((num_steps + 1, problem.B, problem.d), value, dtype=problem.dtype)
    )


def codes(problem: Problem, code: float) -> Tensor:
    return torch.full((problem.B,), code).to(torch.int8 if code == int(code) else torch.float64)


ANSWERS: dict[str, tuple[Callable[[Problem, int], Any], str, str]] = {
    "nothing": (lambda p, k: None, "error", "returned a NoneType; it must be a Trace"),
    "empty": (lambda p, k: Trace(None, None, codes(p, 0), codes(p, 0)), "error", "neither weights nor predictions"),
    "nan": (lambda p, k: far(p, k, torch.nan), "nonfinite", "40 of 40 tasks"),
    "inf": (lambda p, k: far(p, k, torch.inf), "nonfinite", "40 of 40 tasks"),
    "overflows": (lambda p, k: far(p, k, 1e200), "nonfinite", "40 of 40 tasks"),
    "single": (lambda p, k: answer(p, k, weights=torch.zeros(k + 1, p.B, p.d)), "error", "weights in torch.float32"),
    "array": (lambda p, k: answer(p, k, weights=np.zeros((k + 1, p.B, p.d))), "error", "that are a ndarray"),
    "sparse": (
        lambda p, k: answer(p, k, weights=torch.zeros(k + 1, p.B, p.d).to_sparse()),
        "error",
        "sparse_coo",
    ),
    "outcome 7": (lambda p, k: answer(p, k, outcome=codes(p, 7)), "error", "has outcome 7; it must be from 0 to 4"),
    "outcome 0.5": (lambda p, k: answer(p, k, outcome=codes(p, 0.5)), "error", "has outcome in torch.float64"),
    "finished late": (lambda p, k: answer(p, k, finished=codes(p, 9)), "error", "has finished 9; it must be from 0"),
}
"""What `solve` returns."""


@dataclass(frozen=True)
class Nasty(Solver):
    needs = Needs.NOTHING
    what: str = ""

    def solve(self, problem: Problem, num_steps: int) -> Trace:
        if self.what in ANSWERS:
            return ANSWERS[self.what][0](problem, num_steps)
        WHAT[self.what][0](problem)
        return answer(problem, num_steps)


def halve(tasks: TaskSource) -> dict[str, Any]:
    tasks.second_moment.mul_(0.5)
    return {}


FITS: dict[str, tuple[Callable[[TaskSource], Any], str]] = {
    "halves the law": (halve, "it changed the law's second_moment"),
    "numbers": (lambda tasks: {"eta": 0.5}, "must be tensors by name"),
    "no solver": (lambda tasks: None, "it must give 1 fitted solvers"),
    "exits in fit": (lambda tasks: raises(SystemExit(3))(tasks), "it raised SystemExit: 3"),  # type: ignore[arg-type]
}


@dataclass(frozen=True)
class Misfit(Solver):
    needs = Needs.LAW
    fitting = Fitting.RANDOM
    what: str = ""
    parameters: Any = field(default=None, compare=False)

    def fit(self, tasks: TaskSource, steps: Any, seed: int = 0) -> Solver:
        found: Any = FITS[self.what][0](tasks)
        return None if found is None else replace(self, parameters=found)  # type: ignore[return-value]

    def solve(self, problem: Problem, num_steps: int) -> Trace:
        return answer(problem, num_steps)


WHEN_TIMED = ("scales X", "exits", "leaves", "moves")


@dataclass(frozen=True)
class OnlyWhenTimed(Solver):
    """Does it with batches of 4 alone, which are timed and not scored."""

    needs = Needs.NOTHING
    what: str = ""

    def solve(self, problem: Problem, num_steps: int) -> Trace:
        if problem.B == 4:
            WHAT[self.what][0](problem)
        return answer(problem, num_steps)


@dataclass(frozen=True)
class Sparse(Solver):
    needs = Needs.NOTHING

    def solve(self, problem: Problem, num_steps: int) -> Trace:
        X = problem.X.flatten(0, 1).to_sparse()
        return answer(
            problem, num_steps, weights=torch.zeros(num_steps + 1, problem.B, problem.d).double() + X.sum() * 0
        )


def suite(*solvers: Any, law: str = "isotropic", limit: float = 60.0) -> Suite:
    return Suite.model_validate(
        {
            "schema": 1,
            "name": "torture",
            "steps": [2],
            "seeds": [0],
            "scores": {"tasks": 40, "time_limit": limit},
            "timings": {"batch": 4, "repeats": 1},
            "tasks": [{"law": law, "d": 2, "N": 6}],
            "solvers": list(solvers),
        }
    )


def carried_out(folder: Path, *solvers: Any, name: str = "one", **options: Any) -> Run:
    return read_run(run_suite(suite(*solvers, **options), folder / "runs", None, ["x"], _Lines(), name).path)


TOLD = {"name": "heavy_ball_tuned_preconditioned", "params": {"num_tasks": 300}}
"""An honest solver that is told the law's second moment."""

SLOW = {what for what, (_, status, _) in WHAT.items() if status == "time_limit"}


def nasty(name: str, what: str) -> dict[str, Any]:
    return {"name": name, "params": {"what": what}}


def rows(run: Run, solver: str, table: str = "scores", what: str = "") -> set[tuple[str, str]]:
    found = getattr(run, table)
    found = found[(found["solver"] == solver) & (found["solver_params"] == json.dumps({"what": what} if what else {}))]
    return set(zip(found["status"], found["reason"], strict=True))
