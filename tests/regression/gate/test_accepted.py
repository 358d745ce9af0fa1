"""What a change says it means to be slower or worse."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from benchmarks.regression.gate.accepted import MOST, Line, accept, messages, read_lines
from benchmarks.regression.gate.cases import LossCase, SpeedCase
from benchmarks.regression.gate.losses import LossResult
from benchmarks.regression.gate.report import Verdict, markdown
from benchmarks.regression.gate.speed import SpeedResult
from benchmarks.regression.gate.trees import resolve
from tests.regression.gate.conftest import change, commit

SLOW = SpeedResult(SpeedCase("solve", "cg"), [1.08, 1.09, 1.10], status="slower")
CASE = LossCase("cg", {}, "isotropic", {"d": 5, "N": 20}, 10, (0,))
WORSE = LossResult(CASE, 2, math.log(1.01), 0.005, 0.02, status="worse")


def test_lines_are_read_out_of_any_text() -> None:
    lines, refused = read_lines(
        "A change\n\nSlower: solve cg 10 % (checks more)\r\n worse: cg on * 1.5% (why (not))\nx\n"
    )
    assert lines == [Line("slower", "solve cg", 10.0, "checks more"), Line("worse", "cg on *", 1.5, "why (not)")]
    assert refused == []


@pytest.mark.parametrize("line", ["Slower: solve cg", "Slower: solve cg 10 %", "Slower: 10 % (x)", "Worse: cg 1 % ()"])
def test_a_line_that_cannot_be_read_is_a_sentence_and_accepts_nothing(line: str) -> None:
    lines, (sentence,) = read_lines(line)
    assert lines == []
    assert sentence == f"{line!r} accepts nothing: a line is 'Slower: CASE 10 % (why)', or Worse"


def test_a_strangers_text_is_read_so_far() -> None:
    assert len(read_lines("\n".join(f"Slower: solve {n} 1 % (x)" for n in range(10 * MOST)))[0]) == MOST
    assert "Slower: " + "a" * 200 in read_lines("Slower: " + "a" * 10**6)[1][0]


@pytest.mark.parametrize(
    ("text", "status"), [("solve cg 10", "accepted"), ("solve * 9", "accepted"), ("solve cg 5", "slower")]
)
def test_a_slowdown_is_accepted_up_to_what_the_line_says(text: str, status: str) -> None:
    lines, _ = read_lines(f"Slower: {text} % (checks more)")
    (timed,), _, idle = accept(lines, [SLOW], [])
    assert timed.status == status
    assert len(idle) == (status == "slower")
    verdict = Verdict("main", "tree", "machine", 1.0, [timed], [], notes=idle)
    assert verdict.passed == (status == "accepted")
    assert ("Accepted" in markdown(verdict)) == (status == "accepted")


def test_a_worse_loss_is_accepted_and_one_that_is_not_finite_any_more_is_not() -> None:
    lines, _ = read_lines("Worse: cg on isotropic 2 % (the paper's step)")
    lost = LossResult(CASE, 1, status="worse", reason="3 tasks have no finite loss any more")
    by_table = LossResult(CASE, 3, 0.0, 0.0, 0.0, math.log(1.05), "worse", "worse than the committed table")
    _, scored, idle = accept(lines, [SLOW], [WORSE, lost, by_table])
    assert [one.status for one in scored] == ["accepted", "worse", "worse"]
    assert idle == []
    assert accept(lines, [SLOW], [])[0] == [SLOW]


def test_commit_messages_since_base_are_read(tiny: Path) -> None:
    base = resolve(tiny, "HEAD")
    change(tiny, "factor=1.0", "factor=1.5", "benchmarks/objects.py")
    commit(tiny, "Checks its input\n\nSlower: solve cg 10 % (checks)")
    assert [line.what for line in read_lines(messages(tiny, base))[0]] == ["solve cg"]
    assert messages(tiny, "HEAD") == ""
