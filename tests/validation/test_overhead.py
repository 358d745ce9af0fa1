"""What the harness costs beside the solver, and beside benchopt: the clocks, the page, and the losses of both."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks.errors import UserError
from benchmarks.validation import overhead
from benchmarks.validation.overhead import SHAPES, Parts, Rounds, page
from benchmarks.validation.overhead_benchopt import SAME, WAYS, Cost, Losses, Way, compared, difference, version
from benchmarks.validation.overhead_clock import Clock

OURS = [Cost(1.0, 0.0, 30.0, 45.0), Cost(1.0, 0.0, 60.0, 45.0), Cost(2.0, 0.0, 45.0, 45.0)]
LESS = [Cost(cost.solver, 0.0, cost.beyond_solver - 15, 30.0) for cost in OURS]
THEIRS = [Cost(3.0, 12.0, 90.0, 60.0), Cost(3.0, 12.0, 90.0, 60.0), Cost(3.0, 12.0, 90.0, 60.0)]
FACTS = {"cpu": "a machine", "repeats": 3, "cells": 10}


def losses(*means: float) -> Losses:
    return {(0.1, 0, step, "test_loss"): mean for step, mean in enumerate(means)}


def measured(theirs: dict[Way, list[Cost]]) -> list[Rounds]:
    parts = [Parts(one.solver, 15.0, 5.0, one.beyond_solver - 20, one.beyond_solver, 9.0, 45.0, 4.0) for one in OURS]
    return [Rounds(parts, theirs, 2e-9 * number) for number, _ in enumerate(SHAPES)]


def test_a_clock_sums_what_passes_inside_and_counts_the_processes_it_waited_for() -> None:
    whole, clock = Clock(), Clock()
    with whole:
        time.sleep(0.05)
        with clock:
            time.sleep(0.02)
    assert 0.02 <= clock.seconds <= whole.seconds - 0.05
    assert clock.processor < 0.02
    with clock:
        subprocess.run([sys.executable, "-c", "sum(range(3_000_000))"], check=True)
    assert clock.processor >= 0.02


def test_a_row_has_what_a_point_costs_and_the_ratio_of_each_round() -> None:
    own, less, theirs = compared(15, {"this harness": OURS, "less": LESS}, {Way("one run", False): THEIRS})
    assert own[:3] == ["this harness", "yes", "1.0 (1.0–2.0)"]
    assert own[4:] == ["45.0 (30.0–60.0)", "3.0 (2.0–4.0)", "3.0 (3.0–3.0)", "1"]
    assert less[0] == "less"
    assert less[4:] == ["30.0 (15.0–45.0)", "2.0 (1.0–3.0)", "2.0 (2.0–2.0)", "0.7 (0.5–0.8)"]
    assert theirs[:2] == ["benchopt, one run tells all numbers of steps", "no"]
    assert theirs[3:] == ["12.0 (12.0–12.0)", "90.0 (90.0–90.0)", "6.0 (6.0–6.0)", "4.0 (4.0–4.0)", "2.0 (1.5–3.0)"]


def test_the_page_has_both_and_says_which_benchopt() -> None:
    text = page(measured({Way("callback", True): THEIRS}), [500.0, 900.0], "1.10.0", **FACTS)
    assert "0.5 s and 0.9 s" in text
    assert "benchopt 1.10.0 computes the same points" in text
    assert "(largest relative difference 2e-09)" in text
    assert "| benchopt, called back after each step | yes | 3.0 (3.0–3.0) |" in text
    assert "| this harness, ranks apart | yes | 1.0 (1.0–2.0) | – | 40.0 (25.0–55.0) |" in text
    for title, shape in SHAPES.items():
        points = len(shape["steps"]) * len(shape["seeds"])
        parts = "1.0 (1.0–2.0) | 15.0 (15.0–15.0) | 5.0 (5.0–5.0) | 25.0 (10.0–40.0) | 45.0 (30.0–60.0)"
        assert f"| {title} | {parts} | {points} |" in text
        assert f"Cell: {title} ({points} point" in text


def test_without_benchopt_the_page_says_so() -> None:
    text = page(measured({}), [500.0, 900.0], None, **FACTS)
    assert "benchopt is not installed here" in text
    assert "Cell: " not in text


def test_losses_of_other_points_or_that_differ_by_more_than_rounding_are_refused() -> None:
    assert difference(losses(1.0, 2.0), losses(1.0, 2.0 + SAME)) == pytest.approx(SAME / 2)
    with pytest.raises(UserError, match=r"differs from the harness's by 1\.0e-06 of itself"):
        difference(losses(1.0, 2.0), losses(1.0, 2.000002))
    with pytest.raises(UserError, match="differs"):
        difference(losses(1.0, 2.0), losses(1.0, float("nan")))
    with pytest.raises(UserError, match="the same points"):
        difference(losses(1.0, 2.0), losses(1.0))


@pytest.mark.skipif(version() is None, reason="benchopt is not installed (the extra `anchors`)")
@pytest.mark.filterwarnings("default")  # of benchopt and what it imports
@pytest.mark.parametrize("steps", [[1], [1, 3, 4]])
def test_every_way_of_benchopt_records_the_losses_of_the_harness(tmp_path: Path, steps: list[int]) -> None:
    shape = {"steps": steps, "seeds": [0, 1], "scores": {"tasks": 20}}
    found = overhead.rounds(tmp_path / "rounds", shape, 2, 1, WAYS)
    assert set(found.theirs) == set(WAYS)
    assert 0 < found.difference <= SAME
    for costs in found.theirs.values():
        assert len(costs) == 1
        assert 0 < costs[0].described < costs[0].beyond_solver
