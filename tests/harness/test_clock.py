"""Warm-up of accelerators, and what the machine is doing while solvers are timed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import psutil
import pytest

from benchmarks.cli.progress import _Lines
from benchmarks.harness.cell import Cell, CellResult
from benchmarks.harness.run import run_suite
from benchmarks.harness.timings import clock, repeats
from benchmarks.runs.environment import conditions
from benchmarks.suites.entries import Timings
from benchmarks.suites.suite import Suite


def batch() -> Any:
    """Tasks that nobody looks at."""
    seal = SimpleNamespace(check=lambda: None)
    return SimpleNamespace(draw=lambda: (None, seal), forget=lambda: None)


def contender(times: Iterator[float], monkeypatch: pytest.MonkeyPatch) -> clock._Contender:
    """One whose solves take these times, the first of which was its cold one."""
    monkeypatch.setattr(clock, "time_once", lambda *_: next(times))
    result = CellResult(cast(Cell, SimpleNamespace(time_limit=60.0, device=SimpleNamespace(type="cpu"))))
    return clock._Contender(result, cold=next(times))


@pytest.mark.parametrize(
    ("warm", "often"),
    [([], 11), ([0.1], 11), ([0.1, 0.1, 0.1], 3), ([0.9], 3), ([1.1], 1), ([0.2, 1.1], 3)],
)
def test_the_longer_a_solve_takes_the_less_often_it_is_repeated(warm: list[float], often: int) -> None:
    assert repeats.repeats(warm, Timings(repeats=11, budget=0.25)) == often
    assert repeats.repeats(warm, Timings(repeats=2, budget=0.25)) == min(often, 2)


def test_a_solve_is_repeated_no_more_once_the_interval_of_its_median_is_narrow() -> None:
    settings = Timings(repeats=20, budget=100)
    steady, wild = [1.0 + 0.001 * k for k in range(12)], [1.0 + 0.1 * k for k in range(12)]
    assert [repeats.repeats(steady[:n], settings) for n in (0, 1, 5, 6)] == [20, 20, 20, 6]
    assert repeats.repeats(wild, settings) == 20
    # One slow solve among nine is outside of the interval of their median, one among six is not.
    assert repeats.repeats([*steady[:8], 9.0], settings) == 9
    assert repeats.repeats([*steady[:5], 9.0], settings) == 20


def test_that_interval_holds_the_median_as_often_as_it_says() -> None:
    generator = np.random.default_rng(0)
    for n in (6, 7, 9, 11, 20):
        times = np.sort(generator.exponential(size=(4000, n)), 1)
        widths = [repeats._width(row.tolist()) * np.median(row) for row in times[:200]]
        k = next(k for k in range(n // 2) if np.allclose(times[:200, -1 - k] - times[:200, k], widths))
        held = np.mean((times[:, k] <= np.log(2)) & (np.log(2) <= times[:, -1 - k]))
        assert held > 0.94


def test_an_accelerator_is_warm_once_two_solves_take_the_same_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "WARM_SECONDS", 0.0)
    times = iter([9.0, 3.0, 2.0, 1.5, 1.48, 7.0])
    clock._warm_up(contender(times, monkeypatch), batch(), 1)
    assert next(times) == 7.0


@pytest.mark.parametrize(("device", "warmed"), [("cuda", 1), ("cpu", 0)])
def test_only_accelerators_warm_up(device: str, warmed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[clock._Contender] = []
    monkeypatch.setattr(clock, "_warm_up", lambda contender, *_: seen.append(contender))
    one = contender(iter([1.0, 2.0, 3.0]), monkeypatch)
    cell = cast(Any, one.result.cell)
    cell.solver, cell.device = SimpleNamespace(countable=False), SimpleNamespace(type=device)
    clock._race([one], batch(), 1, Timings(repeats=1, budget=9.0))
    assert (len(seen), one.cold, one.warm) == (warmed, 2.0, [3.0])


def test_an_accelerator_solves_for_half_a_second_before_it_is_warm(monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter(0.1 * tenth for tenth in range(100))
    monkeypatch.setattr(clock, "time", SimpleNamespace(perf_counter=lambda: next(now)))
    times = iter([1e-3] * 100)
    clock._warm_up(contender(times, monkeypatch), batch(), 1)
    assert len(list(times)) == 100 - 1 - 5


def test_warm_up_ends_although_times_never_settle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "WARM_SECONDS", 0.0)
    times = iter(2.0**-power for power in range(100))
    clock._warm_up(contender(times, monkeypatch), batch(), 1)
    assert next(times) == 2.0 ** -(1 + clock.MOST_WARM_UPS)


def test_a_solve_that_fails_while_warming_up_is_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "WARM_SECONDS", 0.0)
    failing = contender(iter([1.0]), monkeypatch)  # the second call raises

    def fail(*_: object) -> float:
        raise RuntimeError("out of memory")

    monkeypatch.setattr(clock, "time_once", fail)
    clock._warm_up(failing, batch(), 1)
    assert (failing.status, failing.reason) == ("error", "RuntimeError: out of memory")


def test_a_run_says_what_the_machine_was_doing(tmp_path: Path) -> None:
    suite = Suite.model_validate(
        {
            "schema": 1,
            "name": "conditions",
            "steps": [1],
            "seeds": [0],
            "scores": {"tasks": 10},
            "timings": {"batch": 2, "repeats": 1},
            "tasks": [{"law": "isotropic", "d": 2, "N": 4}],
            "solvers": ["cg"],
        }
    )
    path = run_suite(suite, tmp_path, None, ["test"], _Lines()).path
    found = json.loads((path / "meta.json").read_text())["conditions"]
    assert set(found) == {"before_timings", "after_timings"}
    assert set(found["after_timings"]) == {"load", "cpu_mhz", "cpu_celsius", "gpus"}


def test_a_sensor_that_is_not_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise NotImplementedError("can't find current frequency file")

    monkeypatch.setattr(psutil, "cpu_freq", fail)
    monkeypatch.delattr(psutil, "sensors_temperatures", raising=False)
    found = conditions()
    assert found["cpu_mhz"] is None
    assert found["cpu_celsius"] is None
