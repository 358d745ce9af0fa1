"""Loss against steps: what is drawn, what is drawn once, and where floors lie."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import pandas as pd
import pytest
from matplotlib.text import Text

from benchmarks.errors import UserError
from benchmarks.reports.board import slug
from benchmarks.reports.loss_curves import curves_figure, loss_curves
from benchmarks.runs.ranking import choose
from benchmarks.runs.read import Run
from tests.helpers import call


@pytest.fixture(scope="module")
def everything(ranked_reference: pd.DataFrame) -> pd.DataFrame:
    return ranked_reference


@pytest.fixture(scope="module")
def ranked(everything: pd.DataFrame) -> pd.DataFrame:
    chosen = choose(everything, law=["anisotropic"], d=[5])
    return chosen[chosen["law_params"].str.contains("paper")]


def test_every_learned_solver_is_named_or_counted_and_cg_is_its_losses(ranked: pd.DataFrame) -> None:
    ((_, _, table),) = loss_curves(ranked)
    learned = table[table["kind"] == "learned"]["curve"].unique()
    named = sum(
        len(curve.split(" + ")[0].split(", ")) + int(curve.split(" + ")[1] if " + " in curve else 0)
        for curve in learned
    )
    assert named == ranked.loc[ranked["learned"], "solver"].nunique()
    cg = table[table["curve"].str.startswith("cg")]
    own = ranked.query("solver == 'cg' and log_loss > -30").sort_values("steps")
    assert cg["log_loss"].tolist() == pytest.approx(own["log_loss"].tolist())


def test_a_floor_is_the_loss_less_the_gap_and_below_its_class(ranked: pd.DataFrame) -> None:
    ((_, _, table),) = loss_curves(ranked, ["cg", "heavy_ball_tuned"])
    assert set(table.loc[table["kind"] != "floor", "curve"]) == {"cg", "heavy_ball_tuned*"}
    floor = table[table["curve"] == "best of each Krylov space"].set_index("steps")["log_loss"]
    cg = table[table["curve"] == "cg"].set_index("steps")["log_loss"]
    assert (floor < cg).all()


def test_forty_solvers_have_forty_labels_that_do_not_overlap(ranked: pd.DataFrame) -> None:
    one = ranked[ranked["solver"] == "cg"]
    many = pd.concat([one.assign(solver=f"s{i:02}", log_loss=one["log_loss"] + i / 5) for i in range(40)])
    ((_, title, table),) = loss_curves(many, [f"s{i:02}" for i in range(40)])
    drawn = curves_figure(title, table)
    drawn.draw_without_rendering()
    boxes = sorted((Text.get_window_extent(text) for text in drawn.axes[0].texts), key=lambda box: box.y0)
    assert len(boxes) >= 40
    assert all(low.y1 <= high.y0 + 1 for low, high in pairwise(boxes))


def test_nothing_to_draw_is_a_sentence(ranked: pd.DataFrame) -> None:
    with pytest.raises(UserError, match="nothing to draw"):
        list(loss_curves(choose(ranked, solver=["ols"])))


def test_the_command_draws_the_committed_run(reference: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.runs.read.read_run", {reference.path: reference}.__getitem__)
    words = ("views", "curves", "core-reference", "--law", "gmm", "--output", tmp_path)
    done = call(*words, "--results", reference.path.parents[1])
    assert done.code == 0
    assert {path.name for path in tmp_path.iterdir()} == {f"curves_gmm_d5.{kind}" for kind in ("csv", "svg", "png")}


def test_laws_of_one_name_and_size_have_files_of_their_own(everything: pd.DataFrame) -> None:
    names = [name for name, _, _ in loss_curves(everything)]
    assert len(set(names)) == len(names)
    assert {"anisotropic_d5", "anisotropic_d5_kappa1000", "isotropic_d5_N10_noise1"} <= set(names)


def test_laws_that_differ_in_a_parameter_of_their_own_have_files_of_their_own() -> None:
    sizes = {"law": "mine", "d": 3, "N": 12, "noise_std": 0.1, "draw": "plain", "protocol": "held_out"}

    def name(**params: object) -> str:
        return slug({**sizes, "law_params": json.dumps({"law_seed": 0, "num_queries": 1, **params})})

    assert name(rho=0.7) == "mine_d3_noise0.1_rho0.7"
    assert name(rho=0.7, kind="heavy/tailed") == "mine_d3_noise0.1_rho0.7_kindheavy-tailed"
    assert name(weights=[0.2, 0.8], sparse=True, exponent=None) == "mine_d3_noise0.1"


def test_tables_of_one_name_are_numbered(everything: pd.DataFrame) -> None:
    ranked = everything.query("law == 'isotropic' and d == 5 and noise_std == 0")
    twice = pd.concat([ranked, ranked.assign(trained_on="elsewhere", law_version=7)])
    names = [name for name, _, _ in loss_curves(twice)]
    assert len(set(names)) == len(names) == 2


@pytest.mark.parametrize(("dtype", "loss", "drawn"), [("float64", -40.0, True), ("float32", -20.0, False)])
def test_what_is_exact_depends_on_the_type(everything: pd.DataFrame, dtype: str, loss: float, drawn: bool) -> None:
    table = everything.query("law == 'isotropic' and d == 5").assign(dtype=dtype)
    table.loc[table["solver"] == "cg", "log_loss"] = loss
    (_, _, curves), *_ = loss_curves(table, ["cg", "gradient_descent"])
    assert ("cg" in set(curves["curve"])) == drawn
