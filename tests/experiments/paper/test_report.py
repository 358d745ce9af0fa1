"""Verdicts, tables, figures and the page, on a small run."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pandas as pd
import pytest

from benchmarks.errors import UserError
from benchmarks.experiments.paper.command import in_order, narrowed, report, selected, with_lenders
from benchmarks.experiments.paper.curves import Point, read_points
from benchmarks.experiments.paper.entries import experiments
from benchmarks.experiments.paper.verdicts import Claim, claims, law_of, published_difference, verdict
from benchmarks.runs.ranking import solver_label
from benchmarks.runs.read import read_run
from benchmarks.suites.entries import SolverEntry
from benchmarks.suites.suite import load_suite
from tests.helpers import call

SMALL = """
schema = 1
steps = [1, 2, 3, 4]
seeds = [0, 1]
solvers = ["cg", "lfom_optimal", "lfom"]
[scores]
tasks = 60
[timings]
batch = 2
repeats = 1
[[tasks]]
law = "isotropic"
"""


def _label(entry: SolverEntry) -> str:
    return solver_label({"solver": entry.name, "solver_params": json.dumps(entry.params), "trained_on": ""})


def test_the_rule():
    assert verdict(seen=True, holds=True, refuted=False) == "holds"
    assert verdict(seen=False, holds=True, refuted=False) == "holds"
    assert verdict(seen=True, holds=False, refuted=True) == "holds only as published"
    assert verdict(seen=True, holds=False, refuted=False) == "holds only as published"
    assert verdict(seen=False, holds=False, refuted=True) == "does not hold"
    assert verdict(seen=False, holds=False, refuted=False) == "not decided"


def test_claims_name_curves_and_solvers_that_are_there():
    suite, by_id = load_suite("paper"), {e.id: e for e in experiments()}
    for claim in claims():
        law, d = law_of(by_id[claim.experiment])
        (task,) = [task for task in suite.tasks if (task.law, task.d) == (law, d)]
        there = {_label(s) for s in suite.solvers if s.only.holds(task)}
        assert set(claim.honest) <= there, claim.text
        for experiment in by_id.values():
            assert set(experiment.honest) <= {_label(s) for s in suite.solvers}


def test_published_differences_are_read_off_the_redone_points():
    claim = Claim(text="", experiment="e", published=["LFOM Memformer", "Momentum"], honest=["a", "b"], layers=[1, 2])
    points = [Point("e", "LFOM Memformer", k, s, "published", -k + 0.1 * s) for k in (1, 2) for s in (0, 2)]
    points += [Point("e", "Momentum", k, 0, "published", 1.0) for k in (1, 2)]
    points += [Point("e", "LFOM Memformer", 1, 0, "fresh", 99.0)]
    assert published_difference(claim, points) == pytest.approx([-1.9, -2.9])
    assert published_difference(claim, [p for p in points if p.curve == "Momentum"]) == [], "not redone"


def test_borrowed_curves_are_copies_and_their_owners_are_redone():
    (e,) = selected(["e"])
    lender = with_lenders([e])[1]
    assert (lender.id, [m.curve for m in lender.models], lender.baselines) == (
        "d",
        ["LFOM Memformer", "Linear Transformer (Pre)"],
        [],
    )
    assert [x.id for x in with_lenders(selected(["d", "e"]))] == ["d", "e"]
    points = [Point("d", "LFOM Memformer", 2, 0, "published", -1.0), Point("e", "Momentum", 1, 0, "published", 1.0)]
    found = in_order([e], points)
    assert [(p.experiment, p.curve) for p in found] == [("e", "Momentum"), ("e", "LFOM Memformer")]


def test_only_known_experiments():
    assert [e.id for e in selected(["b", "a"])] == ["a", "b"]
    with pytest.raises(UserError, match="the experiment paper has no 'z'; there are a, b, c"):
        selected(["z"])
    suite = narrowed(load_suite("paper"), selected(["g"]))
    assert [(task.law, task.d) for task in suite.tasks] == [("isotropic", 5)]


def test_a_report_is_one_page_with_everything_in_it(tmp_path: Path):
    (tmp_path / "small.toml").write_text(SMALL)
    done = call("run", tmp_path / "small.toml", "--results", tmp_path, "--name", "small", "--jobs", "1")
    assert done.code == 0, done.error
    points = [
        Point("g", curve, k, 0, scored, value - k)
        for curve, value in (("CGD", 1.0), ("LFOM B=10", 0.0))
        for scored in ("published", "fresh")
        for k in (1, 2, 3, 4)
    ]
    (tmp_path / "points.csv").write_text(pd.DataFrame([vars(point) for point in points]).to_csv(index=False))
    assert read_points(tmp_path / "points.csv") == points
    (tmp_path / "bad.csv").write_text("experiment,curve\ng,CGD\n")
    with pytest.raises(UserError, match="not a table of the published protocol"):
        read_points(tmp_path / "bad.csv")
    written = report(selected(["g"]), points, read_run(tmp_path / "runs" / "small")).write(tmp_path / "out", png=True)
    assert {path.name for path in written} >= {"VERDICTS.md", "report.html", "g.svg", "g.png", "agreement.csv"}
    verdicts = (tmp_path / "out" / "VERDICTS.md").read_text()
    assert "holds only as published" in verdicts, "lfom loses to cg on fresh tasks"
    page = (tmp_path / "out" / "report.html").read_text()
    assert page.count("<img") == 1
    assert not re.search(r'(src|href)="(?!data:)', page), "the page needs nothing else"
    assert "lfom_optimal" in page
