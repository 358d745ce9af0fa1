"""Every registered solver on a device that is none: fitted there, solving as on the CPU, within its budget."""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple
from unittest.mock import patch

import pytest
import torch
from torch import Tensor

from baselines.lfom import Lfom
from baselines.logistic_bayes import LogisticBayes
from benchmarks.catalogue.registry import SOLVERS
from benchmarks.harness.scores.measure import measure
from benchmarks.harness.timings.cost import count_work
from benchmarks.tasks.gaussian import Isotropic
from benchmarks.tasks.law import Law, Purpose
from benchmarks.tasks.logistic import LogisticLaw
from benchmarks.tasks.random_features import RandomFeatures
from memformer.core.objective import LeastSquares
from memformer.core.problem import Problem
from memformer.core.solver import Solver
from memformer.core.tensors import _in_parts, factorised, in_double
from memformer.core.trace import Trace
from memformer.model.config import MemformerConfig
from memformer.solvers.learned import LearnedSolver
from memformer.solvers.memformer import Memformer
from memformer.training.whitening import Coordinates, random_theta
from tests.pretend_device import DEVICE, PretendDevice

CPU = torch.device("cpu")
STEPS = 8
SHALLOW = 2
"""Layers of what is trained: whatever their number, nothing waits between them."""
NAMES = [*SOLVERS, "memformer_adaptive, adapted"]


def settings(name: str) -> dict[str, Any]:
    """Budgets that suffice here: nothing is asked of quality."""
    kind = SOLVERS[name].load()
    if issubclass(kind, Memformer):
        few = {"evaluations": 9} if "evaluations" in kind.__dataclass_fields__ else {}
        return {"tasks": 16, "batch": 16, "iterations": 1, "starts": 1, **few}
    if issubclass(kind, LearnedSolver):
        return {"batch": 4, "iterations": 1, "starts": 1}
    known = {"lfom": {"iterations": 1, "batch": 16}, "lfom_diagonal": {"iterations": 1, "batch": 16}}
    known["logistic_bayes"] = {"points": 64}
    sampled = {"num_tasks": 20} if "num_tasks" in kind.__dataclass_fields__ else {}
    return {**sampled, **known.get(name, {})}


def law_for(name: str, solver: Solver) -> Law:
    if name == "kernel_ridge":
        return RandomFeatures(d=10, N=20, noise_std=0.1)
    if solver.learned and not isinstance(solver, Lfom):
        return Isotropic(d=3, N=6, noise_std=0.1)
    return Isotropic(d=10, N=20, noise_std=0.1) if issubclass(LeastSquares, solver.serves) else LogisticLaw(d=4, N=8)


def steps_of(solver: Solver) -> int:
    return SHALLOW if solver.learned and not isinstance(solver, Lfom) else STEPS


class Tried(NamedTuple):
    """What became of a solver on the CPU and on the pretend device."""

    here: Tensor
    there: Tensor
    parameters: dict[str, Tensor]
    device: PretendDevice


def answers(trace: Trace) -> Tensor:
    found = trace.predictions if trace.weights is None else trace.weights
    assert found is not None
    return found


@pytest.fixture(autouse=True)
def a_short_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("baselines.logistic_bayes.NEWTON_STEPS", 4)
    monkeypatch.setattr("baselines.logistic_bayes.ADAPTATIONS", 2)


def ready(name: str, device: torch.device, dtype: torch.dtype) -> tuple[Solver, Problem]:
    """A solver fitted on a device, and tasks that lie there."""
    name, _, adapted = name.partition(", ")
    solver = SOLVERS.create(name, **settings(name))
    law = law_for(name, solver)
    fitted = solver.fit(law.stream(1, Purpose.TRAIN, dtype, device), [steps_of(solver)], seed=0)
    problem = law.stream(0, Purpose.SCORE, dtype, device).sample(4).blinded()
    return (fitted.adapt(problem) if adapted else fitted), problem


def tried(name: str) -> Tried:
    """As on Metal, in float32, if it can be compared in that."""
    return tried_in(name, metal=name not in SEARCHES)


@cache
def tried_in(name: str, metal: bool) -> Tried:
    """As on Metal, in float32, or in float64."""
    dtype = torch.float32 if metal else torch.float64
    solver, problem = ready(name, CPU, dtype)
    steps = steps_of(solver)
    here = answers(solver.solve(problem, steps))
    with PretendDevice(metal), patch("baselines.kernel_ridge.holds_double", lambda _: not metal):
        solver, problem = ready(name, DEVICE, dtype)
        trace = solver.placed(dtype, DEVICE).solve(problem, steps)
        there = answers(trace).cpu()
        assert answers(trace).device == trace.outcome.device == trace.finished.device == DEVICE
    with PretendDevice() as device:
        placed = solver.placed(dtype, DEVICE)
        placed.solve(problem.blinded(), steps)  # what is kept from the first time on is not asked about
        again = problem.blinded()
        device.reset()
        placed.solve(again, steps)
    return Tried(here, there, dict(getattr(solver, "parameters", None) or {}), device)


every = pytest.mark.parametrize("name", NAMES)


SEARCHES = {
    "memformer_mixture": "a search on each context carries rounding further than float32 lets it be compared",
    "memformer_adaptive, adapted": "the same",
}
"""Solvers that are compared in float64, and why."""


@every
def test_a_solver_is_fitted_and_solves_on_a_device_as_on_the_cpu(name: str) -> None:
    found = tried(name)
    torch.testing.assert_close(found.there, found.here, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["kernel_ridge", "bayes", "ols", "memformer_gdpp", "pcg", "lfom_optimal"])
def test_so_it_does_in_double_precision(name: str) -> None:
    found = tried_in(name, metal=False)
    torch.testing.assert_close(found.there, found.here, rtol=1e-9, atol=1e-11)


@every
def test_every_fitted_parameter_lies_on_the_cpu(name: str) -> None:
    assert {tensor.device for tensor in tried(name).parameters.values()} <= {CPU}


ON_THE_HOST = "it works in SciPy or scikit-learn, on the host, task after task"
EARLY = "it is done after a step or two, and then asks whether all tasks are"
POSTERIOR = "it leaves out tasks that are not finite, and its start is Newton's method"
COPIES: dict[str, tuple[int, str]] = {
    **{name: (8, ON_THE_HOST) for name in SOLVERS if name.startswith("scipy_")},
    "lasso": (4, ON_THE_HOST),
}
"""Copies of a solve of eight steps, where there are any, and why."""

WAITS: dict[str, tuple[int, str]] = {
    **{name: (6, ON_THE_HOST) for name in SOLVERS if name.startswith("scipy_")},
    "lasso": (3, ON_THE_HOST),
    "newton": (4, EARLY),
    "newton_schulz": (3, EARLY),
    "logistic_bayes": (12, POSTERIOR),
}
"""Times that the host waits for the device in a solve of eight steps, where they are more than two, and why."""


@every
def test_a_solve_copies_nothing_and_hardly_waits(name: str) -> None:
    device = tried(name).device
    assert device.copies <= COPIES.get(name, (0, ""))[0], device.done
    assert device.waits <= WAITS.get(name, (2, ""))[0], device.done


WORK = ["heavy_ball", "cg", "pcg", "ols", "ridge_cholesky", "kernel_ridge", "eigenvalues", "memformer_conjugate"]
WORK += ["memformer_gdpp", "memformer_heads", "memformer_mixture", "transformer_softmax", "lfom_optimal_preconditioned"]
"""Solvers of every kind of path: kernels, moments, tokens, factorisations, searches."""

SUBCLASSES = {"memformer_mixture": "autograd has another formula for subclasses of Tensor, with one negation more"}
"""Solvers whose operations on a pretend device differ a little, and why a real one does not change them."""


@pytest.mark.parametrize("name", WORK)
def test_its_work_is_the_same_on_every_device(name: str) -> None:
    solver, problem = ready(name, CPU, torch.float64)
    steps = steps_of(solver)
    here = count_work(lambda fresh: solver.solve(fresh, steps), problem)
    with PretendDevice():
        placed, there = solver.placed(torch.float64, DEVICE), problem.to(device=DEVICE)
        found = count_work(lambda fresh: placed.solve(fresh, steps), there)
    assert found.products == here.products
    assert found.flops == pytest.approx(here.flops, rel=1e-3 if name in SUBCLASSES else 0)


def memformer_training(steps: int) -> PretendDevice:
    solver = SOLVERS.create("memformer_first_order", tasks=8, batch=8, iterations=steps, starts=1)
    with PretendDevice() as device:
        solver.fit(Isotropic(d=3, N=6).stream(1, Purpose.TRAIN, torch.float32, DEVICE), [2], seed=0)
    return device


def test_training_waits_once_in_eight_steps() -> None:
    few, more = memformer_training(8), memformer_training(16)
    drawn = 8  # with so few tasks every step draws: one copy
    validated = 3  # a validation waits to tell what it found
    assert more.waits - few.waits <= 1 + validated * 8
    assert more.copies - few.copies <= 2 * drawn + validated * 8


@pytest.mark.parametrize("metal", [False, True])
def test_what_a_device_lacks_is_factorised_on_the_cpu(metal: bool) -> None:
    matrix = torch.tensor([[2.0, 0.0], [0.0, 3.0]])
    with PretendDevice(metal) as device:
        values, vectors = factorised(torch.linalg.eigh, matrix.to(DEVICE))
        assert values.device == vectors.device == DEVICE
        assert values.cpu().tolist() == [2.0, 3.0]
    assert device.copies == (5 if metal else 2)


def test_many_matrices_are_factorised_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("memformer.core.tensors._TOGETHER", 4)
    matrices = torch.randn(3, 5, 2, 2, generator=torch.Generator().manual_seed(0))
    square = matrices @ matrices.mT
    sizes: list[int] = []

    def eigenvalues(part: Tensor) -> Tensor:
        sizes.append(len(part))
        return torch.linalg.eigvalsh(part)

    assert torch.equal(_in_parts(eigenvalues, square), torch.linalg.eigvalsh(square))
    assert sizes == [4, 4, 4, 3]
    Q, R = _in_parts(torch.linalg.qr, square)
    torch.testing.assert_close(Q @ R, square)


@pytest.mark.parametrize("wrong", ["mixing", "numpy", "double"])
def test_a_pretend_device_refuses_what_a_real_one_does(wrong: str) -> None:
    with PretendDevice(metal=True) as device:
        there = torch.ones(2).to(DEVICE)
        assert (there + torch.tensor(1.0)).cpu().tolist() == [2.0, 2.0]  # a number of the host is no mixing
        tries = {
            "mixing": lambda: there + torch.ones(2),
            "numpy": there.numpy,
            "double": lambda: there.to("cpu", torch.float64),
        }
        with pytest.raises((RuntimeError, TypeError)):
            tries[wrong]()
    assert (device.copies, device.waits) in [(2, 1), (3, 2)]


def test_a_scored_loss_leaves_metal_before_it_is_cast() -> None:
    with PretendDevice(metal=True):
        assert in_double(torch.ones(2).to(DEVICE)).dtype == torch.float64
        problem = Isotropic(d=2, N=4).stream(0, Purpose.SCORE, torch.float32, DEVICE).sample(3)
        assert problem.to(torch.float64, "cpu").X.dtype == torch.float64
        losses = measure(SOLVERS.create("cg"), problem, [1, 2]).losses["expected_test_loss"]
    assert losses.shape == (2, 3)


def test_random_numbers_of_training_hang_on_no_default_device() -> None:
    config = MemformerConfig(d=2, depth=2)
    own = [torch.Generator().manual_seed(0)]
    with torch.device("meta"):
        found = random_theta(Coordinates(config, None), own, 1.0, 0.1, torch.zeros((), device="cpu"))
        LogisticBayes(points=16).fit(LogisticLaw(d=2, N=4).stream(0, Purpose.TRAIN, torch.float64, "cpu"), [1])
    assert found.device == CPU
