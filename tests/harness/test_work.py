"""Counted work: against numbers derived by hand, and in the table."""

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import cloudpickle
import pytest
import torch
from torch import Tensor

from benchmarks.catalogue.registry import SOLVERS
from benchmarks.cli.progress import _Lines
from benchmarks.harness.run import run_suite
from benchmarks.harness.timings.cost import count_work
from benchmarks.runs.read import read_run
from benchmarks.suites.suite import Suite
from benchmarks.tasks.gaussian import Anisotropic, Isotropic
from benchmarks.tasks.law import Purpose
from memformer.core.problem import Problem
from memformer.core.solver import Needs, Solver
from memformer.core.trace import Trace
from memformer.kernels import gdpp as gdpp_kernel
from memformer.ledger import matmul

D, N, B, K = 12, 30, 9, 4
LAW = Anisotropic(d=D, N=N)
SMALL = {"tasks": 16, "batch": 8, "iterations": 2}
TOKENS = {**SMALL, "gamma": "token"}


@pytest.fixture
def problem() -> Problem:
    return tasks(LAW)


def tasks(law: Anisotropic | Isotropic, count: int = B) -> Problem:
    return law.stream(0, Purpose.TIMING).sample(count)


def fitted(name: str, law: Anisotropic | Isotropic = LAW, **parameters: object) -> Solver:
    return SOLVERS.create(name, **parameters).fit(law.stream(0, Purpose.TRAIN), [K])


# What products there are in four steps. Forming H takes d with X^T, and b = X^T y / N one more.
def moments(d: int, N: int) -> int:
    return d + 1


def first_order(d: int, N: int) -> int:  # and the gradient at each new iterate
    return moments(d, N) + 4


def preconditioned(d: int, N: int) -> int:  # and one with C at the start, and in each step
    return first_order(d, N) + 1 + 4


def on_X(d: int, N: int) -> int:  # X^T y; in each step one with X, one with X^T
    return 1 + 4 * 2


def newton(d: int, N: int) -> int:  # H H; in each step H M, M (H M), and M b, H w
    return moments(d, N) + d + 4 * (2 * d + 2)


def newton_from_law(d: int, N: int) -> int:  # no H H
    return newton(d, N) - d


def scalar_layers(d: int, N: int) -> int:  # the first layer starts from w = 0 and needs no H w
    return moments(d, N) + 3


def full_layers(d: int, N: int) -> int:  # and one with each layer's Q
    return scalar_layers(d, N) + 4


def registers(d: int, N: int) -> int:  # and one with the matrix of each register: 1 + 2 + 3 + 4
    return scalar_layers(d, N) + 10


def gdpp(d: int, N: int) -> int:
    # [H M | r] has d + 1 columns. H, M^T, Q and M multiply all of them, P the d of covariates; the first layer needs
    # neither H nor M^T; the last has one column, the label, and no P.
    whole = 4 * (d + 1) + d
    return moments(d, N) + (whole - 2 * (d + 1)) + 2 * whole + 4


def gdpp_tokens(
    d: int, N: int
) -> int:  # the context's own covariates, Q, P and M, three times; X^T, Q and M of a label
    return 3 * (3 * (d + 1) + d) + 3


def label_tokens(d: int, N: int) -> int:  # in each layer X^T and Q, and X for the labels that a next one reads
    return 4 * 2 + 3


def softmax(d: int, N: int) -> int:  # by definition, on T = N + 1 tokens of d + 1 features: Z Q Z^T M Z P^T
    return 4 * ((d + 1) + (N + 1) + (N + 1) + (d + 1) + (d + 1))


COUNTED = [
    ("gradient_descent", {}, first_order),
    ("gradient_descent_tuned", {"num_tasks": 50}, first_order),
    ("heavy_ball_tuned_preconditioned", {"num_tasks": 50}, preconditioned),
    ("nesterov_tuned_preconditioned", {"num_tasks": 50}, preconditioned),
    ("steepest_descent", {}, first_order),
    ("barzilai_borwein", {}, first_order),
    ("heavy_ball", {}, first_order),
    ("nesterov", {}, first_order),
    ("nesterov_convex", {}, first_order),
    ("chebyshev", {}, first_order),
    ("marchenko_pastur", {}, first_order),
    ("cg", {}, first_order),
    ("pcg", {}, preconditioned),
    ("cgls", {}, on_X),
    ("newton_schulz", {}, newton),
    ("newton_schulz_law", {"num_tasks": 50}, newton_from_law),
    ("lfom", {"iterations": 2, "batch": 8}, first_order),
    ("lfom_diagonal", {"iterations": 2, "batch": 8}, first_order),
    ("lfom_optimal", {"num_tasks": 50}, first_order),
    ("lfom_optimal_preconditioned", {"num_tasks": 50}, preconditioned),
    ("memformer_constructed", {}, scalar_layers),
    ("memformer_constructed_preconditioned", {}, full_layers),
    ("linear_transformer", SMALL, full_layers),
    ("memformer_conjugate", SMALL, registers),
    ("memformer_conjugate_scalar", SMALL, scalar_layers),
    ("memformer_first_order", SMALL, registers),
    ("memformer_first_order", {**SMALL, "window": 1}, full_layers),
    ("memformer_first_order", TOKENS, label_tokens),
    ("memformer_first_order_scalar", SMALL, scalar_layers),
    ("memformer_gdpp", SMALL, gdpp),
    ("memformer_gdpp", TOKENS, gdpp_tokens),
    ("linear_transformer", {**SMALL, "attention": "softmax"}, softmax),
    ("ols", {}, lambda d, N: 1),  # Q^T y; a factorisation is no product
    ("ridge", {}, lambda d, N: 1),
    ("ridge_cholesky", {}, moments),
    ("ridge_loo", {}, lambda d, N: 1 + 29 + 29 + 2),  # U^T y; U, and its squares, for 29 penalties; V and U^T y
    ("bayes", {}, lambda d, N: 1),
]


# At N = 25 = d^2 and N = 20 = 4 d sizes alone do not tell which product it is.
@pytest.mark.parametrize(("d", "size"), [(5, 20), (5, 25), (7, 12)])
@pytest.mark.parametrize(("name", "parameters", "products"), COUNTED)
def test_products_are_those_derived_by_hand(name, parameters, products, d: int, size: int) -> None:
    law = Isotropic(d=d, N=size)
    solver = fitted(name, law, **parameters)
    few, many = (count_work(lambda fresh: solver.solve(fresh, K), tasks(law, count)) for count in (3, 20))
    assert few.products == products(d, size)
    assert (many.products, many.flops) == (few.products, few.flops), "work is that of a task, whatever the batch"


@pytest.mark.parametrize("size", [24, 25, 26])
def test_newton_schulz_counts_one_number_whatever_the_context(size: int) -> None:
    law = Isotropic(d=5, N=size)
    counted = count_work(lambda fresh: fitted("newton_schulz", law).solve(fresh, 3), tasks(law))
    # X^T X: 5, X^T y: 1, H H: 5; three times H M: 5, M (H M): 5, M b: 1, H w: 1.
    assert counted.products == 47


def test_operations_of_cg_are_those_derived_by_hand() -> None:
    law = Isotropic(d=5, N=20)
    counted = count_work(lambda fresh: fitted("cg", law).solve(fresh, 4), tasks(law))
    moments = 2 * 20 * 25 + 25 + 2 * 20 * 5 + 5
    start = 5 + 5 + 2 * 5  # -b, -g, g^T g
    step = 2 * 25 + 2 * 2 * 5 + 3 * 2 * 5 + 5 + 2  # H p; p^T H p and g^T g; w, g and p; -g; alpha and beta
    limits = 2 * 2 * 5 + 2 + 4 * 2 * 5  # norms of gradients, and what they are compared with
    assert counted.flops == moments + start + 4 * step + limits == 1740


def test_operations_of_layers_are_those_derived_by_hand() -> None:
    law = Isotropic(d=5, N=20)
    moments = 2 * 20 * 25 + 25 + 2 * 20 * 5 + 5
    first_order, gdpp = (fitted(name, law, **SMALL) for name in ("memformer_first_order", "memformer_gdpp"))
    assert count_work(lambda fresh: first_order.solve(fresh, 4), tasks(law)).flops == moments + 13 * 2 * 25
    # The layers' products, 2 d^2 a column; of V P'^T, 2 (d + 1)^2 d; registers, 2 for each number and source.
    whole, label = 4 * 6 * 50 + 2 * 36 * 5, 4 * 50 + 2 * 5
    memory = 2 * (30 * (1 + 2 + 3) + 5 * 4)
    assert count_work(lambda fresh: gdpp.solve(fresh, 4), tasks(law)).flops == (
        moments + 3 * whole - 2 * 6 * 50 + label + memory
    )


HEADS = {"heads": 2, "gamma_per_head": True}
BY_KERNEL = [
    ("memformer_gdpp", SMALL),
    ("memformer_gdpp", TOKENS),
    ("memformer_gdpp", {**SMALL, **HEADS}),
    ("memformer_gdpp", {**SMALL, **HEADS, "window": 2}),
    ("memformer_first_order", TOKENS),
    ("memformer_first_order", {**TOKENS, **HEADS}),
]


@pytest.mark.parametrize(("name", "parameters"), BY_KERNEL)
def test_work_is_the_same_by_the_kernel_and_by_plain_operations(name, parameters, problem, monkeypatch) -> None:
    solver = fitted(name, **parameters)
    compiled = count_work(lambda fresh: solver.solve(fresh, K), problem)
    monkeypatch.setattr("memformer.kernels.gdpp._KERNEL_D", 0)
    plain = count_work(lambda fresh: solver.solve(fresh, K), problem)
    assert (compiled.products, compiled.flops) == (plain.products, plain.flops)
    assert compiled.peak_bytes < plain.peak_bytes


@pytest.mark.parametrize(("name", "parameters"), BY_KERNEL)
def test_what_a_kernel_states_is_what_its_plain_operations_do(name, parameters, monkeypatch) -> None:
    problem = tasks(LAW, 100)  # so many that what is done once for all of them is little
    solver = fitted(name, **parameters)
    stated = count_work(lambda fresh: solver.solve(fresh, K), problem).flops
    monkeypatch.setattr("memformer.kernels.gdpp._KERNEL_D", 0)
    monkeypatch.setattr("memformer.kernels.gdpp._method", gdpp_kernel._method.__wrapped__)
    done = count_work(lambda fresh: solver.solve(fresh, K), problem).flops
    assert stated == pytest.approx(done, rel=0.04)  # a sum over one register adds nothing, and counts


def test_work_is_the_same_whichever_way_small_products_are_taken(problem, monkeypatch) -> None:
    for name in ("memformer_first_order", "memformer_first_order_scalar"):
        solver = fitted(name, **SMALL)
        stored = count_work(lambda fresh, solver=solver: solver.solve(fresh, K), problem)
        monkeypatch.setattr("memformer.kernels.first_order._STORED", 0)
        by_column = count_work(lambda fresh, solver=solver: solver.solve(fresh, K), problem)
        monkeypatch.undo()
        assert (stored.products, stored.flops) == (by_column.products, by_column.flops)


def test_adapting_counts_each_evaluation(monkeypatch) -> None:
    law = Isotropic(d=5, N=20)
    solver = fitted("memformer_gated", law, **SMALL, evaluations=7).adapt(tasks(law))
    counted = count_work(lambda fresh: solver.solve(fresh, K), tasks(law))
    # 20 folds: their moments; at the start and in 7 evaluations H in three layers, forth and back, x_query and its
    # transpose in the loss. Then the model's own solve.
    assert counted.products == 20 * (6 + 8 * (3 + 3 + 2)) + scalar_layers(5, 20)


@pytest.mark.parametrize("name", ["cg", "gradient_descent", "newton_schulz"])
def test_work_is_that_of_all_steps_whenever_tasks_finish(name: str, monkeypatch) -> None:
    law = Isotropic(d=3, N=12)
    solver, problem = fitted(name, law), tasks(law)
    steps = (20, 40)  # cg has solved the tasks after 3, newton_schulz after about 10
    short, long = (count_work(lambda fresh, k=k: solver.solve(fresh, k), problem) for k in steps)
    one_each = (long.products - short.products) / 20
    assert short.products - 20 * one_each == (7 if name == "newton_schulz" else 4)
    assert (long.flops - short.flops) % 20 == 0
    monkeypatch.setattr("memformer.core.iterative.CHECK_INTERVAL", 3)
    again = count_work(lambda fresh: solver.solve(fresh, 20), problem)
    assert (again.products, again.flops) == (short.products, short.flops), "however often a device is asked"


@pytest.mark.parametrize("name", ["cgls", "steepest_descent"])
def test_counting_changes_no_number(problem, name: str) -> None:
    solver = fitted(name)
    found = []
    count_work(lambda fresh: found.append(solver.solve(fresh, 30)), problem)
    plain = solver.solve(problem, 30)
    assert torch.equal(found[0].weights, plain.weights)
    assert torch.equal(found[0].finished, plain.finished)


def test_what_is_compiled_is_counted_in_the_loop_to_rounding(problem) -> None:
    solver = fitted("cg")
    found = []
    count_work(lambda fresh: found.append(solver.solve(fresh, 10)), problem)
    torch.testing.assert_close(found[0].weights, solver.solve(problem, 10).weights, rtol=1e-9, atol=1e-12)


@dataclass(frozen=True)
class Unreported(Solver):
    """One step of gradient descent by somebody who does not know of ledgers."""

    needs = Needs.NOTHING

    def solve(self, problem: Problem, num_steps: int) -> Trace:
        H, b = problem.moments
        w = b - (H @ b[..., None])[..., 0]
        return Trace.direct(w, num_steps)


def test_products_that_nobody_reports_leave_the_column_empty(problem) -> None:
    counted = count_work(lambda fresh: Unreported().solve(fresh, 1), problem)
    assert counted.products is None
    assert counted.flops > 2 * N * D**2 + 2 * N * D + 2 * D**2


def test_what_torch_makes_of_others_is_counted_by_its_parts(problem) -> None:
    """Under `inference_mode` it reaches whoever watches whole."""
    layer = torch.nn.Linear(D, 7).double()

    def inferring(fresh: Problem) -> Tensor:
        with torch.inference_mode():
            return layer(fresh.X)

    plain = count_work(lambda fresh: layer(fresh.X), problem)
    assert count_work(inferring, problem) == plain
    assert plain.flops >= 2 * N * D * 7


def test_memory_that_is_given_back_is_held_no_more(problem) -> None:
    def one_after_another(fresh: Problem) -> Tensor:
        for _ in range(5):
            found = fresh.X + 1
            del found
        return fresh.X.mT  # a view holds nothing of its own

    assert count_work(one_after_another, problem).peak_bytes == B * N * D * 8
    assert count_work(lambda fresh: [fresh.X + 1 for _ in range(5)], problem).peak_bytes == 5 * B * N * D * 8


def test_reporting_does_not_break_a_compiled_graph() -> None:
    compiled = torch.compile(lambda A, v: matmul(A, A) @ v, fullgraph=True, backend="eager")
    assert torch.equal(compiled(torch.ones(2, 2), torch.ones(2)), torch.full((2,), 4.0))


def test_eigenvalues_alone_count_as_such(problem) -> None:
    def told(num_steps: int) -> float:
        return count_work(lambda tasks: SOLVERS.create("eigenvalues").solve(tasks, num_steps), problem).flops

    assert told(4) - told(1) == pytest.approx(3 * 4 * problem.d**3 / 3, abs=1)
    whole = count_work(lambda tasks: torch.linalg.eigh(tasks.moments.H), problem).flops
    assert whole - count_work(lambda tasks: tasks.moments.H, problem).flops == 9 * problem.d**3


def test_factorisations_count() -> None:
    problem = tasks(Anisotropic(d=40, N=100), 3)
    solver = fitted("ols")
    flops = count_work(lambda fresh: solver.solve(fresh, 1), problem).flops
    assert flops == pytest.approx(4 * 100 * 40**2 - 4 * 40**3 / 3, rel=0.1)


def test_memory_is_what_tensors_hold_at_once(problem) -> None:
    def hold_two_and_drop_three(fresh: Problem) -> Tensor:
        for _ in range(3):
            _dropped = torch.zeros(1000)
            del _dropped
        kept = torch.zeros(5000)
        view = kept[:10].view(2, 5)
        return torch.zeros(7000) + kept.sum() + view.sum()

    peak = count_work(hold_two_and_drop_three, problem).peak_bytes
    assert 4 * (5000 + 2 * 7000) <= peak <= 4 * (5000 + 2 * 7000) + 100


def test_memory_of_cg_is_its_moments_and_that_of_cgls_is_not() -> None:
    problem = tasks(Anisotropic(d=60, N=60), 20)
    cg, cgls = (count_work(partial(fitted(name).solve, num_steps=2), problem).peak_bytes for name in ("cg", "cgls"))
    moments = 20 * 60 * 60 * 8
    assert cg > moments > cgls


def test_what_the_problem_holds_is_not_counted(problem: Problem) -> None:
    assert count_work(lambda fresh: fresh.X.mT, problem).peak_bytes == 0


@pytest.mark.parametrize("name", ["gradient_descent_tuned", "heavy_ball_tuned", "lfom", "memformer_first_order", "pcg"])
def test_memory_is_the_same_after_a_worker_sent_the_solver(name: str, problem: Problem) -> None:
    """Parameters that were views of one storage here are tensors of their own there."""
    small = {"lfom": {"iterations": 2, "batch": 8}, "memformer_first_order": SMALL, "pcg": {}}
    here = fitted(name, **small.get(name, {"num_tasks": 50}))
    whole = {key: torch.stack([tensor, tensor]).unbind()[0] for key, tensor in here.parameters.items()}
    views, sent = replace(here, parameters=whole), cloudpickle.loads(cloudpickle.dumps(here))
    peaks = {count_work(lambda fresh, s=s: s.solve(fresh, K), problem).peak_bytes for s in (here, views, sent)}
    assert len(peaks) == 1


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
    assert mine["products"].tolist() == [4 + 1 + 2] * 2
    assert mine["flops"].nunique() == 1, "operations are those of a task"
    assert mine["peak_bytes"].iloc[1] == pytest.approx(2 * mine["peak_bytes"].iloc[0], rel=0.1)
    assert scipys[["products", "flops", "peak_bytes"]].isna().all().all()
