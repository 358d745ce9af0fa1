"""What training found: the table of losses, on models whose losses are known."""

from __future__ import annotations

import math

import pytest

from baselines.constructed import ConstructedMemformer
from baselines.exact_law import gaussian_tasks
from baselines.exact_risk import exact_risk
from benchmarks import api
from benchmarks.tasks.law import Purpose
from benchmarks.validation.what_training_found import loss_table
from memformer.solvers.memformer import Memformer


def test_losses_of_a_polynomial_are_exact_and_its_model_as_far_above_the_floor() -> None:
    law = api.law("anisotropic")
    stream = law.stream(0, Purpose.TRUTH)
    exact = gaussian_tasks(stream, preconditioned=True)
    assert exact is not None
    made = ConstructedMemformer("chebyshev", preconditioned=True).fit(stream, [3, 4])
    assert made.parameters is not None
    longer = {**made.parameters, "Q": 1.1 * made.parameters["Q"]}  # steps, which makes it worse than the best
    solver = Memformer(memory="conjugate", parameters=longer)
    table = loss_table(law, solver, 20_000)
    assert table["layers"].tolist() == [3, 4]
    for row in table.to_dict("records"):
        known = math.log(exact_risk(solver, exact, row["layers"], law.second_moment))
        assert row["polynomial"] == pytest.approx(known, abs=1e-9)
        assert row["model above the floor"] == pytest.approx(known - row["floor"], rel=0.1)
        assert known > row["floor"] + 0.05
