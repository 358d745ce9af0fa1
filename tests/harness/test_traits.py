"""What a solver declares decides its intervals, in `scores.csv` and in every view, whatever it is called."""

from __future__ import annotations

import pandas as pd
import pytest

from benchmarks.cli.progress import _Lines
from benchmarks.harness.run import run_suite
from benchmarks.reports.comparison import settings
from benchmarks.reports.pairwise import standing
from benchmarks.reports.pareto import pareto
from benchmarks.runs.read import Run, read_run
from benchmarks.suites.suite import load_suite

SUITE = """
schema = 1
steps = [1, 2]
seeds = [0, 1, 2]
solvers = ["cg", "pcg", "marchenko_pastur", { name = "lfom", params = { iterations = 5, batch = 32 } }]
[scores]
tasks = 60
[timings]
batch = 5
repeats = 3
[[tasks]]
law = "isotropic"
d = 3
N = 12
"""


@pytest.fixture(scope="module")
def timed(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("traits")
    (folder / "traits.toml").write_text(SUITE)
    return read_run(run_suite(load_suite(str(folder / "traits.toml")), folder, None, ["x"], _Lines(), "timed").path)


def pooled(run: Run, solver: str, steps: int, metric: str) -> pd.Series:
    rows = run.scores.query("solver == @solver and steps == @steps and metric == @metric and seed.isna()")
    assert len(rows) == 1
    return rows.iloc[0]


@pytest.mark.parametrize("timings", [True, False], ids=["timed", "untimed"])
def test_the_interval_is_that_of_the_table_in_every_view_timed_or_not(timed: Run, timings: bool) -> None:
    run = timed if timings else Run(timed.path, timed.scores, timed.timings.iloc[:0], timed.meta)
    (setting,) = settings(run)
    views = {"standing": standing(setting, 2), **({"pareto": pareto(setting).query("steps == 2")} if timings else {})}
    for name, table in views.items():
        assert len(table) == 4, name
        for row in table.to_dict("records"):
            stored = pooled(run, row["solver"].split(" (")[0], 2, setting.metric)
            shown = (row["log_loss"], row["log_low"], row["log_high"])
            assert shown == pytest.approx((stored["log_mean"], stored["log_low"], stored["log_high"]), abs=1e-5), row


def test_equal_losses_have_equal_intervals(timed: Run) -> None:
    ours, theirs = (pooled(timed, name, 2, "test_loss") for name in ("pcg", "cg"))
    names = ["log_mean", "log_low", "log_high"]
    assert ours[names].tolist() == pytest.approx(theirs[names].tolist(), abs=1e-6)
