"""The studies of learned methods, with parameters that were hardly trained."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks import api
from benchmarks.harness.cell import Cell
from benchmarks.harness.resolve import build_cells
from benchmarks.suites.suite import load_suite
from benchmarks.tasks.law import Purpose
from benchmarks.validation import learned_families, what_learners_do
from benchmarks.validation.learned_families import log_mean
from benchmarks.validation.what_learners_do import Nearest, nearest, said

FEW = {"transformer_softmax", "transformer_looped", "lstm_optimizer"}


@pytest.fixture
def hardly_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three families with two training steps and two seeds stand for all of them at both budgets."""

    def short(cell: Cell) -> Cell:
        solver = replace(cell.solver, iterations=2, batch=8, starts=1)  # type: ignore[type-var]
        return replace(cell, solver=solver, seeds=cell.seeds[:2])

    def cells(law: str, d: int) -> Iterator[Cell]:
        for cell in build_cells(load_suite("learned")):
            if (cell.law_name, cell.law.d) == (law, d) and cell.solver_name in FEW:
                yield short(cell)

    def solvers(cell: Cell) -> tuple[list[Any], float]:
        if cell.solver_name == "memformer_gdpp":
            return [api.solver("cg")], 1.0
        return [api.fitted(cell.solver, cell.fitted_on, [1, 2, 3, 4])], 1.0

    for module in (learned_families, what_learners_do):
        monkeypatch.setattr(module, "large_cells", cells)
        monkeypatch.setattr(module, "shipped_solvers", solvers)
    monkeypatch.setattr(learned_families, "REFERENCES", (learned_families.BAR, "cg", "memformer_gdpp"))
    monkeypatch.setattr(learned_families, "TARGETS", {"lstm_optimizer": -4.6})
    monkeypatch.setattr(api, "solver", _short(api.solver))
    what_learners_do.trained.cache_clear()


def _short(make: Any) -> Any:
    less = {**{name: {"iterations": 2, "batch": 8} for name in FEW}, learned_families.BAR: {"num_tasks": 300}}
    return lambda name, **given: make(name, **less.get(name, {}), **given)


def test_the_page_of_families_says_budgets_and_what_counts(hardly_trained: None, tmp_path: Path) -> None:
    learned_families.main(tasks=200, jobs=1, output=tmp_path)
    text = (tmp_path / "learned_families.md").read_text()
    # With two training steps the LSTM is steepest descent still, which is better than a tuned heavy ball.
    assert "in 1 of 3 families; not transformer_softmax, transformer_looped." in " ".join(text.split())
    row = next(line for line in text.splitlines() if "lstm_optimizer" in line and "small" in line)
    assert "2 x 8 x 1" in row
    assert "1,962" in row
    assert (tmp_path / "learned_families.svg").stat().st_size > 1000


def test_the_page_of_what_they_do_names_whom_they_follow(hardly_trained: None, tmp_path: Path) -> None:
    what_learners_do.main(tasks=200, output=tmp_path)
    text = (tmp_path / "what_learners_do.md").read_text()
    rows = [line for line in text.splitlines() if line.startswith("| lstm_optimizer")]
    assert all("follows steepest_descent" in row for row in rows[1:4])
    assert "Worse than steepest_descent" in text
    assert (tmp_path / "what_learners_do.svg").stat().st_size > 1000


def test_the_nearest_iterate_is_the_one_that_makes_the_same_mistakes() -> None:
    generator = torch.Generator().manual_seed(0)
    truth, *errors = torch.randn(4, 100_000, generator=generator)
    iterates = torch.stack([truth + error for error in errors])
    assert nearest(iterates[1], iterates, truth) == Nearest(1, 0.0)
    other = truth + torch.randn(100_000, generator=generator)
    assert nearest(other, iterates, truth).apart == pytest.approx(1.0, abs=0.02)
    assert said({"cg": Nearest(2, 0.05), "newton_schulz": Nearest(1, 0.4)}) == "follows cg"
    assert said({"cg": Nearest(2, 0.6), "newton_schulz": Nearest(1, 0.4)}) == "resembles newton_schulz"
    assert said({"cg": Nearest(2, 0.6)}) == "its own way"
    assert said({"cg": Nearest(0, 0.1)}) == "at the start still"


def test_the_log_mean_is_of_fresh_tasks_and_has_its_standard_error() -> None:
    law = api.law("isotropic", d=3, N=9)
    found = log_mean(api.solver("steepest_descent"), law, 500, [1, 2])
    problem = law.stream(0, Purpose.FRESH, torch.float64, torch.device("cpu")).sample(500)
    weights = api.solver("steepest_descent").solve(problem, 2).weights
    assert weights is not None
    assert problem.w_star is not None
    losses = (weights[2] - problem.w_star).square().sum(-1).numpy()
    assert found.means[1] == pytest.approx(math.log(losses.mean()))
    assert found.errors[1] == pytest.approx(np.std(losses, ddof=1) / losses.mean() / 500**0.5)
