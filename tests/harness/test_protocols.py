"""Protocols, floors and alarms: no leak goes unseen, and none is seen where there is none."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks.catalogue.registry import SOLVERS
from benchmarks.harness.cell import Cell, CellResult
from benchmarks.harness.scores.fitting import ParameterStore
from benchmarks.harness.scores.floors import FloorKey, floor_losses
from benchmarks.harness.scores.measure import run_cell
from benchmarks.harness.scores.protocol import ScoredTasks, scored_tasks
from benchmarks.harness.scores.table import score_rows
from benchmarks.runs.schema import ScoreRow
from benchmarks.suites.entries import Protocol
from benchmarks.tasks.gaussian import Anisotropic, Isotropic
from benchmarks.tasks.law import Law, Purpose
from memformer.core.problem import Problem, TaskSource
from memformer.core.solver import Fitting, Needs, Reach, Solver
from memformer.core.trace import Trace

CPU = torch.device("cpu")
ISOTROPIC = Isotropic(d=3, N=9)


def run(solver: Solver, law: Law = ISOTROPIC, protocol: Protocol = "held_out", **changes: Any) -> CellResult:
    settings: dict[str, Any] = {"steps": (1, 2), "seeds": (0, 1), "tasks": 400, **changes}
    settings |= {"dtype": torch.float64, "device": CPU, "time_limit": 60.0, "protocol": protocol}
    return run_cell(Cell("law", law, "solver", solver, {}, **settings), ParameterStore())


def pooled(result: CellResult, metric: str = "expected_test_loss") -> list[ScoreRow]:
    assert result.status == "ok", result.reason
    return [row for row, _ in score_rows(result) if row.seed is None and row.metric == metric]


@dataclass(frozen=True)
class Memorises(Solver):
    """Answers with the labels it was fitted on, where it knows the context again; with 0 elsewhere."""

    needs = Needs.LAW
    fitting = Fitting.RANDOM
    known: Problem | None = None

    def fit(self, tasks: TaskSource, steps: Any, seed: int = 0) -> Solver:
        return Memorises(tasks.sample(400))

    def solve(self, problem: Problem, num_steps: int) -> Trace:
        assert self.known is not None
        assert self.known.y_query is not None
        same = (problem.X[:, None] == self.known.X[None]).flatten(2).all(-1)
        found = same.any(1)
        answers = self.known.y_query[same.int().argmax(1)]
        predictions = torch.where(found[:, None], answers, 0.0)
        return Trace.of_predictions(predictions.expand(num_steps + 1, *predictions.shape))


@dataclass(frozen=True)
class Adapts(Solver):
    """Remembers what it was shown to adapt to."""

    needs = Needs.LAW
    seen: Problem | None = None

    def adapt(self, context: Problem) -> Solver:
        assert context.y_query is None
        assert context.w_star is None
        assert context.second_moment is None
        return Adapts(context)

    def solve(self, problem: Problem, num_steps: int) -> Trace:
        assert self.seen is not None, "the solver was not adapted"
        assert torch.equal(self.seen.X, problem.X)
        return Trace.direct(torch.linalg.lstsq(problem.X, problem.y.unsqueeze(-1)).solution.squeeze(-1), num_steps)


def test_streams_share_no_task() -> None:
    for seed in (0, 1):
        rows = [ISOTROPIC.stream(seed, purpose).sample(500).X.flatten().tolist() for purpose in Purpose]
        rows.append(ISOTROPIC.stream(seed + 1, Purpose.SCORE).sample(500).X.flatten().tolist())
        numbers = [set(row) for row in rows]
        for i, one in enumerate(numbers):
            assert not any(one & other for other in numbers[:i])


def test_the_scored_labels_cannot_be_reached_when_held_out() -> None:
    losses = run(Memorises()).measured[0].losses["test_loss"]
    blank = scored_tasks(ISOTROPIC, 0, 400, torch.float64, CPU)
    assert blank.y_query is not None
    np.testing.assert_array_equal(losses[0], blank.y_query.square().mean(-1).numpy())  # nothing was known again


def test_the_transductive_protocol_is_fitted_on_what_it_is_scored_on() -> None:
    result = run(Memorises(), protocol="transductive")
    assert np.all(result.measured[0].losses["test_loss"] == 0)


def test_what_learns_nothing_cannot_be_fitted_on_the_scored_tasks() -> None:
    result = run(SOLVERS.create("cg"), protocol="transductive")
    assert (result.status, "learns nothing" in result.reason) == ("error", True)


def test_adaptation_sees_the_context_and_nothing_else() -> None:
    assert run(Adapts(), protocol="context_adapted").status == "ok"
    assert "nothing that adapts" in run(SOLVERS.create("cg"), protocol="context_adapted").reason


def test_scored_tasks_come_again_in_the_same_order_without_true_weights() -> None:
    problem = ISOTROPIC.stream(0, Purpose.SCORE).sample(5)
    source = ScoredTasks(ISOTROPIC.stream(0, Purpose.TRAIN), problem)
    drawn = [source.sample(3), source.sample(4)]
    assert torch.equal(torch.cat([part.y for part in drawn]), problem.y[[0, 1, 2, 3, 4, 0, 1]])
    assert all(part.w_star is None and part.y_query is not None for part in drawn)


def test_a_model_fitted_on_ten_scored_tasks_raises_the_alarm_and_held_out_does_not() -> None:
    solver = SOLVERS.create("memformer_conjugate_scalar", tasks=2000, iterations=200)
    law = Anisotropic(d=5, N=20)
    leaking = run(solver, law, "transductive", tasks=10, steps=(3,), seeds=(0, 1, 2))
    alarms = [row.alarm for row in pooled(leaking, "test_loss")]
    assert any("below the floor of its class" in alarm for alarm in alarms)
    honest = run(solver, law, steps=(1, 2, 3), seeds=(0,), tasks=2000)
    assert [row.alarm for row, _ in score_rows(honest)] == [""] * 6


@pytest.mark.parametrize("name", ["lfom_optimal", "lfom_optimal_preconditioned"])
def test_the_optimal_method_has_no_gap_to_its_floor(name: str) -> None:
    rows = pooled(run(SOLVERS.create(name), Anisotropic(d=4, N=12), steps=(1, 2, 3), tasks=4000))
    for row in rows:
        assert row.gap_low is not None
        assert row.gap_high is not None
        assert row.gap_low <= 0.002
        assert row.gap_high >= -0.002
        assert not row.alarm


@pytest.mark.parametrize(
    ("name", "law", "exact"),
    [
        ("marchenko_pastur", Isotropic(d=4, N=12, noise_std=0.5), True),
        ("marchenko_pastur", Anisotropic(d=4, N=12), False),
        ("memformer_constructed_preconditioned", Anisotropic(d=4, N=12), True),
    ],
)
def test_a_row_says_whether_its_floor_is_exact_or_how_well_it_is_estimated(name: str, law: Law, exact: bool) -> None:
    rows = pooled(run(SOLVERS.create(name), law, steps=(1, 2, 5)))
    assert {row.floor_exact for row in rows} == {exact}
    if exact:
        assert {row.floor_error for row in rows} == {None}
        return
    errors = [row.floor_error for row in rows]
    assert all(error is not None and 0 <= error < 0.2 for error in errors)
    assert errors[-1] > errors[0]


@pytest.mark.parametrize(("name", "reach"), [("cg", "Krylov"), ("pcg", "Krylov, preconditioned")])
def test_no_krylov_method_is_below_the_oracle_on_any_task(name: str, reach: str) -> None:
    law = Anisotropic(d=4, N=12)
    result = run(SOLVERS.create(name), law, steps=(1, 2, 3))
    for seed, measured in zip((0, 1), result.measured, strict=True):
        floor = floor_losses(FloorKey(law, seed, 400, 3, torch.float64, CPU), Reach(reach), "expected_test_loss")
        assert floor is not None
        assert np.all(measured.losses["expected_test_loss"] >= floor[1:] * (1 - 1e-9) - 1e-20)
    assert all(row.gap_to_floor is not None and row.gap_to_floor > 0 for row in pooled(result))


def test_bayes_is_the_floor_of_everything_under_noise() -> None:
    law = Isotropic(d=3, N=6, noise_std=0.5)
    rows = {name: pooled(run(SOLVERS.create(name), law))[0] for name in ("bayes", "ols", "ridge", "cg")}
    assert rows["bayes"].gap_to_bayes == pytest.approx(0, abs=1e-12)
    assert rows["ridge"].gap_to_bayes == pytest.approx(0, abs=1e-9)  # isotropic: ridge is Bayes
    for name in ("ols", "cg"):
        gap = rows[name].gap_to_bayes
        assert gap is not None
        assert gap > 0.01


@pytest.fixture
def registered() -> Iterator[None]:
    SOLVERS.add("test_memorises", Memorises)
    yield
    del SOLVERS._entries["test_memorises"]


def test_a_suite_names_the_protocol_and_the_tables_keep_it(registered: None, tmp_path: Path) -> None:
    from benchmarks.cli.progress import _Lines
    from benchmarks.harness.run import run_suite
    from benchmarks.reports.leaderboard import render
    from benchmarks.runs.read import read_run
    from benchmarks.suites.suite import load_suite

    path = tmp_path / "protocols.toml"
    path.write_text(
        'schema = 1\nsteps = [1]\nseeds = [0]\nsolvers = ["test_memorises", '
        '{ name = "test_memorises", protocol = "transductive" }]\n[scores]\ntasks = 50\n'
        '[timings]\nbatch = 3\nrepeats = 3\n[[tasks]]\nlaw = "isotropic"\nd = 2\nN = 5\n'
    )
    stored = read_run(run_suite(load_suite(str(path)), tmp_path, None, ["x"], _Lines(), "run").path)
    means = stored.scores.set_index("protocol")["mean"]
    assert means["transductive"] == 0
    assert means["held_out"] > 0
    text = render([stored], "markdown")
    assert text.count("## isotropic") == 2  # never in one ranking


def test_adaptation_to_the_context_beats_what_is_fixed_and_stays_above_the_krylov_oracle() -> None:
    law = Anisotropic(d=5, N=20)
    settings: dict[str, Any] = {"tasks": 300, "steps": (3,), "seeds": (0,)}
    solver = SOLVERS.create("memformer_gated", tasks=2000, iterations=100)
    (fixed,) = (row for row, _ in score_rows(run(solver, law, **settings)) if row.metric == "expected_test_loss")
    adapted = [row for row, _ in score_rows(run(solver, law, "context_adapted", **settings))]
    assert (fixed.reach, adapted[0].reach) == ("fixed coefficients", "Krylov")
    for row in adapted:
        assert not row.alarm
        if row.metric == "expected_test_loss":
            assert row.log_mean is not None
            assert fixed.log_mean is not None
            assert row.log_mean < fixed.log_mean - 0.1
            assert row.gap_to_floor is not None
            assert row.gap_to_floor > 0
