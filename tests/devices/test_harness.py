"""What the harness does on an accelerator, without one."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from baselines.krylov import ConjugateGradient as CG
from benchmarks.errors import UserError
from benchmarks.harness import devices
from benchmarks.harness.cell import Cell, CellResult
from benchmarks.harness.cell_key import cell_key
from benchmarks.harness.resolve import build_cells
from benchmarks.harness.scores import fitting
from benchmarks.harness.scores.fitting import ParameterStore, header_of
from benchmarks.harness.timings import clock, once
from benchmarks.harness.workers import cells as cells_module
from benchmarks.harness.workers.cells import CONTEXT, Job, perform, processes, score
from benchmarks.harness.workers.limits import pinned_threads
from benchmarks.runs import environment
from benchmarks.suites.entries import Timings
from benchmarks.suites.suite import Suite
from benchmarks.tasks.gaussian import Isotropic
from memformer.core.problem import Problem
from tests.pretend_device import DEVICE, PretendDevice

CPU, SECOND = torch.device("cpu"), torch.device("cuda:1")


def cell(device: torch.device = CPU, **changes: Any) -> Cell:
    made = Cell("isotropic", Isotropic(d=2, N=4), "cg", CG(), {}, (1, 2), (0,), 6, torch.float32, device, 1e4)
    return dataclasses.replace(made, **changes)


@pytest.fixture
def two_cards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Card")
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)


@pytest.mark.usefixtures("two_cards")
@pytest.mark.parametrize("name", ["cpu", "cuda", "cuda:0", "cuda:1", "mps"])
def test_names_of_devices(name: str) -> None:
    assert devices.build_device(name) == torch.device(name)


@pytest.mark.usefixtures("two_cards")
@pytest.mark.parametrize("name", ["", "gpu", "cuda:", "cuda:01", "cuda:-1", "cuda:x", "cpu:1", "mps:1", "meta"])
def test_names_of_none(name: str) -> None:
    with pytest.raises(UserError, match=r"unknown device .* it must be cpu, cuda, cuda:<number> or mps"):
        devices.build_device(name)


@pytest.mark.usefixtures("two_cards")
def test_a_third_card_is_not_there() -> None:
    with pytest.raises(UserError, match="this machine has no device 'cuda:2'"):
        devices.build_device("cuda:2")


def suite(**changes: Any) -> Suite:
    content = {"schema": 1, "name": "one", "steps": [1], "solvers": ["cg"], "tasks": [{"law": "isotropic"}]}
    return Suite.model_validate(content | changes)


@pytest.mark.usefixtures("two_cards")
def test_double_precision_on_metal_is_refused_in_a_sentence() -> None:
    with pytest.raises(UserError, match="the device 'mps' has no float64; a suite for it needs dtype = \"float32\""):
        build_cells(suite(device="mps"))
    assert build_cells(suite(device="mps", dtype="float32"))[0].device.type == "mps"


@pytest.mark.usefixtures("two_cards")
def test_what_belongs_to_a_card_says_which() -> None:
    assert environment.machine(torch.device("cuda")) == environment.machine(torch.device("cuda:0")) == "Card"
    assert environment.machine(SECOND) == "Card, cuda:1"
    headers = [
        header_of("cg", CG(), Isotropic(), [1], 0, torch.float32, torch.device(name))["device"]
        for name in ("cpu", "cuda:0", "cuda:1")
    ]
    assert headers == ["cpu", "cuda, Card", "cuda, Card, cuda:1"]
    assert len({cell_key(cell(device), 1) for device in (CPU, torch.device("cuda:0"), SECOND)}) == 3


def test_products_are_in_full_precision_and_the_run_says_so() -> None:
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        assert environment.describe()["tf32"]
        with pinned_threads(1):
            assert torch.get_float32_matmul_precision() == "highest"
            assert not environment.describe()["tf32"]
        assert torch.get_float32_matmul_precision() == "high"
    finally:
        torch.set_float32_matmul_precision(before)


@pytest.mark.parametrize(
    ("device", "count", "limit", "jobs", "wanted"),
    [
        ("cpu", 3, None, None, 0),
        ("cpu", 60, None, None, 8),
        ("cpu", 3, 1.0, None, 3),
        ("cpu", 3, None, 2, 2),
        ("cuda", 1, None, None, 1),
        ("cuda:1", 60, 1.0, None, 1),
        ("mps", 60, None, None, 1),
        ("cuda", 60, None, 4, 4),
    ],
)
def test_an_accelerator_has_one_worker(
    device: str, count: int, limit: float | None, jobs: int | None, wanted: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cells_module.os, "cpu_count", lambda: 8)
    assert processes([cell(torch.device(device), memory_limit=limit)] * count, jobs) == wanted


class Worker:
    """A worker that answers what it is told to, and tells what became of it."""

    started = True

    def __init__(self, *lost: bool) -> None:
        self._lost, self.restarted, self.memory = list(lost), 0, 0.0

    def carry_out(self, task: Any, seconds: float, memory: float) -> Any:
        self.memory = memory
        lost = self._lost.pop(0)
        reason = "CUDA error: an illegal memory access was encountered" if lost else ""
        return SimpleNamespace(result=CellResult(cell(), reason=reason, lost=lost))

    def restart(self) -> None:
        self.restarted += 1


def test_a_worker_whose_device_is_lost_ends_and_its_cell_gets_another_one() -> None:
    job = Job(cell(SECOND, memory_limit=1.0), ParameterStore(), 1)
    once: Any = Worker(True, False)
    assert not score(once, job).result.lost
    assert (once.restarted, once.memory) == (1, 1.0 + CONTEXT)
    twice: Any = Worker(True, True)
    found = score(twice, job)
    assert found.result.lost
    assert found.rows[0].reason == ("its device was lost twice: CUDA error: an illegal memory access was encountered")


def test_a_cell_that_loses_its_device_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> CellResult:
        return CellResult(cell(SECOND), status="error", reason="CUDA error: an illegal memory access was encountered")

    def dead(_: object) -> None:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr(cells_module, "run_cell", fail)
    monkeypatch.setattr(devices, "synchronise", dead)
    assert perform(Job(cell(SECOND), ParameterStore(), 1)).result.lost
    monkeypatch.setattr(devices, "synchronise", lambda _: None)
    assert not perform(Job(cell(SECOND), ParameterStore(), 1)).result.lost


class Events:
    """Stands for CUDA: tells in which order it was asked for what, and on which device."""

    def __init__(self) -> None:
        self.log: list[str] = []

    @contextmanager
    def device(self, which: torch.device) -> Iterator[None]:
        self.log.append(f"enter {which}")
        yield
        self.log.append("leave")

    def event(self, enable_timing: bool) -> Any:
        name = f"event {sum(line.startswith('make') for line in self.log)}"
        self.log.append(f"make {name}")
        return SimpleNamespace(
            record=lambda: self.log.append(f"record {name}"),
            synchronize=lambda: self.log.append(f"wait for {name}"),
            elapsed_time=lambda other: 250.0,
        )


def test_the_clock_of_a_second_card_is_two_events_around_the_call_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    cuda = Events()
    monkeypatch.setattr(torch.cuda, "device", cuda.device)
    monkeypatch.setattr(torch.cuda, "Event", cuda.event)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda which: cuda.log.append(f"wait for {which}"))
    problem: Any = SimpleNamespace(device=SECOND, blinded=lambda: cuda.log.append("blinded"))
    assert once.time_once(lambda _: cuda.log.append("solve"), problem) == 0.25
    started = ["blinded", "wait for cuda:1", "enter cuda:1", "make event 0", "make event 1"]
    assert cuda.log == [*started, "record event 0", "solve", "record event 1", "wait for event 1", "leave"]


def test_parameters_are_on_the_device_and_libraries_started_before_the_clock() -> None:
    with PretendDevice() as device:
        solver = (
            fitting.ParameterStore()
            .fit(
                "pcg",
                build_cells(suite(solvers=["pcg"]))[0].solver,
                Isotropic(d=2, N=4),
                [1],
                [0],
                torch.float32,
                DEVICE,
            )
            .solvers[0]
        )
        result = CellResult(cell(DEVICE, solver=solver, steps=(2,)), fitted=[solver])
        copies: list[int] = []

        def time_once(call: Any, problem: Problem) -> float:
            before = device.copies
            call(problem.blinded())
            copies.append(device.copies - before)
            return 1e-3

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(clock, "time_once", time_once)
            patch.setattr(clock, "WARM_SECONDS", 0.0)
            rows = list(clock.time_cells([result], Timings(batch=3, repeats=2), 1, lambda _: None))
    assert set(copies) == {0}
    assert [(row.status, row.repeats) for row in rows] == [("ok", 2)]
    assert rows[0].products


@pytest.mark.parametrize("fails", ["draw", "count_work", "placed"])
def test_what_fails_around_a_timed_solve_is_a_row(fails: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    owner = {"draw": clock._Batch, "count_work": clock, "placed": CG}[fails]
    monkeypatch.setattr(owner, fails, fail)
    monkeypatch.setattr(clock, "WARM_SECONDS", 0.0)
    with PretendDevice():
        result = CellResult(cell(DEVICE, steps=(1,)), fitted=[CG()])
        (row,) = clock.time_cells([result], Timings(batch=2, repeats=1), 1, lambda _: None)
    assert row.status == "error"
    assert "CUDA out of memory" in row.reason


def test_a_device_that_is_lost_while_solvers_are_timed_ends_the_run_in_a_sentence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: object) -> float:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr(clock, "time_once", fail)
    monkeypatch.setattr(clock, "is_lost", lambda _: True)
    result = CellResult(cell(steps=(1,)), fitted=[CG()])
    with pytest.raises(UserError, match=r"the device was lost .*cg on isotropic, 1 steps.* go on with --resume"):
        list(clock.time_cells([result], Timings(batch=2, repeats=1), 1, lambda _: None))


def test_training_is_timed_between_two_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    log: list[str] = []
    monkeypatch.setattr(fitting, "synchronise", lambda device: log.append("wait"))
    now = iter([1.0, 3.5])
    monkeypatch.setattr(fitting.time, "perf_counter", lambda: log.append("look") or next(now))
    solver = build_cells(suite(solvers=["pcg"]))[0].solver
    fit = ParameterStore().fit("pcg", solver, Isotropic(d=2, N=4), [1], [0], torch.float32, CPU)
    assert fit.seconds == 2.5
    assert log == ["wait", "look", "wait", "look"]


def test_a_solver_that_works_on_the_host_is_timed_on_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "machine", lambda device: device.type)
    monkeypatch.setattr(clock, "_place", lambda contenders: None)
    rows = []
    for name in ("cg", "scipy_cg"):
        (made,) = build_cells(suite(solvers=[name]))
        result = CellResult(dataclasses.replace(made, device=DEVICE), status="error", reason="not asked")
        with PretendDevice():
            rows += clock.time_cells([result], Timings(batch=2, repeats=1), 1, lambda _: None)
    assert [(row.device, row.machine) for row in rows] == [("meta", "meta"), ("meta", "cpu")]
