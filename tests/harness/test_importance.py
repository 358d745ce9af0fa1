"""Runs whose tasks are drawn by importance sampling: the same truth in every table, told apart from plain ones."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from baselines.exact_law import gaussian_tasks
from baselines.exact_risk import exact_risk
from benchmarks.catalogue.registry import SOLVERS
from benchmarks.cli.progress import _Lines
from benchmarks.errors import UserError
from benchmarks.harness.cell_key import cell_key
from benchmarks.harness.resolve import build_cells
from benchmarks.harness.run import run_suite
from benchmarks.harness.scores import protocol
from benchmarks.harness.scores.floors import FloorKey, floor_losses
from benchmarks.harness.scores.gaps import best_losses
from benchmarks.reports.comparison import settings
from benchmarks.reports.ecdf import ecdf
from benchmarks.reports.leaderboard import render
from benchmarks.reports.pairwise import pairwise, standing
from benchmarks.reports.profile import profile, speedups
from benchmarks.runs.compare import compare_runs
from benchmarks.runs.merge import merge_runs
from benchmarks.runs.ranking import rank
from benchmarks.runs.read import Run, read_run
from benchmarks.runs.validate import problems
from benchmarks.suites.suite import Suite, load_suite
from benchmarks.tasks.gaussian import Isotropic
from benchmarks.tasks.law import Purpose
from memformer.core.solver import Reach, Solver

SUITE = """
schema = 1
steps = [1, 3]
seeds = [0, 1]
solvers = ["cg", "heavy_ball_tuned", "lfom_optimal", "gradient_descent_tuned"]
[scores]
tasks = 4000
[timings]
batch = 4
repeats = 3
[[tasks]]
law = "isotropic"
draw = "importance"
[[tasks]]
law = "isotropic"
"""

TUNED = {"heavy_ball_tuned": 2000, "gradient_descent_tuned": 2000}
"""Tasks that they are fitted on."""

SMALL = SUITE.replace("4000", "97").replace(', "heavy_ball_tuned"', "").replace(', "gradient_descent_tuned"', "")


def suite_of(folder: Path, text: str = SUITE) -> Suite:
    for name in TUNED:
        text = text.replace(f'"{name}"', f'{{ name = "{name}", params = {{ num_tasks = {TUNED[name]} }} }}')
    (folder / "suite.toml").write_text(text)
    return load_suite(str(folder / "suite.toml"))


def run(suite: Suite, folder: Path, name: str, **options: Any) -> Run:
    return read_run(run_suite(suite, folder / "runs", None, ["x"], _Lines(), name, **options).path)


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("importance")
    return run(suite_of(folder), folder, "both")


def pooled(run: Run, draw: str, solver: str, steps: int, metric: str = "expected_test_loss") -> Any:
    query = "draw == @draw and solver == @solver and steps == @steps and metric == @metric and seed.isna()"
    (index,) = run.scores.query(query).index
    return run.scores.loc[index]


def test_a_run_of_both_draws_is_valid_and_keeps_them_apart(both: Run, tmp_path: Path) -> None:
    assert problems(both) == []
    prints = set(both.scores[["draw", "fingerprint"]].itertuples(index=False, name=None))
    assert sorted(draw for draw, _ in prints) == ["importance", "plain"]
    assert len({fingerprint for _, fingerprint in prints}) == 2
    ranked = rank([both])
    assert len(ranked) == 16
    best: Any = ranked.groupby(["draw", "needs", "steps"])["rank"].min()
    assert set(best) == {1}
    assert "8000 tasks by importance sampling" in render([both], "terminal")
    merged = read_run(merge_runs([both, both], tmp_path, "merged"))
    assert problems(merged) == []
    assert len(merged.scores) == len(both.scores)
    changes = compare_runs(both, merged)
    assert changes.compared["loss"] == 32
    assert not any(changes.worse.values())


@cache
def fitted(solver: str, seed: int) -> Solver:
    params = {"num_tasks": TUNED[solver]} if solver in TUNED else {}
    return SOLVERS.create(solver, **params).fit(Isotropic().stream(seed, Purpose.TRAIN), [1, 3], seed)


@pytest.mark.parametrize("solver", ["heavy_ball_tuned", "lfom_optimal", "gradient_descent_tuned"])
@pytest.mark.parametrize("steps", [1, 3])
def test_both_draws_estimate_the_exact_risk_and_the_same_quantiles(both: Run, solver: str, steps: int) -> None:
    law = gaussian_tasks(Isotropic().stream(0, Purpose.TRAIN))
    assert law is not None
    # The tuned methods are random: the mean of the two seeds' risks.
    truth = np.mean([float(exact_risk(fitted(solver, seed), law, steps)) for seed in (0, 1)])
    for draw in ("plain", "importance"):
        row = pooled(both, draw, solver, steps)
        assert row["log_mean"] == pytest.approx(np.log(truth), abs=2 * (row["log_high"] - row["log_low"]) + 1e-3)
    plain, other = (pooled(both, draw, solver, steps) for draw in ("plain", "importance"))
    for name in ("median", "trimmed_mean", "q90"):
        assert other[name] == pytest.approx(plain[name], rel=0.06), name
    if (solver, steps) == ("lfom_optimal", 3):
        width, plain_width = (row["log_high"] - row["log_low"] for row in (other, plain))
        assert width < 0.8 * plain_width


def test_stored_losses_are_weight_times_loss_with_the_weights(both: Run) -> None:
    tasks = Isotropic().stream(1, Purpose.SCORE, draw="importance").sample(4000)
    assert tasks.weights is not None
    for row in both.scores.assign(row=range(len(both.scores))).query("seed == 1").to_dict("records"):
        losses, weights = both.losses(row["row"]), both.weights(row["row"])
        assert losses.shape == (4000,)
        assert losses.mean(dtype=float) == pytest.approx(row["mean"], rel=1e-5)
        if row["draw"] == "plain":
            assert weights is None
        else:
            assert weights is not None
            np.testing.assert_allclose(weights, tasks.weights.numpy(), rtol=1e-6)


def test_gaps_compare_with_the_floor_on_the_same_weighted_tasks(both: Run) -> None:
    assert pooled(both, "importance", "lfom_optimal", 3)["gap_to_floor"] == pytest.approx(0.0, abs=1e-9)
    assert pooled(both, "importance", "cg", 3)["floor"] == "krylov_oracle"
    assert pooled(both, "importance", "cg", 3)["gap_to_floor"] > 0
    row = pooled(both, "importance", "heavy_ball_tuned", 3)
    assert row["gap_low"] < row["gap_to_floor"] < row["gap_high"]
    keys = [
        FloorKey(Isotropic(), 0, 300, 2, torch.float64, torch.device("cpu"), draw) for draw in ("plain", "importance")
    ]  # type: ignore[arg-type]
    plain, other = (floor_losses(key, Reach.FIXED, "expected_test_loss") for key in keys)
    assert plain is not None
    assert other is not None
    assert not np.isclose(plain[0], other[0]).all()


def test_views_of_weighted_tasks_say_what_those_of_plain_ones_say(both: Run) -> None:
    other, plain = sorted(settings(both), key=lambda setting: setting.identity["draw"])
    assert "importance" in other.title
    assert "importance" in other.slug
    shares: list[Any] = [ecdf(setting).set_index(["solver", "steps"])["share"] for setting in (other, plain)]
    assert (shares[0] - shares[1]).abs().max() < 0.03
    heights: list[Any] = [profile(setting).groupby("solver")["share"].max() for setting in (other, plain)]
    assert (heights[0] - heights[1]).abs().max() < 0.03
    wins: list[Any] = [speedups(setting).set_index(["solver", "over"])["wins"] for setting in (other, plain)]
    assert (wins[0] - wins[1]).abs().max() < 0.03
    tables: list[Any] = [standing(setting, 3).set_index("solver") for setting in (other, plain)]
    assert (tables[0]["average_rank"] - tables[1]["average_rank"]).abs().max() < 0.05
    for row in tables[0].to_dict("index").items():
        stored = pooled(both, "importance", str(row[0]).split(" (")[0], 3)
        assert row[1]["log_loss"] == pytest.approx(stored["log_mean"], abs=1e-5)
        assert row[1]["median"] == pytest.approx(stored["median"], rel=1e-5)
        assert row[1]["tail_limited"] == stored["tail_limited"]
    pairs: list[Any] = [pairwise(setting, 3).set_index(["first", "second"]) for setting in (other, plain)]
    assert (pairs[0]["share_better"] - pairs[1]["share_better"]).abs().max() < 0.03


def test_blocks_change_no_score(both: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = suite_of(tmp_path, SMALL)
    whole = run(small, tmp_path, "whole")
    monkeypatch.setattr(protocol, "BLOCK_BYTES", 8 * 5 * 25 * 33)
    protocol.scored_tasks.cache_clear()
    floor_losses.cache_clear()
    best_losses.cache_clear()
    parts = run(small, tmp_path, "parts", jobs=None)
    assert (whole.path / "losses.npz").read_bytes() == (parts.path / "losses.npz").read_bytes()
    pd.testing.assert_frame_equal(whole.scores, parts.scores)


def test_an_interrupted_run_is_resumed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from benchmarks.harness import run as running

    suite = suite_of(tmp_path, SMALL)
    whole, computed = run(suite, tmp_path, "whole"), running.run_cells

    def few(*arguments: Any) -> Any:
        for number, cell in enumerate(computed(*arguments)):
            if number == 1:
                raise KeyboardInterrupt
            yield cell

    monkeypatch.setattr(running, "run_cells", few)
    with pytest.raises(KeyboardInterrupt):
        run(suite, tmp_path / "again", "whole")
    monkeypatch.undo()
    resumed = run(suite, tmp_path / "again", "whole", resume=True)
    for file in ("scores.csv", "losses.npz"):
        assert (whole.path / file).read_bytes() == (resumed.path / file).read_bytes()


def test_the_draw_is_part_of_a_cells_key_and_of_no_plain_row(both: Run, tmp_path: Path) -> None:
    importance, plain = build_cells(suite_of(tmp_path))[::4]
    assert (importance.draw, plain.draw) == ("importance", "plain")
    assert cell_key(importance, 1) != cell_key(plain, 1)
    alone = run(
        suite_of(tmp_path, SUITE.replace('[[tasks]]\nlaw = "isotropic"\ndraw = "importance"\n', "")), tmp_path, "a"
    )
    pd.testing.assert_frame_equal(both.scores.query("draw == 'plain'").reset_index(drop=True), alone.scores)


def test_a_suite_without_the_word_keeps_its_hash(tmp_path: Path) -> None:
    suite = suite_of(tmp_path, SUITE.replace('draw = "importance"\n', "N = 9\n"))
    content = suite.model_dump(mode="json", by_alias=True)
    assert content["tasks"][0].pop("draw") == "plain"
    said = suite_of(tmp_path, SUITE.replace('draw = "importance"', 'N = 9\ndraw = "plain"'))
    assert said.content_hash == suite.content_hash
    assert Suite.model_validate(json.loads(json.dumps(content))).content_hash == suite.content_hash
    assert suite_of(tmp_path, SUITE.replace('importance"', 'importance"\nN = 9')).content_hash != suite.content_hash


@pytest.mark.parametrize("law", ["sphere", "gamma", "gmm"])
def test_a_law_that_cannot_be_drawn_so_is_refused_in_a_sentence(law: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"the law '{law}' cannot be drawn by importance sampling"):
        build_cells(suite_of(tmp_path, SUITE.replace('"isotropic"', f'"{law}"', 1)))


def test_each_draw_is_timed_on_the_batches_that_it_asks_for(tmp_path: Path) -> None:
    text = SUITE.replace('draw = "importance"', 'draw = "importance"\nbatch = [3]').replace(
        "tasks = 4000", "tasks = 20"
    )
    text = text.replace('"cg", "heavy_ball_tuned", "lfom_optimal", "gradient_descent_tuned"', '"cg"')
    found = run(suite_of(tmp_path, text + "batch = [2, 5]\n"), tmp_path, "both")
    assert problems(found) == []
    assert sorted(found.timings["batch"]) == [2, 2, 3, 3, 5, 5]


def test_a_law_that_draws_longer_contexts_is_refused_too(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="with longest cannot be drawn by importance sampling"):
        build_cells(
            suite_of(tmp_path, SUITE.replace('draw = "importance"', 'draw = "importance"\nparams = { longest = 40 }'))
        )


def test_what_is_shown_the_scored_tasks_is_refused_unless_on_plain_ones(tmp_path: Path) -> None:
    entry = '{{ name = "lfom", protocol = "transductive"{} }}'
    text = SUITE.replace('"cg", "heavy_ball_tuned"', entry.format(""))
    with pytest.raises(UserError, match="'lfom' is shown the scored tasks"):
        build_cells(suite_of(tmp_path, text))
    text = SUITE.replace('"cg", "heavy_ball_tuned"', entry.format(', only = { draw = "plain" }'))
    found = {(cell.solver_name, cell.draw) for cell in build_cells(suite_of(tmp_path, text))}
    assert ("lfom", "plain") in found
    assert ("lfom", "importance") not in found


def test_a_mean_of_fixed_coefficients_is_marked_only_where_its_interval_is_no_good(tmp_path: Path) -> None:
    text = SUITE.replace("steps = [1, 3]", "steps = [4]").replace('"heavy_ball_tuned", ', "")
    found = run(suite_of(tmp_path, text.replace(', "gradient_descent_tuned"', "")), tmp_path, "deep")
    marks = {draw: pooled(found, draw, "lfom_optimal", 4)["tail_limited"] for draw in ("plain", "importance")}
    assert marks == {"plain": True, "importance": False}
    assert pooled(found, "importance", "cg", 4)["tail_limited"], "importance sampling does not hold its tail"
    for setting in settings(found):
        shown = standing(setting, 4).set_index("solver")["tail_limited"].to_dict()
        draw = setting.identity["draw"]
        assert shown == {name: pooled(found, draw, name, 4)["tail_limited"] for name in ("cg", "lfom_optimal")}
    board = render([found], "terminal")
    median = np.log(pooled(found, "plain", "lfom_optimal", 4)["median"])
    assert f"~ {median:.2f}" in board
    assert f"~ {np.log(pooled(found, 'importance', 'lfom_optimal', 4)['median']):.2f}" not in board
