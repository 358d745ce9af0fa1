"""Scores agree between floating-point types and devices, within tolerances that are stated here."""

import dataclasses

import numpy as np
import pytest
import torch

from benchmarks.catalogue.registry import SOLVERS
from benchmarks.harness.cell import Cell
from benchmarks.harness.scores.fitting import ParameterStore
from benchmarks.harness.scores.measure import run_cell
from benchmarks.tasks.gaussian import Isotropic

CPU = torch.device("cpu")
TOLERANCE = {"float32": 2e-4, "float64": 1e-9}
"""Largest difference between log mean losses of the same tasks in the other type, or on the other device."""

HERE = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}


def log_losses(cell: Cell) -> np.ndarray:
    result = run_cell(cell, ParameterStore())
    assert result.status == "ok", result.reason
    return np.log(result.measured[0].losses["expected_test_loss"].mean(1))


def cell_of(name: str, dtype: torch.dtype) -> Cell:
    law, solver = Isotropic(noise_std=0.3), SOLVERS.create(name)
    return Cell("isotropic", law, name, solver, {}, (1, 2, 3), (0,), 500, dtype, CPU, 60.0)


NAMES = ["cg", "cgls", "heavy_ball", "steepest_descent", "ols", "ridge", "pcg", "chebyshev"]


@pytest.mark.parametrize("name", NAMES)
def test_single_and_double_precision_agree(name: str) -> None:
    double, single = (log_losses(cell_of(name, dtype)) for dtype in (torch.float64, torch.float32))
    assert not (double == single).all(), "they must be other computations"
    np.testing.assert_allclose(single, double, atol=TOLERANCE["float32"])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("kind", "dtype"), [("cuda", "float64"), ("cuda", "float32"), ("mps", "float32")])
def test_devices_agree(kind: str, dtype: str, name: str) -> None:
    if not HERE[kind]:
        pytest.skip(f"this machine has no {kind} device")
    cell = cell_of(name, getattr(torch, dtype))
    other = log_losses(dataclasses.replace(cell, device=torch.device(kind)))
    np.testing.assert_allclose(other, log_losses(cell), atol=TOLERANCE[dtype])
