"""The harness: one bad solver never costs another its row, and no solver sees what it is judged by."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from benchmarks.catalogue.registry import SOLVERS
from benchmarks.cli.progress import _Lines
from benchmarks.harness.run import Finished, run_suite
from benchmarks.harness.timings.once import time_once
from benchmarks.harness.workers.limits import TimeLimitExceeded, time_limit
from benchmarks.runs.read import Run, read_run
from benchmarks.suites.suite import load_suite
from memformer.core.iterative import IterativeSolver, State
from memformer.core.problem import Problem
from memformer.core.solver import Needs, Solver
from memformer.core.trace import Trace
from tests.helpers import TUNED


@dataclass(frozen=True)
class Raises(Solver):
    needs = Needs.NOTHING

    def solve(self, problem: Problem, num_steps: int) -> Trace:
        raise RuntimeError("no such luck")


@dataclass(frozen=True)
class Loops(Solver):
    needs = Needs.NOTHING

    def solve(self, problem: Problem, num_steps: int) -> Trace:
        while True:
            time.sleep(0.01)


@dataclass(frozen=True)
class Explodes(IterativeSolver):
    needs = Needs.NOTHING

    def init(self, problem: Problem) -> State:
        return State(torch.zeros_like(problem.moments.b), -problem.moments.b)

    def step(self, problem: Problem, state: State, k: int) -> tuple[State, None]:
        return State(state.w - 1e9 * state.g, 1e9 * state.g), None


@dataclass(frozen=True)
class WrongShape(Solver):
    needs = Needs.NOTHING

    def solve(self, problem: Problem, num_steps: int) -> Trace:
        return Trace.of_weights(torch.zeros(num_steps, problem.B, problem.d, dtype=problem.dtype))


@dataclass(frozen=True)
class NotANumber(Solver):
    needs = Needs.NOTHING

    def solve(self, problem: Problem, num_steps: int) -> Trace:
        weights = torch.zeros(num_steps + 1, problem.B, problem.d, dtype=problem.dtype)
        weights[1:, 0] = torch.nan
        return Trace.of_weights(weights)


@dataclass(frozen=True)
class Peeks(Solver):
    needs = Needs.NOTHING

    def solve(self, problem: Problem, num_steps: int) -> Trace:
        assert problem.y_query is None, "query labels are in sight"
        assert problem.w_star is None, "true weights are in sight"
        assert problem.second_moment is None, "the law is in sight"
        return Trace.direct(torch.zeros_like(problem.moments.b), num_steps)


BAD = {
    "test_raises": (Raises, "error", "RuntimeError: no such luck"),
    "test_loops": (Loops, "time_limit", "ran past its time limit of 1 s"),
    "test_explodes": (Explodes, "diverged", "120 of 120 tasks"),
    "test_wrong_shape": (WrongShape, "error", "weights of shape (2, 60, 3); they must be (3, 60, 3)"),
    "test_not_a_number": (NotANumber, "nonfinite", "2 of 120 tasks"),
    "test_peeks": (Peeks, "ok", ""),
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Finished, Run]]:
    for name, (solver, _, _) in BAD.items():
        SOLVERS.add(name, solver)
    folder = tmp_path_factory.mktemp("run")
    suite = folder / "bad.toml"
    names = ", ".join(f'"{name}"' for name in ["cg", *BAD, "ols"])
    suite.write_text(
        f"schema = 1\nsteps = [1, 2]\nseeds = [0, 1]\nsolvers = [{names}]\n"
        "[scores]\ntasks = 60\ntime_limit = 1.0\n[timings]\nbatch = 4\nrepeats = 3\n"
        '[[tasks]]\nlaw = "isotropic"\nd = 3\nN = 8\n'
    )
    done = run_suite(load_suite(str(suite)), folder / "runs", None, ["memformer-bench"], _Lines())
    yield done, read_run(done.path)
    for name in BAD:
        del SOLVERS._entries[name]


@pytest.mark.parametrize("name", BAD)
def test_a_bad_solver_is_a_row_with_its_reason(finished: tuple[Finished, Run], name: str) -> None:
    _, status, reason = BAD[name]
    rows = finished[1].scores.query("solver == @name and seed.isna() and steps == 2")
    assert len(rows) > 0
    assert set(rows["status"]) == {status}
    assert all(reason in text for text in rows["reason"])


def test_the_others_go_on(finished: tuple[Finished, Run]) -> None:
    scores = finished[1].scores.query("seed.isna() and steps == 2 and metric == 'expected_test_loss'")
    good = scores.set_index("solver")
    assert math.isfinite(good.loc["cg", "log_mean"])
    assert good.loc["ols", "log_mean"] < -50
    assert good.loc["test_not_a_number", "nonfinite"] == 2  # one of each seed
    assert math.isnan(good.loc["test_not_a_number", "log_mean"])  # and no mean is made of it


def test_failures_are_reported(finished: tuple[Finished, Run]) -> None:
    failed = "\n".join(finished[0].failures)
    for name, (_, status, _) in BAD.items():
        assert (name in failed) == (status != "ok"), name


def test_timings_hold_every_solver_and_step(finished: tuple[Finished, Run]) -> None:
    timings = finished[1].timings
    assert len(timings) == (len(BAD) + 2) * 2
    good = timings[timings["status"] == "ok"]
    assert {"cg", "ols", "test_peeks"} <= set(good["solver"])
    assert (good["repeats"] == 3).all()
    assert (good["warm_q25"] <= good["warm_median"]).all()
    assert (good["cold_seconds"] > 0).all()


def test_fitted_parameters_are_found_again(tmp_path: Path) -> None:
    suite = tmp_path / "fit.toml"
    suite.write_text(
        "schema = 1\nsteps = [1, 2]\nseeds = [0, 1]\nsolvers = [" + TUNED + "]\n"
        "[scores]\ntasks = 50\n[timings]\nbatch = 4\nrepeats = 3\n"
        '[[tasks]]\nlaw = "isotropic"\nd = 2\nN = 6\n'
    )
    runs = [
        read_run(run_suite(load_suite(str(suite)), tmp_path, tmp_path / "kept", ["x"], _Lines(), name).path)
        for name in ("one", "two")
    ]
    assert [set(run.timings["train_reused"]) for run in runs] == [{False}, {True}]
    assert runs[0].scores.equals(runs[1].scores)
    kept = list((tmp_path / "kept").iterdir())
    assert len(kept) == 2
    kept[0].write_bytes(kept[0].read_bytes()[:30])  # a damaged file is trained again, not believed
    third = read_run(run_suite(load_suite(str(suite)), tmp_path, tmp_path / "kept", ["x"], _Lines(), "three").path)
    assert set(third.timings["train_reused"]) == {False}
    assert runs[0].scores.equals(third.scores)


def test_a_timed_solve_finds_no_moments_another_has_computed() -> None:
    problem = Problem(torch.ones(1, 2, 1), torch.ones(1, 2), torch.ones(1, 1, 1))
    _ = problem.moments
    seen: list[bool] = []
    time_once(lambda fresh: seen.append("moments" in vars(fresh)), problem)
    assert seen == [False]


def test_a_time_limit_interrupts_and_is_lifted() -> None:
    with pytest.raises(TimeLimitExceeded, match=r"0\.05 s"), time_limit(0.05):
        time.sleep(5)
    with time_limit(0.05):
        pass
    time.sleep(0.1)
