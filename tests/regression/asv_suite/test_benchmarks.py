"""The asv benchmarks: their static lists, what they skip, what they refuse, and that they run."""

from __future__ import annotations

import math
from functools import partial

import pytest
import torch

from baselines.lfom_optimal import LfomOptimal
from benchmarks import api
from benchmarks.errors import UserError
from benchmarks.regression.asv_suite import catalogue, helpers, program, scoring, solving, training
from memformer import LearnedSolver


def test_the_static_lists_are_the_registry() -> None:
    assert sorted(catalogue.SOLVERS) == sorted(api.names("solver"))
    assert sorted(catalogue.LAWS) == sorted(api.names("law"))
    assert len(set(catalogue.SOLVERS)) == len(catalogue.SOLVERS)
    learned = [name for name in catalogue.SOLVERS if isinstance(api.solver(name), LearnedSolver)]
    assert learned == catalogue.LEARNED


def test_what_loops_over_tasks_is_given_few_of_them() -> None:
    assert sorted(catalogue.SLOW) == sorted(n for n in api.names("solver") if not api.solver(n).batched)


def test_what_has_to_be_fitted_has_a_budget_that_its_solver_knows() -> None:
    cheap = {"ridge", "ridge_cholesky", "bayes", "kernel_ridge", "logistic_bayes", "pcg"}
    cheap |= {"memformer_constructed", "memformer_constructed_preconditioned"}
    fitted = {name for name in api.names("solver") if api.solver(name).fitting.required} - cheap
    for budget in (catalogue.TIMED_BUDGET, catalogue.SCORED_BUDGET):
        assert fitted <= set(budget)
    for name in catalogue.SOLVERS:
        for budget in (catalogue.TIMED_BUDGET, catalogue.SCORED_BUDGET):
            helpers.make_solver(name, **budget.get(name, {}))


@pytest.mark.parametrize("law", catalogue.LAWS)
def test_every_solver_can_be_fitted_to_every_law_that_it_does_not_leave_out(
    law: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("baselines.constructed.LfomOptimal", partial(LfomOptimal, num_tasks=50))
    noise = {} if law in catalogue.NO_NOISE else {"noise_std": 0.1}
    drawn, left_out = helpers.make_law(law, d=3, N=8, **noise), set()
    for name in catalogue.SOLVERS:
        few = {"num_tasks": 50} if hasattr(helpers.make_solver(name), "num_tasks") else {}
        solver = helpers.make_solver(name, **catalogue.TIMED_BUDGET.get(name, {}) | few)
        try:
            helpers.check_applies(solver, drawn, name)
        except NotImplementedError:
            left_out.add(name)
            continue
        fitted = helpers.fitted(solver, drawn, (1,))
        fitted.solve(helpers.timed_problem(drawn, 2, torch.device("cpu")), 1)
    kernels = {"two_layer_relu", "random_features"}
    assert ("kernel_ridge" in left_out) == (law not in kernels)
    assert ("logistic_bayes" in left_out) == (law != "logistic")
    assert ("cg" in left_out) == (law in ("logistic", "outliers"))
    assert law not in {"real", *kernels} or {"ridge", "ridge_cholesky", "dmmse"} <= left_out


def test_a_law_without_true_weights_is_scored_on_its_labels() -> None:
    found, gap = scoring.score("ols", "real")
    assert 0 < found < 10
    assert math.isnan(gap)  # no floor is known
    assert scoring.score("kernel_ridge", "random_features")[1] == 0
    assert scoring.score("nearest_neighbours", "random_features")[1] > 1


@pytest.mark.parametrize(
    "make",
    [
        lambda: helpers.make_solver("no_such_solver"),
        lambda: helpers.make_solver("cg", no_such_parameter=1),
        lambda: helpers.make_law("no_such_law"),
        lambda: training.make_step(training.isotropic(3, 9, torch.device("cpu")), 2, no_such_part=1),
    ],
)
def test_what_a_commit_lacks_is_skipped(make) -> None:
    with pytest.raises(NotImplementedError):
        make()


def test_a_mistake_is_not_taken_for_something_that_is_lacking() -> None:
    with pytest.raises(UserError, match="d is 0"):
        helpers.make_law("isotropic", d=0)


@pytest.mark.parametrize(
    ("found", "error"),
    [
        ((math.nan, 0.0), FloatingPointError),
        ((math.inf, math.nan), FloatingPointError),
        ("ValueError: alas", RuntimeError),
    ],
)
def test_a_loss_that_is_not_finite_raises(found: scoring.Score, error: type[Exception]) -> None:
    suite = scoring.Score3Steps()
    scores = {"cg isotropic": found}
    suite.setup(scores, "cg", "isotropic")
    with pytest.raises(error):
        suite.track_log_test_loss(scores, "cg", "isotropic")


def test_a_missing_score_is_skipped_and_a_tiny_gap_has_a_least_value() -> None:
    suite = scoring.Score3Steps()
    with pytest.raises(NotImplementedError):
        suite.setup({"cg isotropic": "missing"}, "cg", "isotropic")
    assert suite.track_gap_to_floor({"cg isotropic": (1.0, -1e-9)}, "cg", "isotropic") == scoring.LEAST_GAP


def test_a_score_is_the_log_of_the_loss_in_units_of_the_noise() -> None:
    bayes, gap = scoring.score("bayes", "isotropic")
    assert gap == pytest.approx(0.0, abs=1e-9)
    # E[loss] = noise (1 + about d / (N - d - 1)) for d = 5, N = 20.
    assert bayes == pytest.approx(math.log(1 + 5 / 14), abs=0.03)
    ordinary, above = scoring.score("ols", "isotropic")
    assert ordinary - bayes == pytest.approx(above, abs=1e-12)


def test_what_tells_predictions_alone_is_scored_on_its_query_points(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(catalogue.SCORED_BUDGET, "transformer_relu", {"iterations": 2, "starts": 1, "width": 8})
    loss, gap = scoring.score("transformer_relu", "isotropic")
    assert loss == pytest.approx(math.log(5 / scoring.NOISE**2), abs=0.5)
    assert gap > 3  # above the best possible, on the same tasks but expected over their query points


def test_training_steps_of_learned_methods_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "make_solver", lambda name, **_: api.solver(name, iterations=1, batch=4, starts=1))
    suite = training.LearnedSteps()
    suite.setup("lstm_optimizer")
    suite.time_training_steps("lstm_optimizer")


@pytest.mark.parametrize("variant", list(catalogue.VARIANTS))
def test_each_variant_runs_on_the_cpu(variant: str) -> None:
    suite = training.Variant()
    suite.setup(variant, 2, "cpu")
    before = suite.model.loss()
    suite.time_training_step(variant, 2, "cpu")
    assert suite.model.loss() < before


@pytest.mark.parametrize("solver", ["cg", "bayes", "memformer_gdpp", "scipy_lsqr"])
def test_a_solve_is_of_a_fresh_problem_after_the_steps_asked_for(solver: str) -> None:
    suite = solving.SolveBySize()
    suite.setup(solver, 5, 1, "cpu")
    trace = suite.time_solve(solver, 5, 1, "cpu")
    assert len(trace.weights) == 2
    assert "moments" not in vars(suite.problem)


def test_the_harness_runs_its_cell() -> None:
    suite = program.Harness()
    suite.setup()
    assert suite.run() == "ok"
