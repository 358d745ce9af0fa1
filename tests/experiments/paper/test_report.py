"""Verdicts, tables, figures and the page, on a small run."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from baselines.krylov import PreconditionedCG
from benchmarks.catalogue.registry import LAWS
from benchmarks.errors import UserError
from benchmarks.experiments.paper import command, facts
from benchmarks.experiments.paper.command import narrowed, report, selected
from benchmarks.experiments.paper.curves import Point, read_points
from benchmarks.experiments.paper.effort import training_speed
from benchmarks.experiments.paper.entries import experiments
from benchmarks.experiments.paper.experts_fresh import CLAIMS, SHIFTS, experts_evidence, rotation_shift
from benchmarks.experiments.paper.heads import heads_evidence
from benchmarks.experiments.paper.redo import in_order, with_lenders
from benchmarks.experiments.paper.report import before_and_after, changes_before, lines
from benchmarks.experiments.paper.verdicts import (
    Claim,
    Evidence,
    Part,
    Training,
    claims,
    judge,
    law_of,
    published_difference,
)
from benchmarks.harness.run import Finished
from benchmarks.runs.ranking import solver_label
from benchmarks.runs.read import read_run
from benchmarks.suites.entries import SolverEntry
from benchmarks.suites.suite import load_suite
from benchmarks.tasks.law import Purpose
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


def _part(ratio: float, half: float, p_value: float) -> Part:
    return Part("2", ratio, ratio - half, ratio + half, p_value)


def _verdicts(*claims: list[Part], **given: object) -> list[str]:
    gathered = [Evidence("claim", "Topic", "short", "a", parts, **given) for parts in claims]  # type: ignore[arg-type]
    return [row["verdict"] for row in judge(gathered)]


def test_refuted_and_undecided_are_apart():
    lower, higher, wide, alike = _part(-0.5, 0.1, 1e-9), _part(0.5, 0.1, 1e-9), _part(-0.3, 0.5, 0.2), _part(0, 0.01, 1)
    found = _verdicts([lower, lower], [lower, higher], [higher], [lower, wide], [alike, alike], [lower, alike])
    assert [word.partition(" (")[0] for word in found] == [
        "holds",
        "refuted",
        "refuted",
        "undecided",
        "no difference",
        "holds in part",
    ]
    assert found[1] == "refuted (lower at 2, higher at 2)"
    tiny = _part(-0.004, 0.001, 1e-9)
    assert _verdicts([tiny]) == ["no difference"], "significant, and nothing that anyone would notice"


def test_holms_correction_runs_over_all_claims():
    """An interval that lies below 0 by little decides alone, and not among many."""
    close = _part(-0.3, 0.25, 0.02)
    assert _verdicts([close]) == ["holds"]
    assert set(_verdicts(*[[close]] * 10)) == {"undecided"}


def test_speed_of_training_is_told_where_memory_gains_nothing(tmp_path: Path):
    alike = _part(0, 0.01, 1.0)
    assert _verdicts([alike], speed="3 times faster to train") == ["no gain at convergence, 3 times faster to train"]
    assert _verdicts([_part(0.5, 0.1, 1e-9)], speed="3 times faster to train") == ["refuted"]
    rows = [
        {
            "start": start,
            "preconditioner": "full",
            "memory": memory,
            "depth": 2,
            "gap_0": 1.0,
            "gap_100": g,
            "gap_300": 0.0,
        }
        for start in ("other", "random 0.1")
        for memory, g in (("no memory", 0.2), ("conjugate", 0.2 if start == "other" else 0.01))
    ]
    pd.DataFrame(rows).to_csv(tmp_path / "gaps.csv", index=False)
    wanted = Training(memory="conjugate", preconditioner="full")
    assert training_speed(wanted, [2], tmp_path / "gaps.csv") == "3 times faster to train"
    assert training_speed(wanted, [2], tmp_path / "none.csv") == ""


def test_the_page_begins_with_ten_lines():
    gathered = [Evidence(c.text, c.topic, c.short, c.experiment, [_part(-1, 0.1, 1e-9)]) for c in claims()]
    judged = judge([*gathered, *facts.theorems()])
    told = lines(judged, 9)
    assert told[0] == f"**{len(judged)} claims**, 9 comparisons on fresh tasks: {len(judged) - 1} holds, 1 refuted."
    numbers = dict.fromkeys(("ratio", "ratio_low", "ratio_high", "p_value", "tail_limited"), 0)
    mixtures = [{**numbers, "method": name, "law": "all three", "layers": 2, "against": ""} for name in CLAIMS]
    several = [{**numbers, "kind": "P = 0", "layers": 2, "steps_one": 1, "steps_several": 1}]
    everything = [
        *(Evidence(c.text, c.topic, c.short, c.experiment, [_part(-1, 0.1, 1e-9)]) for c in claims()),
        *facts.theorems(),
        *facts.overhead(lambda label, steps: 1.0),
        *heads_evidence(several),
        *experts_evidence(rotation_shift(), mixtures),
        *facts.elsewhere(Path("results")),
    ]
    assert len(lines(judge(everything), 9)) == 10
    changes = {(row["claim"], row["experiment"]): row for row in before_and_after(judged)}
    assert changes["... and have a lower loss than one head", "l-b9"]["before"] == "not decided"
    assert changes["... also at equal floating-point operations", "c"]["before"] == ""


def test_every_claim_judged_before_is_still_judged():
    there = {(claim.text, claim.experiment) for claim in claims()}
    there |= {(one.claim, one.experiment) for one in facts.theorems()}
    for shift in (make() for makes in SHIFTS.values() for make in makes):
        there |= {(text.format(one=shift.says[0], where=shift.says[1]), shift.id) for text in CLAIMS.values()}
    assert set(changes_before()) <= there


def test_theorems_hold_to_rounding():
    cg, heads = facts.theorems()
    assert cg.stated == "holds"
    assert heads.stated.startswith("refuted: a theorem")
    assert [float(one.fresh.split(";")[0].split()[-1]) < 1e-12 for one in (cg, heads)] == [True, True]


def test_what_other_experiments_found_is_read_off_their_tables(tmp_path: Path):
    assert facts.elsewhere(tmp_path) == []
    for name in ("learnability", "scaling"):
        (tmp_path / name).mkdir()
    rates = tmp_path / "learnability" / "rates.csv"
    for low, high, expected in ((-1.1, -0.9, "holds"), (-1.1, -0.4, "holds in part"), (-0.4, -0.3, "refuted")):
        rates.write_text(f"depth,slope,low,high\n1,-1,-1.1,-0.9\n2,-1,{low},{high}\n3,,,\n")
        (theory,) = facts.elsewhere(tmp_path)
        assert theory.stated == expected
    rates.unlink()
    stopwatch = tmp_path / "scaling" / "scaling_stopwatch.csv"
    stopwatch.write_text("law,d,N,batch,solver,wins\na,5,20,1,x,True\na,5,20,1,y,False\na,5,20,9,x,False\n")
    (scale,) = facts.elsewhere(tmp_path)
    assert scale.stated == "holds in part"
    assert scale.fresh.startswith("on 1 of 2")


def test_gdpp_is_judged_under_shift_as_it_was_trained():
    law = LAWS.create("anisotropic")
    one = PreconditionedCG().fit(law.stream(0, Purpose.TRAIN), [4])
    found = facts.shifted([one, one], [0, 1], tasks=200)
    assert all(part.high < 0 for part in found.parts), "no change of scale touches pcg either, which beats cg"
    assert len({round(part.ratio, 6) for part in found.parts}) == 3, "one for each number of layers"


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
    claim = Claim(
        text="",
        topic="",
        short="",
        experiment="e",
        published=["LFOM Memformer", "Momentum"],
        honest=["a", "b"],
        layers=[1, 2],
    )
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
    done = call("run", tmp_path / "small.toml", "--results", tmp_path, "--name", "small")
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
    assert "| refuted" in verdicts, "lfom loses to cg on fresh tasks"
    assert "seen: " in verdicts
    assert verdicts.splitlines()[2].startswith("1. **1 claims**, 4 comparisons")
    assert "holds only as published" in (tmp_path / "out" / "before_and_after.md").read_text()
    page = (tmp_path / "out" / "report.html").read_text()
    assert page.count("<img") == 1
    assert not re.search(r'(src|href)="(?!data:)', page), "the page needs nothing else"
    assert "lfom_optimal" in page


def test_what_took_long_is_kept_when_the_judge_stumbles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    point = Point("l-b9", "CGD", 1, 0, "published", 1.0)
    monkeypatch.setattr(command, "redo", lambda chosen, request: [point])
    monkeypatch.setattr(command.heads, "table", lambda request: [{"heads": 2, "log_mean": -1.0}])
    monkeypatch.setattr(command, "read_run", lambda path: None)
    monkeypatch.setattr(command, "report", lambda *_: pytest.fail("the judge stumbled"))
    request: Any = SimpleNamespace(
        only=["l-b9"], results=tmp_path, processes=1, run_suite=lambda suite, _: Finished(tmp_path, [], [])
    )
    with pytest.raises(pytest.fail.Exception):
        command.redo_and_judge(request, tmp_path / "paper", None)
    assert read_points(tmp_path / "paper" / "published_protocol.csv") == [point]
    assert pd.read_csv(tmp_path / "paper" / "heads.csv")["heads"].tolist() == [2]
