"""What every registered solver promises; a new solver joins by its line in benchmarks/catalogue/built_in.toml."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, cast

import numpy as np
import pytest
import torch

from baselines.constructed import ConstructedMemformer
from benchmarks.catalogue.registry import SOLVERS
from benchmarks.harness.guard import Seal, checked
from benchmarks.tasks.gaussian import Isotropic
from benchmarks.tasks.law import Purpose
from benchmarks.tasks.random_features import RandomFeatures
from memformer.core.objective import LeastSquares
from memformer.core.problem import Problem
from memformer.core.solver import Needs, Solver
from memformer.core.trace import Outcome, Trace
from memformer.solvers.adaptive import AdaptiveMemformer
from memformer.solvers.learned import LearnedSolver
from memformer.solvers.memformer import Memformer
from tests.baselines.helpers import scored, training

STEPS = (1, 2, 3)
LAW = Isotropic(d=3, N=8, noise_std=0.1)
WIDE = Isotropic(d=4, N=2)
NAMES = [name for name in SOLVERS if issubclass(LeastSquares, SOLVERS.create(name).serves)]


def _of(*kinds: type[Solver]) -> list[str]:
    return [name for name in SOLVERS if issubclass(SOLVERS[name].load(), kinds)]


SMALL: dict[str, dict[str, Any]] = {
    "lfom": {"iterations": 25, "batch": 64},
    "lfom_diagonal": {"iterations": 25, "batch": 64},
    "lfom_optimal": {"num_tasks": 2000},
    "lfom_optimal_preconditioned": {"num_tasks": 2000},
    "gradient_descent_tuned": {"num_tasks": 300},
    "heavy_ball_tuned": {"num_tasks": 300},
    "heavy_ball_tuned_preconditioned": {"num_tasks": 300},
    "nesterov_tuned": {"num_tasks": 300},
    "nesterov_tuned_preconditioned": {"num_tasks": 300},
    "newton_schulz_law": {"num_tasks": 300},
    "dmmse": {"num_tasks": 300},
    **{name: {"tasks": 200, "iterations": 4} for name in SOLVERS if issubclass(SOLVERS[name].load(), Memformer)},
    **{
        name: {"batch": 16, "iterations": 3, "starts": 1}
        for name in SOLVERS
        if issubclass(SOLVERS[name].load(), LearnedSolver)
    },
}
"""Budgets that suffice here: the contract asks nothing of quality."""

FEED_FORWARD = dict.fromkeys(
    _of(Memformer, ConstructedMemformer, LearnedSolver),
    "layers have no stopping test, and the test loss was minimised",
) | {
    "eigenvalues": "it is no method, and its answer stays zero",
    "nearest_neighbours": "it has no weights that could fit the context",
    "kernel_ridge": "it has no weights that could fit the context",
    "dmmse": "it answers a mean of its pool, whatever the task",
}
"""Solvers that take all their steps whatever the task, and need not lower the loss on its context."""

OWN_UNITS = {
    "lasso": "its penalty is in units of x times y",
    "dmmse": "it knows those of the labels, through the noise",
    "nearest_neighbours": "it compares the queries with the context, and only the context changes its units",
}
"""Solvers that units matter to, and why."""

NEVER_ZERO = {"dmmse": "it answers a mean of its pool, whatever the labels"}
"""Solvers that do not answer labels of zero with zero, and why."""

SINGULAR_BREAKS = {"scipy_solve": "a Cholesky factorisation of a singular H does not exist"}
"""Solvers that may break down on every task when N < d, and why."""

SCIPY_MINIMIZE_GIVES_UP = {
    "scipy_minimize_newton_cg": "its line search fails at the level of rounding, which is a breakdown of that task",
    "scipy_minimize_cg": "its line search fails at the level of rounding, which is a breakdown of that task",
    "scipy_minimize_bfgs": "its line search fails at the level of rounding, which is a breakdown of that task",
    "scipy_minimize_lbfgsb": "its line search fails at the level of rounding, which is a breakdown of that task",
}
"""Solvers whose iterates in float32 and float64 may part, and why."""


WITH_KERNEL = {"kernel_ridge": "it needs a law that states the covariance of its labels"}
"""Solvers that are fitted on random features of the same size and noise, and why."""

FUNCTIONS = {"bayes": "its prior is a function", "kernel_ridge": "its kernel is a function"}
"""Solvers that keep something of the law that is no parameter, and what."""


def newly_fitted(name: str, law: Isotropic = LAW) -> Solver:
    tasks = training(law)
    if name in WITH_KERNEL:
        tasks = RandomFeatures(d=law.d, N=law.N, noise_std=law.noise_std).stream(1, Purpose.TRAIN)
    return SOLVERS.create(name, **SMALL.get(name, {})).fit(tasks, STEPS, seed=0)


fitted = cache(newly_fitted)


@cache
def problem() -> Problem:
    return scored(LAW, 6)


def answers(trace: Trace) -> torch.Tensor:
    """Its weights, or the predictions of a solver that has none."""
    found = trace.predictions if trace.weights is None else trace.weights
    assert found is not None
    return found


def answers_of(solver: Solver, given: Problem, num_steps: int) -> torch.Tensor:
    return answers(solver.solve(given, num_steps))


def same(left: torch.Tensor | None, right: torch.Tensor | None) -> bool:
    assert left is not None
    assert right is not None
    return torch.equal(left.nan_to_num(nan=12345.0), right.nan_to_num(nan=12345.0))


every_solver = pytest.mark.parametrize("name", NAMES)


@every_solver
def test_is_a_frozen_dataclass_that_says_what_it_needs(name):
    solver = fitted(name)
    assert dataclasses.is_dataclass(solver)
    assert isinstance(solver.needs, Needs)
    with pytest.raises(dataclasses.FrozenInstanceError):
        solver.needs = Needs.NOTHING  # type: ignore[misc]
    assert SOLVERS[name].summary


@every_solver
def test_a_batch_is_a_loop_of_singles(name):
    trace = fitted(name).solve(problem(), 3)
    for i in range(problem().B):
        single = fitted(name).solve(problem().select(slice(i, i + 1)), 3)
        torch.testing.assert_close(answers(trace)[:, i], answers(single)[:, 0], rtol=1e-9, atol=1e-11)
        assert trace.outcome[i] == single.outcome[0]
        assert trace.finished[i] == single.finished[0]


@contextmanager
def odd_modes() -> Iterator[None]:
    """What a caller may have switched in torch for its own purposes."""
    torch.set_default_dtype(torch.float16)
    try:
        with torch.inference_mode(), torch.device("meta"):
            yield
    finally:
        torch.set_default_dtype(torch.float32)


@every_solver
def test_the_same_call_gives_the_same_bits_whatever_the_modes_of_torch(name):
    assert same(answers_of(fitted(name), problem(), 3), answers_of(fitted(name), problem(), 3))
    with odd_modes():
        again = newly_fitted(name, Isotropic(d=3, N=8, noise_std=0.1))
        odd = answers_of(again, problem(), 3)
        if isinstance(again, AdaptiveMemformer):
            again.adapt(problem()).solve(problem(), 3)
    assert same(answers_of(fitted(name), problem(), 3), odd)
    assert same(answers_of(again, problem(), 3), odd)
    assert (again == fitted(name)) == (name != "bayes")  # its prior is a function


@every_solver
def test_equal_solvers_are_those_with_the_same_settings_and_parameters(name):
    solver: Any = fitted(name)
    parameters = getattr(solver, "parameters", None)
    if parameters is None:
        assert {solver: 1}[dataclasses.replace(solver)] == 1
        return
    key, first = next(iter(parameters.items()))
    assert {solver: 1}[dataclasses.replace(solver, parameters={**parameters, key: first.clone()})] == 1
    assert solver != dataclasses.replace(solver, parameters={**parameters, key: first + 1})
    assert solver != dataclasses.replace(solver, parameters=None)


@every_solver
def test_steps_may_be_counted_by_numpy(name):
    assert same(answers_of(fitted(name), problem(), cast("int", np.int64(3))), answers_of(fitted(name), problem(), 3))


@every_solver
@pytest.mark.parametrize(
    ("of_X", "of_y"), [(2.0**-27, 2.0**-27), (2.0**-40, 2.0**-40), (2.0**40, 1.0), (1.0, 2.0**-50)]
)
def test_units_are_no_matter_in_single_precision(name, of_X, of_y):
    if name in OWN_UNITS or name.startswith("scipy_minimize") or (fitted(name).needs is Needs.LAW and of_X != 1):
        return  # searches along a line that are not in proportion; methods that know the units of the law
    given = problem().to(torch.float32)
    wanted = answers_of(fitted(name), given, 3)
    trace = fitted(name).solve(Problem(of_X * given.X, of_y * given.y, given.x_query), 3)
    if name == "barzilai_borwein_short" and of_X in (2.0**-40, 2.0**40):
        assert (trace.outcome == Outcome.BREAKDOWN).all()  # it squares H g, which has no square in these units
        return
    torch.testing.assert_close(answers(trace) * (of_X / of_y), wanted, rtol=1e-4, atol=1e-5)
    assert (trace.outcome < Outcome.DIVERGED).all()


@every_solver
def test_gradients_are_finite_beside_a_task_that_is_solved(name):
    X, y = problem().X.clone(), problem().y.clone()
    y[2] = 0
    weights = answers_of(fitted(name), Problem(X.requires_grad_(), y.requires_grad_(), problem().x_query), 3)
    if weights.requires_grad:
        slopes = torch.autograd.grad(weights[-1].sum(), (X, y), allow_unused=True)
        assert all(slope is None or slope.isfinite().all() for slope in slopes)


@every_solver
def test_single_precision_is_kept_and_close(name):
    single = answers_of(fitted(name), problem().to(torch.float32), 3)
    assert single.dtype == torch.float32
    assert single.isfinite().all()
    if name not in SCIPY_MINIMIZE_GIVES_UP:
        torch.testing.assert_close(single.double(), answers_of(fitted(name), problem(), 3), rtol=2e-3, atol=2e-3)


@every_solver
def test_the_problem_is_not_modified_and_the_trace_is_what_a_trace_must_be(name):
    given = dataclasses.replace(problem())
    before = [tensor.clone() for tensor in (given.X, given.y, given.x_query, *given.moments)]
    seal = Seal(given)
    trace = fitted(name).solve(given, 3)
    seal.check()
    assert checked(trace, given, 3) is trace
    after = (given.X, given.y, given.x_query, *given.moments)
    assert all(torch.equal(one, other) for one, other in zip(before, after, strict=True))


@every_solver
def test_it_needs_no_hidden_labels(name):
    assert same(answers_of(fitted(name), problem().blinded(), 3), answers_of(fitted(name), problem(), 3))


@every_solver
def test_zero_labels_are_solved_at_the_start(name):
    blank = dataclasses.replace(problem(), y=torch.zeros_like(problem().y))
    trace = fitted(name).solve(blank, 3)
    assert name in NEVER_ZERO or not answers(trace).any()
    if name in FEED_FORWARD:
        return
    assert (trace.outcome == Outcome.CONVERGED).all()
    direct = name in ("ols", "ridge", "ridge_cholesky", "ridge_loo", "bayes", "lasso")
    assert (trace.finished == (1 if direct else 0)).all()


@every_solver
def test_a_solved_task_leaves_the_others_alone(name):
    y = problem().y.clone()
    y[2] = 0
    others = [0, 1, 3, 4, 5]
    mixed = answers_of(fitted(name), dataclasses.replace(problem(), y=y), 3)
    assert same(mixed[:, others], answers_of(fitted(name), problem(), 3)[:, others])
    assert name in NEVER_ZERO or not mixed[:, 2].any()


@every_solver
@pytest.mark.parametrize("poison", ["X", "y"])
def test_a_nonfinite_task_is_marked_and_leaves_the_others_alone(name, poison):
    tensor = getattr(problem(), poison).clone()
    tensor[2, 1] = torch.nan if poison == "X" else torch.inf
    trace = fitted(name).solve(dataclasses.replace(problem(), **{poison: tensor}), 3)
    clean = fitted(name).solve(problem(), 3)
    others = [0, 1, 3, 4, 5]
    assert same(answers(trace)[:, others], answers(clean)[:, others])
    assert torch.equal(trace.outcome[others], clean.outcome[others])
    assert trace.outcome[2] == Outcome.NONFINITE
    assert answers(trace)[-1, 2].isnan().all()


@every_solver
def test_fewer_examples_than_dimensions(name):
    given = scored(WIDE, 6)
    trace = fitted(name, WIDE).solve(given, 3)
    if name in SINGULAR_BREAKS:
        assert (trace.outcome == Outcome.BREAKDOWN).any()
    else:
        assert (trace.outcome < Outcome.DIVERGED).all() or name in SCIPY_MINIMIZE_GIVES_UP
        if name not in FEED_FORWARD:
            after = ((given.X @ answers(trace)[-1][..., None])[..., 0] - given.y).square().mean()
            assert after < (given.y**2).mean()
    assert answers(trace).isfinite().all()


@every_solver
def test_no_steps_is_the_start(name):
    trace = fitted(name).solve(problem(), 0)
    assert answers(trace).shape == (1, 6, 3 if trace.predictions is None else 1)
    assert not answers(trace).any()
    assert not trace.finished.any()


@pytest.mark.parametrize("name", [name for name in NAMES if SOLVERS.create(name).anytime])
def test_one_run_tells_all_shorter_ones_if_it_says_so(name):
    solver = fitted(name)
    whole = solver.solve(problem(), 3)
    for steps in (1, 2):
        part = solver.solve(problem(), steps)
        torch.testing.assert_close(answers(whole)[: steps + 1], answers(part), rtol=1e-12, atol=1e-14)
        assert torch.equal(whole.outcome_at(steps), part.outcome)


@every_solver
@pytest.mark.parametrize("steps", [-1, 1.5, True])
def test_a_wrong_number_of_steps_is_refused(name, steps):
    with pytest.raises(ValueError, match="step"):
        fitted(name).solve(problem(), steps)


FITTED = [name for name in NAMES if SOLVERS[name].load().fitting.required]


@pytest.mark.parametrize("name", FITTED)
def test_what_must_be_fitted_says_so(name):
    with pytest.raises(ValueError, match="call fit first"):
        SOLVERS.create(name).solve(problem(), 1)


@pytest.mark.parametrize("name", [name for name in FITTED if name not in FUNCTIONS])
def test_what_was_fitted_can_be_put_back(name):
    solver = fitted(name)
    parameters = {key: value.clone() for key, value in getattr(solver, "parameters").items()}  # noqa: B009
    restored = SOLVERS.create(name, parameters=parameters)
    assert same(answers_of(restored, problem(), 3), answers_of(solver, problem(), 3))
