"""Solvers that do what they must not: each costs its own rows, says why, and harms nobody beside it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.catalogue.registry import SOLVERS
from benchmarks.cli.progress import _Lines
from benchmarks.errors import one_line
from benchmarks.harness import run as running
from benchmarks.harness.resolve import build_cells
from benchmarks.harness.run import run_suite
from benchmarks.harness.scores.fitting import ParameterStore
from benchmarks.harness.workers.cells import Job, cell_worker, run_cells, score
from benchmarks.runs.read import Run, read_run
from benchmarks.runs.validate import problems
from benchmarks.tasks.gaussian import Isotropic
from memformer.core.trace import Outcome
from tests.harness.nasty import (
    ANSWERS,
    FITS,
    HONEST,
    SLOW,
    TOLD,
    WHAT,
    WHEN_TIMED,
    Misfit,
    Nasty,
    OnlyWhenTimed,
    Sparse,
    carried_out,
    nasty,
    rows,
    suite,
)


@pytest.fixture(autouse=True, scope="module")
def _registered() -> Iterator[None]:
    kinds = {"nasty": Nasty, "misfit": Misfit, "only_when_timed": OnlyWhenTimed, "sparse": Sparse}
    for name, kind in kinds.items():
        SOLVERS.add(name, kind)
    yield
    for name in kinds:
        del SOLVERS._entries[name]


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """What honest solvers find where nobody disturbs them."""
    return carried_out(tmp_path_factory.mktemp("alone"), HONEST, TOLD)


@pytest.fixture(scope="module")
def among(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The same among all the others, of which each would harm those after it."""
    others = [
        *(nasty("misfit", what) for what in FITS),
        *(nasty("nasty", what) for what in {**WHAT, **ANSWERS} if what not in SLOW),
        *(nasty("only_when_timed", what) for what in WHEN_TIMED),
    ]
    return carried_out(tmp_path_factory.mktemp("among"), *others, HONEST, TOLD)


def test_honest_solvers_have_the_digits_that_they_have_alone(alone: Run, among: Run) -> None:
    for solver in (HONEST, str(TOLD["name"])):
        mine, theirs = (run.scores[run.scores["solver"] == solver] for run in (among, alone))
        assert mine["mean"].tolist() == theirs["mean"].tolist()
        assert set(mine["status"]) == {"ok"}
    assert set(among.timings[among.timings["solver"] == HONEST]["status"]) == {"ok"}
    assert problems(among) == []


@pytest.mark.parametrize("what", [what for what in {**WHAT, **ANSWERS} if what not in SLOW])
def test_a_nasty_solver_is_a_row_that_says_why(among: Run, what: str) -> None:
    _, status, why = {**WHAT, **ANSWERS}[what]
    ((found, reason),) = rows(among, "nasty", what=what)
    assert found == status
    assert why in reason


@pytest.mark.parametrize("what", FITS)
def test_so_is_one_that_is_fitted(among: Run, what: str) -> None:
    ((status, reason),) = rows(among, "misfit", what=what)
    assert status == "error"
    assert FITS[what][1] in reason


@pytest.mark.parametrize("what", WHEN_TIMED)
def test_so_is_one_that_is_nasty_only_when_timed(among: Run, what: str) -> None:
    assert rows(among, "only_when_timed", what=what) == {("ok", "")}
    ((status, reason),) = rows(among, "only_when_timed", "timings", what)
    assert status == "error"
    assert WHAT[what][2] in reason


@pytest.mark.parametrize("what", sorted(SLOW))
def test_a_time_limit_cannot_be_caught(tmp_path: Path, what: str) -> None:
    run = carried_out(tmp_path, nasty("nasty", what), nasty("only_when_timed", what), HONEST, limit=1.0)
    limit = {("time_limit", "ran past its time limit of 1 s")}
    assert rows(run, "nasty", what=what) == rows(run, "only_when_timed", "timings", what) == limit
    assert rows(run, HONEST) == rows(run, HONEST, "timings") == {("ok", "")}


def test_the_run_keeps_every_traceback(among: Run) -> None:
    text = (among.path / "errors.log").read_text(encoding="utf-8")
    errors = sum(status == "error" for _, status, _ in [*WHAT.values(), *ANSWERS.values()])
    assert text.count("nasty on isotropic d=2\nTraceback (most recent call last):\n") == errors
    assert text.count("misfit on isotropic d=2\nTraceback") == len(FITS)
    assert text.count("only_when_timed on isotropic d=2, a batch of 4 for 2 steps\nTraceback") == len(WHEN_TIMED)


def test_the_work_of_a_solver_with_sparse_tensors_is_counted(tmp_path: Path) -> None:
    timings = carried_out(tmp_path, "sparse").timings
    assert timings["status"].tolist() == ["ok"]
    assert timings["peak_bytes"].iloc[0] > 0


def test_work_that_cannot_be_counted_is_a_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.harness.timings.clock.count_work", lambda call, problem: 1 // 0)
    timings = carried_out(tmp_path, HONEST).timings
    assert timings["status"].tolist() == ["error"]
    assert timings["reason"].tolist()[0].startswith("its work cannot be counted: ZeroDivisionError")


def test_a_nasty_cell_is_kept_and_resumed_like_every_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entries = [nasty("nasty", "surrogate"), HONEST]

    def first(*arguments: Any) -> Any:
        yield next(iter(run_cells(*arguments)))
        raise KeyboardInterrupt

    monkeypatch.setattr(running, "run_cells", first)
    with pytest.raises(KeyboardInterrupt):
        carried_out(tmp_path, *entries)
    monkeypatch.undo()
    done = run_suite(suite(*entries), tmp_path / "runs", None, ["x"], _Lines(), "one", resume=True)
    assert rows(read_run(done.path), HONEST) == {("ok", "")}
    assert (done.path / "errors.log").read_text().count("Traceback") == 1
    assert os.listdir(tmp_path / "runs") == ["one"]


def test_a_solver_that_leaves_a_worker_process_is_a_row(tmp_path: Path) -> None:
    (cell,) = build_cells(suite(nasty("nasty", "leaves")))
    worker = cell_worker()
    try:
        result = score(worker, Job(cell, ParameterStore(), 1)).result
    finally:
        worker.close()
    assert (result.status, result.reason) == ("error", "Misdeed: it called os._exit(0)")
    assert "in solve" in result.traceback


def test_an_error_is_one_line_that_can_be_written() -> None:
    said = one_line(ValueError("a\nb \ud800 \x00 ü"))
    assert said == r"ValueError: a b \ud800 \x00 ü"


def test_outcomes_of_an_honest_trace_are_left_alone() -> None:
    from benchmarks.harness.guard import checked

    problem = Isotropic(d=2, N=6).stream(0, 2).sample(3).blinded()  # type: ignore[arg-type]
    trace = SOLVERS.create(HONEST).solve(problem, 3)
    assert checked(trace, problem, 3) is trace
    weights = trace.weights.clone()  # type: ignore[union-attr]
    weights[2, 1] = torch.nan
    marked = checked(replace(trace, weights=weights), problem, 3)
    assert marked.outcome.tolist()[1] == Outcome.NONFINITE
    assert [marked.outcome_at(step)[1] == Outcome.NONFINITE for step in range(4)] == [False, False, True, True]
