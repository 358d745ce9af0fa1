"""What a solver declares decides its intervals, in `scores.csv` and in every report, whatever it is called."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import pytest
import torch

from benchmarks.catalogue.registry import SOLVERS
from benchmarks.cli.listing import describe
from benchmarks.cli.progress import _Lines
from benchmarks.errors import UserError
from benchmarks.experiments.scaling.growth import points, stopwatch
from benchmarks.harness.resolve import build_solver
from benchmarks.harness.run import run_suite
from benchmarks.reports.comparison import Setting, settings
from benchmarks.reports.pairwise import pairwise, standing
from benchmarks.reports.pareto import pareto
from benchmarks.runs.compare import compare_runs
from benchmarks.runs.ranking import rank
from benchmarks.runs.read import Run, read_run
from benchmarks.runs.schema import NAMED, SOLVER, TASK, TRAITS, VERSIONS, Identity
from benchmarks.statistics import compare, log_ratio_interval, tail_limited
from benchmarks.suites.entries import SolverEntry
from benchmarks.suites.suite import load_suite
from memformer.core.problem import Problem, TaskSource
from memformer.core.solver import Fitting, Needs, Solver, TrainingRecord
from memformer.core.trace import Trace


@dataclass(frozen=True)
class Transformer(Solver):
    """Learns nothing, whatever its name: one gradient step, told the law."""

    needs = Needs.LAW

    def solve(self, problem: Problem, num_steps: int) -> Trace:
        b = problem.moments.b
        return Trace.of_weights(torch.stack([torch.zeros_like(b)] + [b] * num_steps))


@dataclass(frozen=True)
class Learner(Solver):
    """Learns its step from tasks, is told nothing else, and keeps a record of its training."""

    parameters: Mapping[str, torch.Tensor] | None = None

    needs = Needs.NOTHING
    fitting = Fitting.RANDOM
    learned = True
    batched = False

    def fit(self, tasks: TaskSource, steps: Sequence[int], seed: int = 0) -> Solver:
        return replace(self, parameters={"eta": 1 / tasks.sample(4).moments.H.diagonal(dim1=-2, dim2=-1).mean()})

    def training_record(self, num_steps: int) -> TrainingRecord | None:
        return TrainingRecord(steps=10, tasks=4, starts=num_steps, median=-0.5)

    def solve(self, problem: Problem, num_steps: int) -> Trace:
        assert self.parameters is not None
        w = self.parameters["eta"] * problem.moments.b
        return Trace.of_weights(torch.stack([torch.zeros_like(w)] + [w] * num_steps))


PLUGINS = {"my_transformer": Transformer, "plain": Learner}

SUITE = """
schema = 1
steps = [1, 2]
seeds = [0, 1, 2]
solvers = ["cg", "pcg", "marchenko_pastur", { name = "lfom", params = { iterations = 5, batch = 32 } },
  { name = "plain", trained_on = "anisotropic" }, "my_transformer"]
[scores]
tasks = 2000
[timings]
batch = 5
repeats = 3
[[tasks]]
law = "isotropic"
d = 3
N = 12
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    folder = tmp_path_factory.mktemp("traits")
    (folder / "traits.toml").write_text(SUITE)
    for name, solver in PLUGINS.items():
        SOLVERS.add(name, solver)
    suite = load_suite(str(folder / "traits.toml"))
    yield read_run(run_suite(suite, folder, None, ["x"], _Lines(), "timed").path)
    for name in PLUGINS:
        del SOLVERS._entries[name]


@pytest.fixture(params=[True, False], ids=["timed", "untimed"])
def setting(run: Run, request: pytest.FixtureRequest) -> Setting:
    (found,) = settings(run if request.param else Run(run.path, run.scores, run.timings.iloc[:0], run.meta))
    return found


def pooled(run: Run, solver: str, steps: int = 2, metric: str = "expected_test_loss") -> pd.Series:
    rows = run.scores.query("solver == @solver and steps == @steps and metric == @metric and seed.isna()")
    assert len(rows) == 1
    return rows.iloc[0]


def test_the_interval_is_that_of_the_table_in_every_report_timed_or_not(run: Run, setting: Setting) -> None:
    tables = [standing(setting, 2)]
    if setting.entry("cg").seconds:
        tables.append(pareto(setting).query("steps == 2"))
    for table in tables:
        assert len(table) == 6
        for row in table.to_dict("records"):
            stored = pooled(run, row["solver"].split(" (")[0])
            shown = (row["log_loss"], row["log_low"], row["log_high"])
            assert shown == pytest.approx((stored["log_mean"], stored["log_low"], stored["log_high"]), abs=1e-5), row


def test_pairs_hold_random_what_the_rows_do(setting: Setting) -> None:
    levels = pairwise(setting, 2).set_index(["first", "second"])["levels"]
    for (first, second), found in levels.items():  # type: ignore[misc]
        fitted = any(name.startswith(("lfom", "plain")) for name in (first, second))
        assert found == ("seeds_and_tasks" if fitted else "tasks"), (first, second)


def test_pcg_has_the_interval_of_cg_where_their_losses_are_equal(run: Run) -> None:
    ours, theirs = (pooled(run, name, metric="test_loss") for name in ("pcg", "cg"))
    names = ["log_mean", "log_low", "log_high"]
    assert ours[names].tolist() == pytest.approx(theirs[names].tolist(), abs=1e-6)


def test_traits_are_what_a_solver_declares_and_not_what_it_is_called(run: Run) -> None:
    traits = run.scores.drop_duplicates("solver").set_index("solver")[TRAITS]
    assert traits.loc["my_transformer"].tolist() == ["law", "none", False, True]
    assert traits.loc["plain"].tolist() == ["nothing", "random", True, False]
    assert traits.loc["pcg"].tolist() == ["law", "closed_form", False, True]
    assert pooled(run, "my_transformer")["levels"] == "tasks"
    assert pooled(run, "plain")["levels"] == "seeds_and_tasks"
    assert set(run.scores.loc[run.scores["seed"].notna(), "levels"]) == {"tasks"}
    assert set(stopwatch(points(run))["solver"]) == {"plain", "lfom"}
    told = rank([run]).set_index("solver")
    assert not told.loc["my_transformer", "learned"].any()
    assert told.loc["plain", "learned"].all()
    assert "learned: yes" in describe("plain", run.path)
    assert "learned: no" in describe("my_transformer", run.path)


def test_the_law_trained_on_is_a_column_and_no_parameter(run: Run) -> None:
    row = pooled(run, "plain")
    assert (row["trained_on"], row["solver_params"]) == ("anisotropic", "{}")
    assert pooled(run, "lfom")["trained_on"] == ""
    assert settings(run)[0].entry("plain").label == "plain (trained_on=anisotropic)"


def test_what_training_tells_is_in_the_rows(run: Run) -> None:
    row = pooled(run, "plain")
    assert row[["train_steps", "train_tasks", "starts", "median_start"]].tolist() == [10, 4, 2, -0.5]
    assert row[["train_flops", "starts_spread", "starts_near_best"]].isna().all()
    assert pooled(run, "cg")[["train_steps", "starts"]].isna().all()


def test_a_gap_names_its_floor_and_holds_random_what_its_loss_does(run: Run) -> None:
    floors = {name: pooled(run, name)["floor"] for name in ("cg", "pcg", "marchenko_pastur", "my_transformer")}
    assert floors == {
        "cg": "krylov_oracle",
        "pcg": "krylov_oracle_preconditioned",
        "marchenko_pastur": "lfom_optimal",
        "my_transformer": "",
    }
    assert bool(pooled(run, "cg")["floor_exact"])
    assert bool(pooled(run, "lfom")["floor_exact"])
    lfom = pooled(run, "lfom")
    ends = (lfom["gap_high"] - lfom["gap_to_floor"], lfom["gap_to_floor"] - lfom["gap_low"])
    assert ends[0] == pytest.approx(ends[1], abs=1e-6), "Student's t is symmetric, the interval over tasks is not"
    assert ends[0] > 0


def test_few_tasks_that_carry_a_mean_are_marked(run: Run) -> None:
    for index, row in run.scores[run.scores["seed"].notna()].iterrows():
        assert row["tail_limited"] == tail_limited([run.losses(int(index)).astype(float)])  # type: ignore[arg-type]
    assert run.scores["tail_limited"].nunique() == 2


def test_one_metric_of_a_cell_is_shown(run: Run) -> None:
    assert set(run.scores.loc[run.scores["shown"], "metric"]) == {"expected_test_loss"}
    assert set(run.scores.loc[~run.scores["shown"], "metric"]) == {"test_loss"}


def test_a_timing_says_its_machine(run: Run) -> None:
    (machine,) = set(run.timings["machine"])
    assert str(run.meta["cpu"]) in machine
    assert f"{run.meta['cores']} core" in machine


def test_times_of_another_machine_are_not_compared(run: Run) -> None:
    assert compare_runs(run, run).compared["time"] == len(run.timings)
    changes = compare_runs(run, Run(run.path, run.scores, run.timings.assign(machine="other"), run.meta))
    assert changes.compared["time"] == 0
    assert any("no time is compared" in line and "other" in line for line in changes.heading)


def test_ratios_over_seeds_are_those_of_a_comparison() -> None:
    generator = np.random.default_rng(0)
    a, b = ([generator.exponential(size=200) * (1 + 0.2 * seed) for seed in range(3)] for _ in range(2))
    outcome = compare(a, b, "seeds_and_tasks")
    expected = (outcome.log_ratio, outcome.log_ratio_low, outcome.log_ratio_high)
    assert log_ratio_interval(a, b, "seeds_and_tasks") == expected
    assert log_ratio_interval(a, b) != expected
    assert math.isclose(log_ratio_interval(a, b)[0], expected[0])


def test_every_identity_column_has_one_role() -> None:
    columns = list(Identity.model_fields)
    assert sorted([*TASK, *SOLVER, "steps"]) == sorted(columns)
    assert sorted([*NAMED, *VERSIONS, *TRAITS]) == sorted(columns)


def test_a_plugin_of_an_older_version_is_told_what_to_declare() -> None:
    old = type("Old", (Transformer,), {"trains": True})
    SOLVERS.add("old_plugin", old)
    try:
        with pytest.raises(UserError, match="'old_plugin' must declare how it is fitted"):
            build_solver(SolverEntry(name="old_plugin"))
    finally:
        del SOLVERS._entries["old_plugin"]
