"""Published numbers: the file is sound, the rule is the rule, and the page says what was found."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from benchmarks.experiments.literature import command
from benchmarks.experiments.literature.judge import judge
from benchmarks.experiments.literature.measure import NOTHING
from benchmarks.experiments.literature.numbers import Literature, Number, read_numbers
from benchmarks.harness.resolve import build_law, build_solver
from benchmarks.statistics.summary import Summary
from benchmarks.suites.entries import SolverEntry
from tests.helpers import call, mistake

KNOWN = read_numbers()


def number(**changed: Any) -> Number:
    given = {"source": "a", "where": "Table 1", "what": "x", "kind": "classical", "value": 1.0, "solver": "ols"}
    return Number.model_validate({**given, "law": {"law": "isotropic", "d": 4, "N": 8}, **changed})


def found(middle: float, half: float = 0.01) -> Summary:
    return Summary(math.exp(middle), middle, middle - half, middle + half, 0.0, 0.0, 0.0, 0.0)


def verdict(summary: Summary, **changed: Any) -> str:
    return judge([(number(**changed), summary, "")])[0].verdict


@pytest.mark.parametrize("one", KNOWN.number, ids=lambda one: f"{one.source}: {one.what}")
def test_each_number_names_a_law_and_a_solver_and_is_a_loss(one: Number) -> None:
    law = build_law(one.law)
    solver = build_solver(SolverEntry(name=one.solver, params=one.params))
    assert one.steps in one.fit or not solver.fitting.required
    assert one.over in (1.0, law.d, law.parameters.get("nonzero"))
    assert KNOWN.sources[one.source].cite


def test_no_source_has_more_than_ten_and_none_is_there_twice() -> None:
    assert max(Counter(one.source for one in KNOWN.number).values()) <= 10
    keys = [(one.source, one.where, one.what) for one in KNOWN.number]
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize(
    ("middle", "half", "tolerance", "expected"),
    [
        (0.0, 0.01, 0.0, "reproduced"),
        (0.04, 0.005, 0.0, "refuted"),
        (0.04, 0.06, 0.0, "undecided"),
        (0.10, 0.03, 0.1, "reproduced"),
        (0.30, 0.03, 0.1, "refuted"),
        (-0.30, 0.03, 0.1, "refuted"),
        (0.0, 0.5, 0.1, "undecided"),
    ],
)
def test_the_rule(middle: float, half: float, tolerance: float, expected: str) -> None:
    assert verdict(found(middle, half), tolerance=tolerance) == expected


def test_a_smaller_model_refutes_nothing() -> None:
    smaller = {"kind": "learned", "smaller": "two layers"}
    assert verdict(found(2.0), **smaller) == "undecided"
    assert verdict(found(-2.0), **smaller) == "reproduced"
    assert verdict(found(2.0), kind="learned") == "refuted"


def test_what_was_learned_is_reproduced_by_less() -> None:
    assert verdict(found(-2.0), kind="learned") == "reproduced"
    assert verdict(found(-2.0)) == "refuted"


def test_units_of_the_published_number() -> None:
    assert verdict(found(math.log(4.0)), over=4.0) == "reproduced"
    judged = judge([(number(over=4.0), found(math.log(8.0)), "")])[0]
    assert judged.ours[0] == pytest.approx(math.log(2.0))


def test_more_numbers_make_a_refutation_harder() -> None:
    odd = (number(), found(0.04, 0.035), "")  # p = 0.025
    assert judge([odd])[0].verdict == "refuted"
    assert judge([odd, *[(number(), found(0.0), "")] * 9])[0].verdict == "undecided"


def test_what_failed_is_undecided_and_says_why() -> None:
    judged = judge([(number(), NOTHING, "it broke")])
    assert (judged[0].verdict, judged[0].why) == ("undecided", "it broke")
    assert "it broke" in command.page(KNOWN, judged)


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"smaller": "x"}, "only what is learned can be smaller than theirs"),
        ({"value": -1.0}, "greater than 0"),
        ({"tolerance": -0.1}, "greater than or equal to 0"),
    ],
)
def test_a_number_without_a_meaning_is_refused(changed: dict, why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        number(**changed)


def test_what_is_not_run_is_listed_with_its_reason() -> None:
    text = command.page(KNOWN, judge([(number(), found(0.0), "")]))
    assert all(one.what.split(",")[0] in text for one in KNOWN.not_run)
    assert all(cite.cite[:30] in text for cite in KNOWN.sources.values())


def test_a_number_of_no_source_is_refused() -> None:
    with pytest.raises(ValidationError, match="no source 'a'"):
        Literature(sources={}, number=[number()])


def test_the_command_judges_one_source_and_names_what_it_knows(tmp_path: Path) -> None:
    done = call("run", "literature", "--quick", "--only", "least_squares", "--jobs", "1", "--results", tmp_path)
    assert done.code == 0, done.output
    folder = tmp_path / "literature-quick-least_squares"
    text = (folder / "literature.md").read_text()
    assert "| least squares, d = 5, N = 20, noise 1 " in text
    assert "three nearest neighbours" not in text
    assert "## Not run" not in text
    assert "## Learned" not in text
    assert (folder / "numbers.csv").read_text().count("\nleast_squares,") == 9
    told = mistake("run", "literature", "--only", "nobody", "--results", tmp_path)
    assert "has no 'nobody'; there are ahn, zhang, least_squares, ridge, looped, fanpu" in told
