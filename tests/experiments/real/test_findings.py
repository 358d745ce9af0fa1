"""The view of real data: its intervals are over parts of the rows, and its sentences follow from its numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from benchmarks.cli.progress import make_progress
from benchmarks.experiments.real.findings import Reading, answers, ratio, readings, sentences, table
from benchmarks.harness.run import run_suite
from benchmarks.runs.read import Run, read_run
from benchmarks.suites.suite import load_suite
from tests.helpers import call, mistake

SUITE = """
schema = 1
steps = [1, 2]
seeds = [0, 1, 2]
solvers = ["cg", "ols", "ridge_loo", { name = "scipy_cg", tasks = 20 }]
[scores]
tasks = 60
[[tasks]]
law = "real"
d = 7
N = 20
params = { dataset = "auto_mpg", num_queries = 5 }
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("real")
    for name, text in (("cars", SUITE), ("beyond", SUITE.replace("[0, 1, 2]", "[1, 5]"))):
        (folder / f"{name}.toml").write_text(text)
        with make_progress() as progress:
            run_suite(load_suite(str(folder / f"{name}.toml")), folder / "runs", None, ["test"], progress, name)
    return folder


@pytest.fixture
def cars(folder: Path) -> Run:
    return read_run(folder / "runs" / "cars")


def test_ratios_are_of_part_means_with_a_student_interval(cars: Run) -> None:
    found = readings(cars)["auto_mpg (d = 7, N = 20)"]
    ridge, ols = (next(r for r in found if (r.name, r.steps) == (name, 2)) for name in ("ridge_loo", "ols"))
    logs = [np.log(a.mean() / b.mean()) for a, b in zip(ridge.losses, ols.losses, strict=True)]
    one = ratio(ridge, ols)
    assert one.estimate == pytest.approx(np.mean(logs))
    assert one.high - one.estimate == pytest.approx(4.302653 * stats.sem(logs), rel=1e-6)
    asked = answers(readings(cars))
    assert {answer.question for answer in asked} == {"ridge by leave-one-out, against OLS"}
    assert [answer.verdict for answer in asked] == [one.verdict] * 2


def test_fewer_episodes_are_compared_with_the_same_ones(cars: Run) -> None:
    found = readings(cars)["auto_mpg (d = 7, N = 20)"]
    mine, theirs = (next(r for r in found if (r.name, r.steps) == (name, 2)) for name in ("cg", "scipy_cg"))
    assert (len(mine.losses[0]), len(theirs.losses[0])) == (60, 20)
    assert ratio(theirs, mine).estimate == pytest.approx(0, abs=1e-6), "both are conjugate gradient"


def reading(name: str, *means: float) -> Reading:
    pattern = np.array([0.9, 1.0, 1.1])
    return Reading(name, "nothing", 1, [mean * pattern for mean in means])


@pytest.mark.parametrize(
    ("means", "verdict"),
    [
        ((0.5, 0.51, 0.49), "better"),
        ((2.0, 2.1, 1.9), "worse"),
        ((0.5, 2.0, 1.0), "not told apart"),
        ((np.inf, 1.0, 1.0), "no answer"),
    ],
)
def test_the_verdict_is_what_the_interval_says(means: tuple[float, ...], verdict: str) -> None:
    found = {"a (d = 1, N = 2)": [reading("ridge_loo", *means), reading("ols", 1.0, 1.0, 1.0)]}
    with np.errstate(invalid="ignore"):
        asked = answers(found)
    assert [answer.verdict for answer in asked] == [verdict]
    assert sentences(asked)[0].startswith(f"Ridge by leave-one-out, against OLS: {verdict} on every data set")


def test_a_sentence_names_where_it_holds() -> None:
    ols = reading("ols", 1.0, 1.0, 1.0)
    found = {
        "a (d = 1, N = 2)": [reading("ridge_loo", 0.5, 0.51, 0.49), ols],
        "b (d = 1, N = 2)": [reading("ridge_loo", 0.5, 2.0, 1.0), ols],
    }
    (text,) = sentences(answers(found))
    assert "better on a k = 1 (log ratio -0.69)" in text
    assert "not told apart on b k = 1" in text


def test_the_page_the_table_and_the_figure_are_written(folder: Path, tmp_path: Path, cars: Run) -> None:
    done = call("views", "real", "cars", "--results", folder, "--output", tmp_path)
    assert done.code == 0, done.error
    assert {path.name for path in tmp_path.iterdir()} == {"real.md", "real.csv", "real.svg"}
    page = (tmp_path / "real.md").read_text()
    assert all(f"- {text}" in page for text in sentences(answers(readings(cars))))
    assert "3 parts of the rows each" in page
    assert len(pd.read_csv(tmp_path / "real.csv")) == len(table(readings(cars))) == 8


def test_runs_it_cannot_read_are_one_sentence(folder: Path, results: Path, tmp_path: Path) -> None:
    for name, where, message in (("small", results, "no losses on real data"), ("beyond", folder, "has seed 5")):
        assert message in mistake("views", "real", name, "--results", where, "--output", tmp_path)
