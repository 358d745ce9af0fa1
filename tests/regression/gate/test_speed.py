"""Rounds of the gate's speed half, around sides whose calls take as long as they are told."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from benchmarks.errors import UserError
from benchmarks.regression.gate import paired_processes, rounds, sequential
from benchmarks.regression.gate.cases import SpeedCase
from benchmarks.regression.gate.paired_processes import Pair, lanes, plugins_of
from benchmarks.regression.gate.sequential import FEWEST, FIRST
from benchmarks.regression.gate.speed import SpeedResult, compare_speed

CASES = [SpeedCase("solve", name) for name in ("a", "b", "c", "d", "e")]
HERE = Path()


class Told:
    """A side: seconds of each case, of which a CPU works a share."""

    def __init__(self, seconds: dict[str, float], works: float = 1.0) -> None:
        self.seconds, self.works, self.rng = seconds, works, np.random.default_rng(0)

    def ask(self, do: str, key: str = "", **_: Any) -> dict[str, Any]:
        if do == "prepare" and key not in self.seconds:
            return {"lacks": f"no solver {key!r}"}
        took = self.seconds.get(key, 0.0) * (1 + 0.01 * self.rng.normal())
        return {"seconds": took, "cpu": self.works * took, "waited": self.works < 1}

    def wait(self) -> None:
        """It has nothing to import."""

    def kill(self) -> None:
        """It is no process."""


class ToldPair(Pair):
    def each(self, base: dict[str, Any], head: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        return self.base.ask(**base), self.head.ask(**head)


def compared(
    monkeypatch: pytest.MonkeyPatch, head: dict[str, float], works: float = 1.0, until: float = float("inf")
) -> dict[str, SpeedResult]:
    """Every case, base's calls taking a millisecond."""
    sides: Any = Told({case.name: 1e-3 for case in CASES}), Told(head, works)

    @contextmanager
    def opened(*_: object, **__: object) -> Iterator[Pair]:
        yield ToldPair(*sides)

    monkeypatch.setattr(rounds, "opened", opened)
    return {result.case.solver: result for result in compare_speed(HERE, HERE, CASES, [0], until=until)}


SAME = {case.name: 1e-3 for case in CASES}


def test_a_slowdown_of_3_percent_is_found_and_what_is_as_it_was_leaves(monkeypatch: pytest.MonkeyPatch) -> None:
    found = compared(monkeypatch, {**SAME, "solve b": 1.03e-3, "solve d": 0.8e-3})
    assert [found[name].status for name in "abcde"] == ["same", "slower", "same", "faster", "same"]
    assert len(found["b"].ratios) >= FEWEST > len(found["a"].ratios)
    assert np.median(found["b"].ratios) == pytest.approx(1.03, abs=0.005)


def test_where_time_ends_what_is_not_decided_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    found = compared(monkeypatch, {**SAME, "solve b": 1.013e-3}, until=time.monotonic() - 1)
    assert found["b"].status == "undecided"
    assert len(found["b"].ratios) == FIRST


def test_what_waits_is_timed_by_the_clock_on_the_wall(monkeypatch: pytest.MonkeyPatch) -> None:
    found = compared(monkeypatch, {**SAME, "solve b": 2e-3}, works=0.5)  # its CPU time is what it was
    assert found["b"].status == "slower"


def test_every_cpu_has_a_pair_of_its_own_and_a_share_of_the_cases(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[int, list[str]] = {}

    class Asked(Told):
        def __init__(self, cpu: int) -> None:
            super().__init__(SAME)
            self.cpu = cpu

        def ask(self, do: str, key: str = "", **more: Any) -> dict[str, Any]:
            if do == "prepare":
                asked.setdefault(self.cpu, []).append(key)
            return super().ask(do, key, **more)

    @contextmanager
    def opened(base: Path, head: Path, cpu: int, *_: object, **__: object) -> Iterator[Pair]:
        sides: Any = Asked(cpu), Told(SAME)
        yield ToldPair(*sides)

    monkeypatch.setattr(rounds, "opened", opened)
    monkeypatch.setattr(sequential, "MOST", 1)
    found = compare_speed(HERE, HERE, CASES, [0, 1, 2, 3, 4, 5])
    assert sorted(asked) == [0, 1, 2, 3, 4]  # a CPU without a case starts nothing
    assert sorted(name for names in asked.values() for name in names) == [case.name for case in CASES]
    assert [len(result.ratios) for result in found] == [1] * len(CASES)


def test_where_one_pair_ends_the_others_are_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    killed = threading.Event()

    class Ends(Told):
        def ask(self, do: str, key: str = "", **more: Any) -> dict[str, Any]:
            if key == "solve a":
                raise UserError("the benchmark process ended")
            assert killed.wait(20)  # as one that hangs
            raise UserError("killed")

        def kill(self) -> None:
            killed.set()

    @contextmanager
    def opened(*_: object, **__: object) -> Iterator[Pair]:
        sides: Any = Ends(SAME), Told(SAME)
        yield ToldPair(*sides)

    monkeypatch.setattr(rounds, "opened", opened)
    with pytest.raises(UserError, match="process ended"):
        compare_speed(HERE, HERE, CASES, [0, 1])
    assert killed.is_set()


def test_where_time_ends_what_is_much_slower_is_still_found(monkeypatch: pytest.MonkeyPatch) -> None:
    found = compared(monkeypatch, {**SAME, "solve b": 2e-3, "solve d": 0.5e-3}, until=time.monotonic() - 1)
    assert (found["b"].status, len(found["b"].ratios)) == ("slower", FEWEST)
    assert len(found["d"].ratios) == FIRST


def test_a_head_that_is_much_slower_gets_few_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []

    class Counted(Told):
        def ask(self, do: str, key: str = "", **more: Any) -> dict[str, Any]:
            if do == "time":
                calls.append(more["calls"])
            return super().ask(do, key, **more)

    sides: Any = Told({"solve a": 1e-5}), Counted({"solve a": 0.3})
    assert isinstance(rounds._timed(ToldPair(*sides), "solve a", head_first=False), rounds.Measured)
    assert sum(calls) == 2 * rounds.LEAST_BLOCKS


def test_a_call_that_fails_once_it_is_prepared_is_a_case_that_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    class Fails(Told):
        def ask(self, do: str, key: str = "", **more: Any) -> dict[str, Any]:
            if do == "time" and key == "solve c":
                return {"error": "ValueError: the second time", "cause": "run"}
            return super().ask(do, key, **more)

    @contextmanager
    def opened(*_: object, **__: object) -> Iterator[Pair]:
        sides: Any = Told(SAME), Fails(SAME)
        yield ToldPair(*sides)

    monkeypatch.setattr(rounds, "opened", opened)
    found = {result.case.solver: result for result in compare_speed(HERE, HERE, CASES, [])}
    assert (found["c"].status, found["c"].reason) == ("broken", "head: ValueError: the second time")
    assert found["b"].status == "same"


def test_a_long_call_on_a_busy_cpu_waits_for_nothing() -> None:
    turns = np.zeros((6, 2, 3)) + np.array([0.1, 0.2, 0])
    assert not rounds._waits(turns)  # preempted in every turn
    assert rounds._waits(turns + np.array([0, 0, 1]))
    assert rounds._waits(turns * np.array([0, 1, 1]))  # a clock too coarse to see it


def test_there_are_as_many_lanes_as_cpus_and_memory_for_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    monkeypatch.setattr(os, "sched_setaffinity", lambda *_: None, raising=False)
    for room, expected in ((100, [4, 5, 6, 7]), (2.5, [6, 7]), (0.1, [7])):
        memory = SimpleNamespace(available=room * paired_processes.PAIR_BYTES)
        monkeypatch.setattr(paired_processes.psutil, "virtual_memory", lambda memory=memory: memory)
        assert lanes() == expected


def test_a_case_that_head_lacks_is_gone_and_not_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    found = compared(monkeypatch, {name: seconds for name, seconds in SAME.items() if name != "solve c"})
    assert (found["c"].status, found["c"].ratios) == ("gone", [])


def test_a_system_that_does_not_pin_or_refuses_to_gives_no_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "sched_setaffinity", refused, raising=False)
    assert lanes() == []
    monkeypatch.delattr(os, "sched_setaffinity")
    assert lanes() == []


def test_base_and_head_are_the_first_to_start_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []

    class Started:
        def __init__(self, tree: Path, *_: object) -> None:
            order.append(tree.name)
            self.tree = tree

        def __enter__(self) -> Started:
            return self

        def __exit__(self, *_: object) -> None:
            """It is no process."""

    monkeypatch.setattr(paired_processes, "Process", Started)
    for number in (0, 1):
        with paired_processes.opened(Path("base"), Path("head"), None, number=number) as pair:
            assert [process.tree.name for process in pair] == ["base", "head"]
    assert order == ["base", "head", "head", "base"]


def test_a_plug_in_in_the_checkout_is_each_trees_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    head, base, other = (tmp_path / name for name in ("head", "base", "other"))
    for folder, names in ((head, ("old.py", "new.py")), (base, ("old.py",)), (other, ("far.py",))):
        folder.mkdir()
        for name in names:
            (folder / name).touch()
    monkeypatch.chdir(head)
    named = ["old.py", "new.py", str(other / "far.py"), "a_module"]
    assert plugins_of(base, head, named) == [str(base / "old.py"), str(other / "far.py"), "a_module"]
    assert plugins_of(head, head, named) == [
        str(head / "old.py"),
        str(head / "new.py"),
        str(other / "far.py"),
        "a_module",
    ]
