"""Resampling of recorded pairs, and which trials of the gate's study are still to be made."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import numpy as np
import pandas as pd
import pytest

from benchmarks.errors import UserError
from benchmarks.regression.gate.speed import SpeedResult
from benchmarks.validation import gate
from benchmarks.validation.gate_report import report
from benchmarks.validation.gate_resampled import recorded, resampled

RNG = np.random.default_rng(0)
RECORDED = pd.DataFrame(
    [
        {"study": study, "run": run, "what": f"solve {case}", "planted": 1.0, "of_run": of_run, "alarm": 0}
        | {"pairs": 20, "ratio_1": np.exp(0.01 * RNG.normal()), "ratio_2": np.exp(0.01 * RNG.normal())}
        for study, of_run, runs in (("pairs", np.nan, 3), ("speed", 1.0, 5))
        for run in range(runs)
        for case in range(8)
    ]
)


def test_pairs_are_those_of_todays_suite_as_soon_as_there_are_enough() -> None:
    assert recorded(RECORDED).shape == (10, 8)
    assert recorded(RECORDED.loc[RECORDED["run"] < 3]).shape == (6, 8)


def test_resampled_quiet_pairs_raise_no_alarm_and_slowdowns_are_found() -> None:
    suite, *power = resampled(RECORDED, runs=30, others=2)
    assert (suite["alarm"], suite["low"], suite["high"]) == (0.0, 0.0, 0.0)
    assert 2 <= suite["pairs"] < 4
    assert {row["planted"]: row["alarm"] for row in power if row["planted"] > 1.02} == {1.03: 1.0, 1.05: 1.0, 1.1: 1.0}


def test_a_study_goes_on_where_it_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, float, int]] = []

    def compare(base: object, head: object, cases: Any, cpu: object, slowed: Any, until: float) -> list[SpeedResult]:
        asked.append((len(cases), max(slowed.values(), default=1.0), len(slowed)))
        return [SpeedResult(case, [1.03, 1.0], status="undecided") for case in cases]

    monkeypatch.setattr(gate, "compare_speed", compare)
    monkeypatch.setattr(gate, "git", lambda *_: b"")
    monkeypatch.setattr(gate, "tree_of", lambda head, commit: nullcontext(head))
    rows = [row for found in gate.trials([], 1, 2, 0) for row in found]
    suite = len(gate.speed_cases())
    assert asked == [(gate.TOGETHER, 1.03, 1), (suite, 1.0, 0), (gate.TOGETHER, 1.03, 1)]
    asked.clear()
    more = [row for found in gate.trials(rows, 2, 3, 0) for row in found]
    assert asked == [(suite, 1.0, 0), (gate.TOGETHER, 1.03, 1)]
    page = report(pd.DataFrame([*rows, *more, *resampled(RECORDED, runs=5, others=1)]))
    assert "Of 3 runs of 8 cases" in page
    assert "with a case 3 % slower, that case was called slower in 0" in page
    assert "| the whole suite" in page


def test_resampled_runs_are_no_longer_than_measured_ones() -> None:
    suite, *power = resampled(RECORDED.assign(pairs=2), runs=30, others=1)
    assert (suite["most"], suite["alarm"]) == (2, 0.0)
    assert suite["pairs"] < 2.5
    assert {row["planted"]: row["alarm"] for row in power if row["planted"] > 1.03} == {1.05: 1.0, 1.1: 1.0}


def test_runs_by_another_rule_or_elsewhere_are_left_behind() -> None:
    here = {"study": "speed", **gate.by()}
    rows = [here, here | {"rule": "x"}, here | {"machine": "x"}, here | {"lanes": 9}, {"study": "speed"}]
    assert gate.kept([*rows, {"study": "loss"}]) == [here, {"study": "loss"}]


def test_code_that_is_edited_is_not_the_same_on_both_sides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "git", lambda *_: b" M baselines/krylov.py")
    with pytest.raises(UserError, match=r"same code; commit or put away:\s+M baselines/krylov\.py"):
        list(gate.trials([], 1, 0, 0))


def test_every_planted_run_slows_another_of_the_cheap_cases() -> None:
    firsts = [gate.together(run)[0].name for run in range(len(gate.CHEAP))]
    assert sorted(firsts) == sorted(gate.CHEAP)
    assert all(len({case.name for case in gate.together(run)}) == gate.TOGETHER for run in range(30))
