"""The leaderboard in a terminal: it fits, each law has a reading, and a part of it can be asked for."""

from __future__ import annotations

from csv import DictReader
from dataclasses import replace

import pandas as pd
import pytest

from benchmarks.reports.board import leader
from benchmarks.reports.devices import devices
from benchmarks.reports.summary import summary
from benchmarks.runs.ranking import choose
from benchmarks.runs.read import Run
from benchmarks.runs.schema import SCORED_ON
from tests.helpers import call, mistake


@pytest.fixture(scope="module")
def run(reference: Run) -> Run:
    return reference


@pytest.fixture(scope="module")
def ranked(ranked_reference: pd.DataFrame) -> pd.DataFrame:
    return ranked_reference


@pytest.fixture(scope="module")
def few(ranked: pd.DataFrame) -> pd.DataFrame:
    """A part: the laws of most solvers, and a mixture."""
    return choose(ranked, law=["anisotropic", "gmm"], d=[5])


@pytest.mark.parametrize("width", [60, 80, 100, 200])
@pytest.mark.parametrize("top", [1, 3, 100])
def test_no_line_is_wider_than_the_terminal(run: Run, few: pd.DataFrame, width: int, top: int) -> None:
    lines = summary([run], few, width, top).splitlines()
    assert max(map(len, lines)) <= width


@pytest.mark.parametrize("width", [60, 200])
def test_of_no_law_is_a_line_wider(run: Run, ranked: pd.DataFrame, width: int) -> None:
    assert max(map(len, summary([run], ranked, width, 100).splitlines())) <= width


def test_every_line_of_a_solver_has_a_number(run: Run, ranked: pd.DataFrame) -> None:
    names = {f"{name}{star}" for name in ranked["solver"] for star in ("", "*")}
    shown = summary([run], ranked, 80).splitlines()
    assert any(line.startswith("memformer_gdpp* ") for line in shown)
    assert not names & {line.strip() for line in shown}


def test_each_law_has_one_reading_that_its_rows_bear_out(run: Run, ranked: pd.DataFrame) -> None:
    text = " ".join(summary([run], ranked, 10_000).split())
    laws = ranked.groupby(SCORED_ON, dropna=False).ngroups
    assert text.count("; best after 4 steps") == laws
    row = ranked.query("law == 'isotropic' and d == 5 and solver == 'cg' and steps == 4").iloc[0]
    assert f"told nothing beyond the context: cg at {row['log_loss']:.2f} ±" in text
    assert f"{row['gap_to_floor']:.2f} above its floor (krylov_oracle)" in text


def test_equal_ranks_of_two_groups_are_no_tie(ranked: pd.DataFrame) -> None:
    rows: pd.DataFrame = choose(ranked, law=["isotropic"], d=[5], group=["L", "mu, L"]).query("steps == 4")
    first = rows[rows["rank"] == 1].groupby("group").head(1).assign(name=lambda table: table["solver"])
    assert len(first) == 2
    assert "tied" not in leader(first)
    assert "tied" in leader(pd.concat([first.head(1), first.head(1).assign(name="the same again")]))


@pytest.mark.parametrize(("gap", "said"), [(0.004, "at"), (-0.004, "at"), (0.125, "0.12 above"), (-0.5, "0.50 below")])
def test_a_loss_below_its_floor_is_not_at_it(ranked: pd.DataFrame, gap: float, said: str) -> None:
    row = ranked.query("solver == 'cg' and steps == 4").head(1).assign(name="cg", gap_to_floor=gap)
    assert f", {said} its floor (" in leader(row)


def test_the_table_has_the_best_of_each_group_and_the_best_learned_one(run: Run, ranked: pd.DataFrame) -> None:
    text = summary([run], ranked, 100, top=1)
    for group in ("told nothing", "told L", "told mu and L", "know the task law", "direct"):
        assert f"-- {group}" in text
    learned = set(ranked.loc[ranked["learned"], "solver"])
    assert any(line.split() and line.split()[0].rstrip("*") in learned for line in text.splitlines())


def test_a_part_without_leaders_or_losses_is_shown_all_the_same(run: Run, ranked: pd.DataFrame) -> None:
    few = summary([run], choose(ranked, law=["anisotropic"], solver=["scipy_minimize_cg"]), 200)
    assert "told nothing beyond the context: scipy_minimize_cg at -" in few, (
        "scored on fewer tasks than others, and the only one that was asked for"
    )
    told = summary([run], choose(ranked, law=["gmm"], solver=["chebyshev"]), 200)
    assert "of what is here: chebyshev at" in told
    failed = ranked.query("law == 'gmm' and solver == 'cg'").assign(log_loss=float("nan"), rank=pd.NA, status="error")
    text = summary([run], failed, 80)
    assert "no solver has a loss" in text
    assert "Failed: cg error on 1 law." in text


def test_where_nothing_was_measured_is_said(run: Run, ranked: pd.DataFrame) -> None:
    text = " ".join(summary([run], ranked, 100).split())
    assert "cuda: not measured; mps: not measured" in text
    assert "cpu: not measured" not in text


def test_a_busy_machine_is_said(run: Run) -> None:
    for load, said in ((1.6, ""), (3.4, "; taken on a busy machine: load 3.4 on 2 cores")):
        meta = {**run.meta, "cores": 2, "conditions": {"after_timings": {"load": load}}}
        assert devices([replace(run, meta=meta)]).removesuffix("mps: not measured" + said).endswith("not measured; ")
    assert "busy" not in devices([replace(run, meta={"conditions": None})])


def test_a_part_is_ranked_as_in_the_whole(ranked: pd.DataFrame) -> None:
    part = choose(ranked, law=["gmm"], solver=["cg", "pcg"], d=None)
    assert set(part["law"]) == {"gmm"}
    assert set(part["solver"]) == {"cg", "pcg"}
    pd.testing.assert_frame_equal(part, ranked.loc[part.index])


def test_the_command_obeys_columns_and_filters(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr("benchmarks.runs.read.read_run", {run.path: run}.__getitem__)
    options = ("--results", run.path.parents[1])
    done = call("leaderboard", "core-reference", "--law", "gmm", "--top", "1", *options)
    assert done.code == 0
    assert "isotropic" not in done.output
    assert max(map(len, done.output.splitlines())) <= 80
    whole = call("leaderboard", "core-reference", "--whole", "--law", "gmm", *options)
    assert "| " not in whole.output
    assert "k = 3" in whole.output
    table = call("leaderboard", "core-reference", "--format", "csv", "--solver", "cg", "--group", "nothing", *options)
    assert {row["solver"] for row in DictReader(table.output.splitlines())} == {"cg"}
    said = mistake("leaderboard", "core-reference", "--law", "gmn", *options)
    assert said.startswith("no row has law 'gmn'; there are isotropic, anisotropic, gmm")
