"""What every solver promises where the objective is not that of least squares: on binary labels, and among outliers."""

from __future__ import annotations

import dataclasses
from functools import cache

import pytest
import torch

from benchmarks.catalogue.registry import LAWS, SOLVERS
from benchmarks.harness.guard import Seal, checked
from benchmarks.tasks.law import Law
from memformer.core.objective import LeastSquares
from memformer.core.problem import Problem
from memformer.core.solver import Solver
from memformer.core.trace import Outcome
from tests.baselines.helpers import scored, training
from tests.test_solver_contract import FEED_FORWARD, NAMES, SMALL, answers, answers_of, same

STEPS = (1, 2, 3)
LAW: dict[str, Law] = {
    "logistic": LAWS.create("logistic", d=3, N=8),
    "outliers": LAWS.create("outliers", d=3, N=12),
}
MADE = {name: SOLVERS.create(name, **SMALL.get(name, {})) for name in SOLVERS}
SERVING = [
    (law, name) for law in LAW for name in SOLVERS if not MADE[name].skip(training(LAW[law]))[0]
]  # what is not here says why

every_one = pytest.mark.parametrize(("law", "name"), SERVING)


@cache
def fitted(law: str, name: str) -> Solver:
    return MADE[name].fit(training(LAW[law]), STEPS, seed=0)


@cache
def problem(law: str) -> Problem:
    return scored(LAW[law], 6)


def test_what_asks_for_gradients_alone_serves_both_laws() -> None:
    gradients = {
        "gradient_descent_l",
        "nesterov_convex",
        "gradient_descent_tuned",
        "heavy_ball_tuned",
        "nesterov_tuned",
    }
    gradients |= {"lfom", "lfom_diagonal", "newton", "lstm_optimizer", "unrolled", "unrolled_scalar"}
    gradients |= {"transformer_softmax", "memformer_generalised", "scipy_minimize_lbfgsb"}
    for law in LAW:
        assert gradients <= {name for of, name in SERVING if of == law}
    assert ("logistic", "logistic_bayes") in SERVING
    assert ("outliers", "nesterov") not in SERVING


def test_every_solver_serves_least_squares_or_says_so() -> None:
    assert set(NAMES) == {name for name, solver in MADE.items() if issubclass(LeastSquares, solver.serves)}
    assert set(SOLVERS) - set(NAMES) == {"logistic_bayes"}


@every_one
def test_the_trace_is_what_a_trace_must_be_and_the_problem_is_left_alone(law: str, name: str) -> None:
    given = dataclasses.replace(problem(law))
    seal = Seal(given)
    trace = fitted(law, name).solve(given, 3)
    seal.check()
    assert checked(trace, given, 3) is trace
    assert answers(trace).isfinite().all()
    assert not answers(trace)[0].any()
    assert same(answers_of(fitted(law, name), given.blinded(), 3), answers(trace))
    assert same(answers_of(fitted(law, name), given, 3), answers(trace))


@every_one
def test_a_batch_is_a_loop_of_singles(law: str, name: str) -> None:
    trace = fitted(law, name).solve(problem(law), 3)
    for i in range(problem(law).B):
        single = fitted(law, name).solve(problem(law).select(slice(i, i + 1)), 3)
        torch.testing.assert_close(answers(trace)[:, i], answers(single)[:, 0], rtol=1e-8, atol=1e-10)
        assert trace.outcome[i] == single.outcome[0]


@every_one
def test_single_precision_is_kept_and_close(law: str, name: str) -> None:
    single = answers_of(fitted(law, name), problem(law).to(torch.float32), 3)
    assert single.dtype == torch.float32
    torch.testing.assert_close(single.double(), answers_of(fitted(law, name), problem(law), 3), rtol=5e-3, atol=5e-3)


@every_one
def test_a_nonfinite_task_is_marked_and_leaves_the_others_alone(law: str, name: str) -> None:
    X = problem(law).X.clone()
    X[2, 1] = torch.nan
    trace = fitted(law, name).solve(dataclasses.replace(problem(law), X=X), 3)
    others = [0, 1, 3, 4, 5]
    clean = answers_of(fitted(law, name), problem(law), 3)
    torch.testing.assert_close(answers(trace)[:, others], clean[:, others], rtol=1e-10, atol=1e-12)
    assert trace.outcome[2] == Outcome.NONFINITE
    assert answers(trace)[-1, 2].isnan().all()


@every_one
def test_it_lowers_the_objective_or_says_why_not(law: str, name: str) -> None:
    given, trace = problem(law), fitted(law, name).solve(problem(law), 3)
    if name in FEED_FORWARD or trace.weights is None:
        return
    start, end = (given.objective.value(given, trace.weights[at]) for at in (0, -1))
    assert (end < start).float().mean() > 0.5


@every_one
def test_what_was_fitted_can_be_put_back(law: str, name: str) -> None:
    solver = fitted(law, name)
    parameters = getattr(solver, "parameters", None)
    if parameters is not None:
        restored = dataclasses.replace(MADE[name], parameters=dict(parameters))  # type: ignore[call-arg]
        assert same(answers_of(restored, problem(law), 3), answers_of(solver, problem(law), 3))
