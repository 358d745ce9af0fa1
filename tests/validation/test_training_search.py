"""The study of the search, small: its columns say what they promise."""

from __future__ import annotations

import dataclasses
import math
import sys

import pandas as pd
import pytest
import torch

from baselines.lfom_optimal import LfomOptimal
from baselines.objective import excess_loss
from benchmarks import api
from benchmarks.tasks.law import Purpose
from benchmarks.validation import training_search


def test_spread_scores_estimate_the_same_mean_as_plain_ones():
    law = api.law("isotropic")
    solver = LfomOptimal(num_tasks=2000).fit(law.stream(0, Purpose.TRUTH), [2])
    plain, wide = (
        training_search.scored([solver], source, 2, 50_000)[0]
        for source in (law.stream(1, Purpose.SCORE), law.stream(2, Purpose.SCORE).spread(2.1))
    )
    error = math.sqrt((plain.var() + wide.var()).item() / 50_000)
    assert abs((plain.mean() - wide.mean()).item()) < 4 * error
    problem = law.stream(1, Purpose.SCORE).sample(50_000)
    weights = solver.solve(problem, 2).weights
    assert weights is not None
    torch.testing.assert_close(plain, excess_loss(problem, weights[-1]))


def test_main_writes_a_row_for_each_search(tmp_path, monkeypatch, capsys):
    case = training_search.Case("conjugate", "scalar")
    solver = training_search.Case.solver
    short = {"tasks": 2000, "iterations": 120}
    monkeypatch.setattr(training_search.Case, "solver", lambda *given: dataclasses.replace(solver(*given), **short))
    monkeypatch.setattr(training_search, "cases", lambda kind: [case])
    words = "--classes", "P = 0", "--memories", "conjugate", "--depths", "1", "--seeds", "0", "1", "--starts", "2"
    more = "--d", "5", "--tasks", "4000", "--jobs", "1"
    monkeypatch.setattr(sys, "argv", ["training_search", *words, *more, "--output", str(tmp_path)])
    training_search.main()
    table = pd.read_csv(tmp_path / "training_search.csv")
    assert table["seed"].tolist() == [0, 1]
    assert table["starts"].tolist() == [2, 2]
    assert (table["spread"] >= 0).all()
    assert (table["median start"] >= table["best, validation"]).all()
    # One layer reaches its floor.
    assert table["above the floor"].tolist() == pytest.approx([0.0, 0.0], abs=0.01)
    assert "| conjugate, scalar Q, P = 0 |" in (tmp_path / "training_search.md").read_text()
    assert len(capsys.readouterr().out.splitlines()) == 3


def test_a_claim_that_moves_when_the_search_is_doubled_is_named():
    """With 9 starts memory looks better under every seed; with 18 the model without memory has caught up."""
    noise = (0.0, 0.01, -0.01)
    rows = [
        {
            "d": 5,
            "layers": 4,
            "starts": starts,
            "seed": seed,
            "class": name,
            "log mean, fresh": mean + noise[seed] * sign,
        }
        for starts, gap in ((9, 1.0), (18, 0.0))
        for seed in range(3)
        for name, mean, sign in (("none, GD++", -11.0, 1), ("first_order, GD++", -11.0 - gap, -1))
    ]
    claims = training_search.gains(pd.DataFrame(rows))
    assert claims["verdict"].tolist() == ["lower", "undecided"]
    assert claims["mean"].tolist() == pytest.approx([-1.0, 0.0])
    assert training_search.moved(claims) == ["first_order, GD++ at 4 layers: lower -> undecided"]
    assert training_search.moved(claims[claims["starts"] == 9]) == []
