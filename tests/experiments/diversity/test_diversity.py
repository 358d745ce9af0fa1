"""Pools of tasks: the rule of the threshold, and a small run of all of it."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from benchmarks.experiments.diversity import command
from benchmarks.experiments.diversity.command import Diversity
from benchmarks.experiments.diversity.report import page, threshold, thresholds
from tests.experiments.requests import asked


def rows(model: list[float], dmmse: list[float]) -> pd.DataFrame:
    return pd.DataFrame({"pool": [4, 16, 64], "model": model, "ridge": 0.0, "dmmse": dmmse})


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ([2.9, 0.1, 0.1], 16),
        ([0.1, 2.0, 0.1], 64),
        ([0.1, 0.1, 0.1], 4),
        ([0.1, 0.1, 0.9], None),
    ],
)
def test_the_threshold_is_where_it_stays_nearer_to_ridge(model: list[float], expected: int | None) -> None:
    assert threshold(rows(model, [3.0, 2.0, 1.0])) == expected


def table() -> pd.DataFrame:
    one = rows([2.9, 0.1, 0.1], [3.0, 2.0, 1.0])
    other = rows([2.9, 1.9, 0.1], [3.0, 2.0, 1.0])
    parts = [one.assign(seed=0), other.assign(seed=1)]
    return pd.concat([part.assign(scored_on=where) for part in parts for where in ("law", "pool")])


def test_each_seed_has_a_threshold_and_the_page_says_it() -> None:
    assert thresholds(table()) == {0: 16, 1: 64}
    text = page(table(), solver="x", steps=4, d=4, N=8, noise_std=0.5, tasks=10, pools=[4], seeds=[0, 1])
    assert "From 16 tasks on it has learned the law** (median of 2 seeds, 16 to 64)" in text


def test_a_seed_without_one_is_said() -> None:
    lost = table().assign(model=5.0)
    text = page(lost, solver="x", steps=4, d=4, N=8, noise_std=0.5, tasks=10, pools=[4], seeds=[0, 1])
    assert "the largest pool was too small at least once" in text
    assert "more than 64" in text


def test_everything_at_a_small_size_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = {
        "d": 2, "N": 4, "noise_std": 0.5, "pools": [2, 8], "steps": 2, "tasks": 200, "seeds": [0, 1],
        "solver": {"name": "transformer_softmax", "params": {"starts": 1, "iterations": 2, "batch": 8}},
    }  # fmt: skip
    monkeypatch.setattr(command, "read_settings", lambda *_: Diversity.model_validate(small))
    done = command.carry_out(asked(tmp_path))
    assert done.path == tmp_path / "diversity"
    assert {path.name for path in done.path.iterdir()} == {"diversity.csv", "diversity.md", "diversity.svg"}
    found = pd.read_csv(done.path / "diversity.csv")
    assert len(found) == 8
    pooled = found[found["scored_on"] == "pool"]
    assert (pooled["dmmse"] < pooled["model"]).all()
    on_law = found[found["scored_on"] == "law"]
    assert (on_law["ridge"] < on_law["dmmse"]).all()
