"""Counted work: against formulas, against torch's own counter, and in the table."""

from functools import partial
from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.catalogue import solvers  # noqa: F401  # it fills the registry
from benchmarks.catalogue.registry import SOLVERS
from benchmarks.cli.progress import _Lines
from benchmarks.harness.run import run_suite
from benchmarks.harness.timings.cost import count_work
from benchmarks.runs.read import read_run
from benchmarks.suites.suite import Suite
from benchmarks.tasks.gaussian import Anisotropic
from benchmarks.tasks.law import Purpose
from memformer.core.problem import Problem
from memformer.core.solver import Solver

D, N, B, K = 12, 30, 9, 4
LAW = Anisotropic(d=D, N=N)
SMALL = {"tasks": 16, "batch": 8, "iterations": 2}


@pytest.fixture
def problem() -> Problem:
    return LAW.stream(0, Purpose.TIMING).sample(B)


def fitted(name: str, **parameters: int) -> Solver:
    return SOLVERS.create(name, **parameters).fit(LAW.stream(0, Purpose.TRAIN), [K])


@pytest.mark.parametrize(
    ("name", "parameters", "products"),
    [
        ("cg", {}, K + 1),  # b = X^T y / N is one
        ("cgls", {}, 2 * K + 1),
        ("steepest_descent", {}, K + 1),
        ("nesterov_convex", {}, K + 1),
        ("pcg", {}, K + 1 + K + 1),
        ("newton_schulz", {}, 2 * K + 1),
        ("lfom_optimal", {"num_tasks": 50}, K + 1),
        ("memformer_conjugate_scalar", SMALL, K),  # the first layer starts from zero
        ("linear_transformer", SMALL, K + K),
        ("memformer_gdpp", SMALL, 1 + 4),  # matrices by matrices but in the last layer: H w, M^T r, Q and M
    ],
)
def test_products_are_those_that_the_method_takes(
    name: str, parameters: dict[str, int], products: int, problem: Problem
) -> None:
    solver = fitted(name, **parameters)
    assert count_work(lambda fresh: solver.solve(fresh, K), problem).products == pytest.approx(products)


@pytest.mark.parametrize(
    ("name", "leading", "slack"),
    [
        ("cg", 2 * N * D**2 + 2 * N * D + 2 * K * D**2, 30 * K * D),
        ("cgls", (2 * K + 1) * 2 * N * D, 10 * K * (N + D)),
        ("newton_schulz", 2 * N * D**2 + 2 * D**3 + K * (4 * D**3 + 4 * D**2), 8 * K * D**2),
    ],
)
def test_operations_are_those_of_the_formula_and_of_torchs_counter(
    name: str, leading: int, slack: int, problem: Problem
) -> None:
    solver = fitted(name)
    counted = count_work(lambda fresh: solver.solve(fresh, K), problem).flops
    with FlopCounterMode(display=False) as torchs:
        solver.solve(problem.blinded(), K)
    assert torchs.get_total_flops() / B <= counted <= torchs.get_total_flops() / B + slack
    assert leading <= counted <= leading + slack


def test_layers_that_numba_compiled_count_as_their_plain_operations_do(
    problem: Problem, monkeypatch: pytest.MonkeyPatch
) -> None:
    solver = fitted("memformer_gdpp", **SMALL)
    compiled = count_work(lambda fresh: solver.solve(fresh, K), problem)
    monkeypatch.setattr("memformer.kernels.gdpp._KERNEL_D", 0)
    plain = count_work(lambda fresh: solver.solve(fresh, K), problem)
    assert compiled.flops == pytest.approx(plain.flops, rel=0.2)
    assert compiled.peak_bytes < plain.peak_bytes


def test_factorisations_count() -> None:
    problem = Anisotropic(d=40, N=100).stream(0, Purpose.TIMING).sample(3)
    solver = fitted("ols")
    flops = count_work(lambda fresh: solver.solve(fresh, 1), problem).flops
    assert flops == pytest.approx(4 * 100 * 40**2 - 4 * 40**3 / 3, rel=0.1)


def test_memory_is_what_tensors_hold_at_once() -> None:
    problem = LAW.stream(0, Purpose.TIMING).sample(50)

    def hold_two_and_drop_three(fresh: Problem) -> torch.Tensor:
        for _ in range(3):
            _dropped = torch.zeros(1000)
            del _dropped
        kept = torch.zeros(5000)
        view = kept[:10].view(2, 5)
        return torch.zeros(7000) + kept.sum() + view.sum()

    peak = count_work(hold_two_and_drop_three, problem).peak_bytes
    assert 4 * (5000 + 2 * 7000) <= peak <= 4 * (5000 + 2 * 7000) + 100


def test_memory_of_cg_is_its_moments_and_that_of_cgls_is_not() -> None:
    problem = Anisotropic(d=60, N=60).stream(0, Purpose.TIMING).sample(20)
    cg, cgls = (count_work(partial(fitted(name).solve, num_steps=2), problem).peak_bytes for name in ("cg", "cgls"))
    moments = 20 * 60 * 60 * 8
    assert cg > moments > cgls


def test_what_the_problem_holds_is_not_counted(problem: Problem) -> None:
    assert count_work(lambda fresh: fresh.X.mT, problem).peak_bytes == 0


def test_the_table_says_it_and_leaves_empty_what_cannot_be_counted(tmp_path: Path) -> None:
    suite = Suite.model_validate(
        {
            "schema": 1,
            "name": "work",
            "steps": [2],
            "seeds": [0],
            "scores": {"tasks": 20},
            "timings": {"batch": 5, "repeats": 1},
            "tasks": [{"law": "isotropic", "d": 4, "N": 8, "batch": [3, 6]}],
            "solvers": ["cg", "scipy_cg"],
        }
    )
    table = read_run(run_suite(suite, tmp_path, None, ["x"], _Lines(), "work").path).timings
    assert table["batch"].tolist() == [3, 3, 6, 6]
    mine, scipys = (table[table["solver"] == name] for name in ("cg", "scipy_cg"))
    assert mine["products"].tolist() == [3, 3]
    assert mine["flops"].nunique() == 1, "operations are those of a task"
    assert mine["peak_bytes"].iloc[1] == pytest.approx(2 * mine["peak_bytes"].iloc[0], rel=0.1)
    assert scipys[["products", "flops", "peak_bytes"]].isna().all().all()
