"""The study of budgets counts what a fit draws and does."""

from __future__ import annotations

import pytest

from benchmarks import api
from benchmarks.catalogue.registry import SOLVERS
from benchmarks.tasks.law import Purpose
from benchmarks.validation import budgets
from memformer.core.solver import Fitting


def test_tasks_of_a_fit_are_counted_whatever_stream_they_come_from():
    """lfom: 4,096 validation tasks and `iterations * batch` others, of a stream spread over rare ones."""
    drawn, flops = budgets.spent(api.solver("lfom", iterations=10, batch=64), api.law("isotropic"), 2)
    assert drawn == 4096 + 640
    more, twice = budgets.spent(api.solver("lfom", iterations=20, batch=64), api.law("isotropic"), 2)
    assert more == drawn + 640
    assert flops < twice < 2 * flops
    # The Memformer's recipe says itself how many it draws; its validation tasks come besides.
    model = api.solver("memformer_first_order", iterations=8, tasks=400, batch=100)
    drawn, _ = budgets.spent(model, api.law("isotropic"), 2)
    record = model.fit(api.law("isotropic").stream(0, Purpose.TRAIN), [2], 0).training_record(2)
    assert record is not None
    assert record.tasks is not None
    assert drawn == record.tasks + 200


def test_a_row_says_what_twice_the_budget_brings():
    row = budgets.row("heavy_ball_tuned", {"num_tasks": 300}, api.law("isotropic"), 2_000, 2)
    assert row["tasks drawn"] == "300"
    assert abs(row["twice as much"]) < 0.05
    assert row["10^9 operations"] > 0


@pytest.mark.parametrize("name", budgets.BUDGETS)
def test_what_is_listed_is_fitted_at_random_with_its_default_budget(name):
    solver = SOLVERS.create(name)
    assert solver.fitting is Fitting.RANDOM
    ((parameter, value),) = budgets.BUDGETS[name].items()
    default = getattr(solver, parameter)
    if default is None:
        default = solver.recipe.steps_for(solver.config(d=5, N=20, depth=budgets.STEPS), budgets.STEPS)
    assert value == default
