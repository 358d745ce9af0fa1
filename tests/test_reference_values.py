"""Log test losses against reference values that were computed elsewhere, on tasks drawn here."""

from __future__ import annotations

import pytest
import torch

from baselines.truth_lines import lfom_floor
from benchmarks.catalogue.metrics import expected_test_loss
from benchmarks.catalogue.registry import SOLVERS
from benchmarks.tasks.gaussian import Anisotropic, Isotropic
from benchmarks.tasks.law import Law, Purpose

ISOTROPIC, ANISOTROPIC = Isotropic(d=5, N=20), Anisotropic(d=5, N=20)

SOLVER_VALUES = [
    (ISOTROPIC, "cg", [-0.09, -1.78, -3.76, -6.37]),
    (ANISOTROPIC, "cg", [0.69, 0.145, -0.61, -1.60]),
    (ANISOTROPIC, "pcg", [-0.09, -1.78, -3.77, -6.41]),
]
"""Values of 200,000 tasks: exact to 0.01 for k <= 2, 0.02 for k = 3, 0.05 for k = 4."""

FLOOR_VALUES = [
    (ISOTROPIC, False, 100_000, [0.143, -1.019, -2.014, -2.90]),
    (ANISOTROPIC, False, 100_000, [0.810, 0.443, 0.151, -0.136]),
    (ANISOTROPIC, True, 100_000, [0.143, -1.019, -2.014, -2.90]),
    (Isotropic(d=10, N=40), False, 60_000, [0.768, -0.525, -1.67, -2.77]),
    (Isotropic(d=40, N=160), False, 4_000, [2.099, 0.702, -0.636, -1.942]),
]
"""LFOM floors, with and without the law's preconditioner, and the tasks that settle them to the tolerance."""

TOLERANCE = torch.tensor([0.015, 0.02, 0.04, 0.10], dtype=torch.float64)
"""Of both sides together: theirs above, ours from as many tasks."""


@pytest.mark.parametrize(("law", "name", "values"), SOLVER_VALUES)
def test_a_solver_reaches_its_reference_value(law: Law, name: str, values: list[float]) -> None:
    stream = law.stream(0, Purpose.TRUTH)
    solver = SOLVERS.create(name).fit(stream, [4])
    problem = stream.sample(200_000)
    losses = expected_test_loss(problem, solver.solve(problem.blinded(), 4))
    assert losses is not None
    difference = losses.mean(1).log()[1:] - torch.tensor(values, dtype=torch.float64)
    assert (difference.abs() < TOLERANCE).all(), difference


@pytest.mark.parametrize(("law", "preconditioned", "tasks", "values"), FLOOR_VALUES)
def test_the_floor_has_its_reference_value(law: Law, preconditioned: bool, tasks: int, values: list[float]) -> None:
    floor = lfom_floor(law.stream(0, Purpose.TRUTH), 4, tasks, preconditioned)
    difference = floor.loss.log()[1:] - torch.tensor(values, dtype=torch.float64)
    assert (difference.abs() < TOLERANCE).all(), difference


def test_least_squares_is_exact_to_rounding() -> None:
    problem = ANISOTROPIC.stream(0, Purpose.SCORE).sample(10_000)
    losses = expected_test_loss(problem, SOLVERS.create("ols").solve(problem.blinded(), 1))
    assert losses is not None
    assert losses[1].max() < 1e-24


@pytest.mark.parametrize("N", [1, 4, 9])
def test_least_squares_below_d_loses_what_the_context_does_not_tell(N: int) -> None:
    """Of the d prior variances N are seen: `d - N` on average, exactly."""
    problem = Isotropic(d=10, N=N).stream(0, Purpose.SCORE).sample(20_000)
    losses = expected_test_loss(problem, SOLVERS.create("ols").solve(problem.blinded(), 1))
    assert losses is not None
    error = losses[1].std().item() / problem.B**0.5
    assert error < 0.015 * (10 - N)
    assert losses[1].mean().item() == pytest.approx(10 - N, abs=5 * error)
