"""A long fit that is interrupted goes on where it was, and ends with the same bits."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.harness.scores.fitting import ParameterStore
from benchmarks.tasks.law import Purpose
from memformer.solvers.learned import LearnedSolver
from memformer.training import unfinished
from memformer.training.recipe import Progress
from memformer.training.unfinished import Unfinished
from tests.baselines.helpers import training
from tests.memformer.test_learned import LAW, Descent

HEADER = {"solver": "descent"}


class Interrupted(Exception):
    """As good as a kill: nothing is tidied up."""


@pytest.fixture(autouse=True)
def _every_state_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unfinished, "EVERY", 0.0)


def stops_after(validations: int) -> Any:
    seen: list[Progress] = []

    def progress(point: Progress) -> None:
        seen.append(point)
        if len(seen) > validations:
            raise Interrupted

    return progress


@cache
def uninterrupted(solver: Descent) -> LearnedSolver:
    return solver.fit(training(LAW), [1, 2], seed=3)


@pytest.mark.parametrize("loss", ["each", "last"])
@pytest.mark.parametrize("validations", [1, 7, 19, 23])
def test_a_fit_that_is_taken_up_has_the_parameters_of_one_that_was_not_interrupted(
    tmp_path: Path, loss: Any, validations: int
) -> None:
    solver = Descent(iterations=40, starts=3, batch=256, loss=loss)
    left = Unfinished(tmp_path / "descent.safetensors", HEADER)
    if loss == "last" or validations < 20:
        with pytest.raises(Interrupted):
            solver.fit(training(LAW), [1, 2], 3, stops_after(validations), left)
        assert list(tmp_path.iterdir())
    again: list[Progress] = []
    assert solver.fit(training(LAW), [1, 2], 3, again.append, left) == uninterrupted(solver)
    assert again[0].done > 2 or validations == 23
    left.remove()
    assert not list(tmp_path.iterdir())


def test_a_start_that_went_back_is_taken_up_where_it_was(tmp_path: Path) -> None:
    @dataclass(frozen=True)
    class Leaping(Descent):
        learning_rate: float = 1e3

    solver = Leaping(iterations=40, loss="last")
    left = Unfinished(tmp_path / "leaping.safetensors", HEADER)
    whole = solver.fit(training(LAW), [2])
    with pytest.raises(Interrupted):
        solver.fit(training(LAW), [2], 0, stops_after(5), left)
    assert solver.fit(training(LAW), [2], 0, None, left) == whole


@pytest.mark.parametrize("damage", ["another", "cut", "gone"])
def test_what_cannot_be_taken_up_is_trained_from_the_start(tmp_path: Path, damage: str) -> None:
    solver = Descent(iterations=40)
    left = Unfinished(tmp_path / "descent.safetensors", HEADER)
    with pytest.raises(Interrupted):
        solver.fit(training(LAW), [2], 0, stops_after(5), left)
    (file,) = tmp_path.iterdir()
    if damage == "another":
        left = Unfinished(left.path, {"solver": "other"})
    elif damage == "cut":
        file.write_bytes(file.read_bytes()[:-40])
    else:
        file.unlink()
    seen: list[Progress] = []
    assert solver.fit(training(LAW), [2], 0, seen.append, left) == solver.fit(training(LAW), [2])
    assert seen[0].done == 2


def test_the_store_keeps_the_state_of_a_long_fit_until_it_has_the_parameters(tmp_path: Path) -> None:
    def fit(progress: Any = None) -> Any:
        store = ParameterStore(tmp_path, progress=progress)
        return store.fit("descent", solver, law, [1, 2], [0, 1], torch.float64, torch.device("cpu"))

    solver, law = Descent(iterations=40), LAW
    with pytest.raises(Interrupted):
        fit(stops_after(30))
    kept = sorted(path.name.split(".", 1)[1] for path in tmp_path.iterdir())
    assert kept == ["2.unfinished.safetensors"] * 2
    seen: list[Progress] = []
    found = fit(seen.append)
    assert seen[0].done > 2
    assert len(list(tmp_path.iterdir())) == 2
    sources = [law.stream(seed, Purpose.TRAIN, torch.float64) for seed in (0, 1)]
    assert found.solvers == solver.fit_many(sources, [1, 2], [0, 1])
    assert fit().reused
