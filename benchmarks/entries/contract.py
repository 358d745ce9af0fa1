"""What an entry must keep to, each thing with a name, so that a person and a test can ask for it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from benchmarks.entries.boxed import Boxed
from benchmarks.entries.enter import SUITE
from benchmarks.harness.guard import checked
from benchmarks.harness.resolve import build_law
from benchmarks.suites.suite import load_suite
from benchmarks.tasks.gaussian import Isotropic
from benchmarks.tasks.law import Law, Purpose
from memformer.core.problem import Problem
from memformer.core.trace import Outcome, Trace

STEPS = 3
FEW = 4
"""Tasks of a large batch that are answered apart from it, too."""

LAW = Isotropic(d=4, N=10, noise_std=0.1)
WIDE = Isotropic(d=4, N=2, noise_std=0.1)
"""Fewer points than dimensions."""


def close(one: Tensor, other: Tensor) -> bool:
    """Whether two answers are the same but for the order of sums."""
    return torch.allclose(one, other, rtol=1e-7, atol=1e-9)


class Broken(Exception):
    """What an entry does not keep to, in a sentence."""


class Candidate:
    """An entry under test; what several checks need is found once.

    Args:
        solver: not fitted.
    """

    def __init__(self, solver: Boxed) -> None:
        self._solver = solver

    @cached_property
    def solver(self) -> Boxed:
        """Fitted on the law of the checks."""
        return self._solver.fit(LAW.stream(0, Purpose.TRAIN), [1, 2, STEPS], seed=0)

    @cached_property
    def problem(self) -> Problem:
        """Six tasks."""
        return tasks(LAW, 6)

    @cached_property
    def trace(self) -> Trace:
        """What it leaves on them."""
        return checked(self.solver.solve(self.problem, STEPS), self.problem, STEPS)

    def again(self, problem: Problem) -> Tensor:
        """Its answers `(STEPS + 1, B, ...)` on other tasks, or on the same again."""
        return answers(checked(self.solver.solve(problem, STEPS), problem, STEPS))


def tasks(law: Law, count: int) -> Problem:
    """Tasks as a solver may see them."""
    return law.stream(0, Purpose.FINGERPRINT).sample(count).blinded()


def answers(trace: Trace) -> Tensor:
    """Weights, or the predictions of what has none."""
    found = trace.predictions if trace.weights is None else trace.weights
    assert found is not None
    return found


def _fit(one: Candidate) -> None:
    _ = one.solver


def _shapes(one: Candidate) -> None:
    _ = one.trace


def _start(one: Candidate) -> None:
    if bool(answers(one.trace)[0].any()):
        raise Broken("after no step its answer must be 0")


def _same(one: Candidate) -> None:
    if not torch.equal(one.again(one.problem).nan_to_num(), answers(one.trace).nan_to_num()):
        raise Broken("the same tasks must give the same bits; what is random must hang on the seed of fit")


def _apart(one: Candidate) -> None:
    alone = one.again(one.problem.select(slice(2)))
    if not close(alone, answers(one.trace)[:, :2]):
        raise Broken("what it answers for a task must not hang on the other tasks of the batch")


def _queries(one: Candidate) -> None:
    x = torch.cat([one.problem.x_query, 3 * one.problem.x_query + 1], 1)
    more = one.again(dataclasses.replace(one.problem, x_query=x))
    kept = more if one.trace.weights is not None else more[..., : one.problem.x_query.shape[1]]
    if not close(kept, answers(one.trace)):
        raise Broken("what it answers at a query must not hang on the other queries")


def _single(one: Candidate) -> None:
    found = one.again(one.problem.to(torch.float32))
    if not torch.allclose(found.double(), answers(one.trace), rtol=1e-2, atol=1e-2):
        raise Broken("tasks of float32 must be answered in float32, and nearly as those of float64")


def _nonfinite(one: Candidate) -> None:
    X = one.problem.X.clone()
    X[1, 0, 0] = torch.nan
    problem = dataclasses.replace(one.problem, X=X)
    trace = checked(one.solver.solve(problem, STEPS), problem, STEPS)
    others = [0, 2, 3, 4, 5]
    if not close(answers(trace)[:, others], answers(one.trace)[:, others]):
        raise Broken("a task that is not finite must leave the others alone")
    if int(trace.outcome[1]) != Outcome.NONFINITE:
        raise Broken("a task that is not finite must be answered by nan, and end as nonfinite")


def _wide(one: Candidate) -> None:
    problem = tasks(WIDE, 4)
    solver = one._solver.fit(WIDE.stream(0, Purpose.TRAIN), [1, 2, STEPS], seed=0)
    if not bool(answers(checked(solver.solve(problem, STEPS), problem, STEPS)).isfinite().all()):
        raise Broken("with fewer points than dimensions its answers must be finite")


def _anytime(one: Candidate) -> None:
    if one.solver.anytime:
        part = answers(checked(one.solver.solve(one.problem, 1), one.problem, 1))
        if not close(part, answers(one.trace)[:2]):
            raise Broken("it says that it is anytime: its first step must not hang on how many follow")


def _as_scored(one: Candidate) -> None:
    suite = load_suite(SUITE)
    law, steps = build_law(suite.tasks[0]), max(suite.steps)
    solver, many = one._solver.fit(law.stream(0, Purpose.TRAIN), suite.steps, seed=0), tasks(law, suite.scores.tasks)
    few = slice(0, many.B, many.B // FEW)
    alone, together = (
        answers(checked(solver.solve(problem, steps), problem, steps)) for problem in (many.select(few), many)
    )
    if not close(alone.nan_to_num(), together[:, few].nan_to_num()):
        raise Broken(f"among {many.B:,} tasks, as many as are scored, a task must be answered as it is among {FEW}")


class Check(NamedTuple):
    """A name for people, and what raises `Broken`, `ValueError` or `BoxError`."""

    name: str
    run: Callable[[Candidate], None]


CHECKS = (
    Check("its fit keeps to its budget", _fit),
    Check("its trace is what a trace must be", _shapes),
    Check("it starts at zero", _start),
    Check("it is deterministic", _same),
    Check("tasks of a batch do not know each other", _apart),
    Check("queries do not know each other", _queries),
    Check("single precision", _single),
    Check("a nonfinite task", _nonfinite),
    Check("fewer points than dimensions", _wide),
    Check("anytime, if it says so", _anytime),
    Check("tasks of a batch as large as those scored do not know each other", _as_scored),
)
"""In this order: the later ones build on the earlier."""


def broken(solver: Boxed) -> Iterator[tuple[str, str]]:
    """Each check's name, and why it is not kept to, empty if it is; without a fit or a trace no more are asked."""
    one = Candidate(solver)
    for check in CHECKS:
        why = ""
        try:
            check.run(one)
        except Exception as error:
            why = str(error) or type(error).__name__
        yield check.name, why
        if why and check in CHECKS[:2]:
            return
