"""The hot paths, for people in the middle of an edit; run by `make bench`, not with the tests."""

from __future__ import annotations

import pytest
import torch

from benchmarks.catalogue.registry import LAWS, SOLVERS
from benchmarks.regression.asv_suite.catalogue import TIMED_BUDGET, VARIANTS
from benchmarks.regression.asv_suite.training import Variant
from benchmarks.tasks.law import Purpose

SOLVED = (
    "gradient_descent",
    "heavy_ball",
    "nesterov",
    "chebyshev",
    "cg",
    "pcg",
    "lfom_optimal",
    "bayes",
    "memformer_conjugate",
    "memformer_first_order",
    "memformer_gdpp",
)


@pytest.mark.benchmark(group="solve")
@pytest.mark.parametrize("d", [5, 20])
@pytest.mark.parametrize("name", SOLVED)
def test_solve(timed, name: str, d: int) -> None:
    law = LAWS.create("anisotropic", d=d, N=4 * d)
    solver = SOLVERS.create(name, **TIMED_BUDGET.get(name, {})).fit(law.stream(0, Purpose.TRAIN), [4], seed=0)
    problem = law.stream(0, Purpose.TIMING).sample(200).blinded()
    timed(lambda: solver.solve(problem.blinded(), 4))


@pytest.mark.benchmark(group="training step")
@pytest.mark.parametrize("variant", list(VARIANTS))
def test_training_step(timed, variant: str) -> None:
    suite = Variant()
    suite.setup(variant, 4, "cpu")
    timed(lambda: suite.time_training_step(variant, 4, "cpu"))


@pytest.mark.benchmark(group="moments")
@pytest.mark.parametrize("d", [5, 20])
def test_moments(timed, d: int) -> None:
    problem = LAWS.create("isotropic", d=d, N=4 * d).stream(0, Purpose.TIMING, torch.float64).sample(1000)
    timed(lambda: problem.blinded().moments)


@pytest.mark.benchmark(group="draw")
@pytest.mark.parametrize("name", list(LAWS))
def test_draw(timed, name: str) -> None:
    law = LAWS.create(name, d=5, N=20, noise_std=0.1)
    timed(lambda: law.stream(0, Purpose.TIMING).sample(1000))
