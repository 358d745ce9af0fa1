"""Real data and other training laws in the harness: what a cell is fitted on, and what its rows leave empty."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.catalogue.registry import SOLVERS
from benchmarks.errors import UserError
from benchmarks.harness.cell import Cell
from benchmarks.harness.cell_key import cell_key
from benchmarks.harness.resolve import build_cells
from benchmarks.harness.scores.fitting import ParameterStore
from benchmarks.harness.scores.measure import run_cell
from benchmarks.harness.scores.table import score_rows
from benchmarks.runs.ranking import NO_METHOD
from benchmarks.suites.suite import load_suite
from benchmarks.tasks.law import Purpose

SUITE = """
schema = 1
steps = [1, 2]
seeds = [0, 1]
solvers = [
  "cg", "ridge_loo", "bayes",
  { name = "lfom_optimal", params = { num_tasks = 300 } },
  { name = "lfom_optimal", params = { num_tasks = 300 }, trained_on = "isotropic" },
  { name = "lfom_optimal", params = { num_tasks = 300 }, trained_on = { law = "gmm", noise_std = 2.0 } },
]
[scores]
tasks = 80
[[tasks]]
law = "real"
d = 7
N = 20
params = { dataset = "auto_mpg", num_queries = 5 }
"""


@pytest.fixture
def cells(tmp_path: Path) -> list[Cell]:
    (tmp_path / "small.toml").write_text(SUITE)
    return build_cells(load_suite(str(tmp_path / "small.toml")))


def test_rows_state_nothing_that_is_not_known(cells: list[Cell]) -> None:
    for cell in cells:
        result = run_cell(cell, ParameterStore())
        assert result.status == "ok", result.reason
        rows = [row for row, _ in score_rows(result)]
        assert {row.metric for row in rows} == {"test_loss"}
        assert all(row.gap_to_floor is None and row.gap_to_bayes is None and not row.alarm for row in rows)


def test_the_interval_is_over_parts_even_for_what_learns_nothing(cells: list[Cell]) -> None:
    result = run_cell(cells[0], ParameterStore())
    means = [part.losses["test_loss"][0].mean() for part in result.measured]
    row = next(row for row, _ in score_rows(result) if row.seed is None)
    assert row.log_low is not None
    assert row.log_high is not None
    assert row.log_high - row.log_low > 12 * abs(np.log(means[0] / means[1])), "Student's t of two parts is 12.7"


def test_trained_on_another_law_is_trained_on_that_law_and_scored_on_this(cells: list[Cell]) -> None:
    own, isotropic, gmm = cells[3:]
    assert [cell.trained_on for cell in cells[3:]] == ["", "isotropic", "gmm noise_std=2.0"]
    assert (isotropic.fitted_on.d, isotropic.fitted_on.N) == (7, 20)
    assert own.fitted_on is own.law
    fitted = run_cell(isotropic, ParameterStore()).fitted[1]
    alone = SOLVERS.create("lfom_optimal", num_tasks=300).fit(isotropic.fitted_on.stream(1, Purpose.TRAIN), [1, 2], 1)
    parameters, expected = fitted.parameters, alone.parameters  # type: ignore[attr-defined]
    assert all(torch.equal(parameters[name], expected[name]) for name in expected)
    assert len({cell_key(replace(cell, trained_on=""), 1) for cell in (own, isotropic, gmm)}) == 3


@pytest.mark.parametrize(
    ("entry", "sentence"),
    [
        ('{ name = "cg", trained_on = "isotropic" }', "'cg' learns nothing; 'trained_on' has no meaning"),
        ('{ name = "lfom", trained_on = "isotropic", protocol = "transductive" }', "fitted on the scored tasks"),
        ('{ name = "lfom", trained_on = "isotropi" }', "did you mean 'isotropic'"),
        ('{ name = "lfom", trained_on = { law = "isotropic", M = 3 } }', "unknown key .*trained_on.M"),
        ('{ name = "lfom", trained_on = { law = "isotropic", params = { x = 1 } } }', "unknown parameter 'x'"),
        (
            '{ name = "lfom", trained_on = { law = "real", params = { dataset = "auto_mpg", folds = 4 } } }',
            "would see rows that it is scored on: folds and law_seed of trained_on must be those of the task",
        ),
    ],
)
def test_mistakes_about_the_training_law_are_one_sentence(entry: str, sentence: str, tmp_path: Path) -> None:
    path = tmp_path / "wrong.toml"
    path.write_text(SUITE.replace('"cg", "ridge_loo"', f'{entry}, "ridge_loo"'))
    with pytest.raises(UserError, match=sentence) as caught:
        build_cells(load_suite(str(path)))
    assert "\n" not in str(caught.value)


def test_a_part_of_a_table_is_scored_once(tmp_path: Path) -> None:
    path = tmp_path / "twice.toml"
    path.write_text(SUITE.replace("[0, 1]", "[0, 5]"))
    with pytest.raises(UserError, match=r"the seeds 0, 5 score a part of auto_mpg twice: .* modulo 5"):
        build_cells(load_suite(str(path)))


def test_suites_from_before_there_was_another_training_law_keep_their_hash() -> None:
    committed = json.loads(Path("results/runs/core-reference/meta.json").read_text())
    assert load_suite("core").content_hash == committed["suite_hash"]


def test_both_real_suites_ask_for_every_part_of_the_same_tables() -> None:
    whole, quick = (build_cells(load_suite(name)) for name in ("real", "real-quick"))
    assert {cell.law for cell in whole} == {cell.law for cell in quick}
    assert all(len(cell.seeds) == cell.law.parameters["folds"] for cell in [*whole, *quick])
    classical = {name for name in SOLVERS if not SOLVERS[name].load().fitting.required}
    assert classical - {NO_METHOD} <= {cell.solver_name for cell in whole}


def test_the_synthetic_spectrum_has_the_scale_that_the_suite_says_tables_have() -> None:
    cells = build_cells(load_suite("real"))
    largest = {}
    for cell in cells:
        if cell.trained_on.startswith("ood_variance"):
            moment = cell.law.stream(0, Purpose.TRAIN).second_moment
            largest[cell.law.parameters["dataset"]] = float(torch.linalg.eigvalsh(moment)[-1])
            drawn = cell.fitted_on.stream(0, Purpose.TRAIN).sample(1).second_moment
            assert drawn is not None
            assert float(torch.linalg.eigvalsh(drawn[0])[-1]) == pytest.approx(6.0)
    assert len(largest) == 3
    assert all(4 < value < 6.5 for value in largest.values())
