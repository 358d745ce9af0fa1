"""The experiment `memory`: its rules on tables made by hand, its floors, and all of it at a small size."""

from __future__ import annotations

import math

import pandas as pd
import pytest
import torch
from pydantic import ValidationError

from baselines.objective import excess_loss
from benchmarks.catalogue.registry import LAWS
from benchmarks.experiments.memory.command import report, trained
from benchmarks.experiments.memory.conclusions import (
    Summary,
    depth_sentence,
    least_memory,
    reach_sentence,
    speed_sentence,
    steps_needed,
    summaries,
)
from benchmarks.experiments.memory.settings import MemorySettings, batches, memory_settings
from benchmarks.experiments.memory.training import Curve, floors, histories
from benchmarks.tasks.law import Purpose
from tests.experiments.requests import asked

LADDER = ["no memory", "conjugate", "all registers"]


def summary(memory: str, depth: int, steps: float, gap: float, start: str = "a") -> Summary:
    return Summary(start, "full", memory, depth, steps, steps, steps, gap, gap, gap, 100)


def small() -> MemorySettings:
    changed = {"seeds": [0, 1], "scored": 300, "floor_tasks": 2000, "most_steps": 10, "most_layers": 1}
    return memory_settings(quick=True).model_copy(update=changed)


def test_steps_needed_is_the_first_budget_within_the_tolerance():
    gaps = {0: 2.0, 10: 0.06, 100: 0.04, 1000: 0.2}
    assert steps_needed(gaps, 0.05) == 100
    assert steps_needed(gaps, 0.01) == math.inf


def test_summaries_are_medians_and_ranges_over_seeds():
    curves = [
        Curve("a", "full", "conjugate", 2, seed, {0: 1.0, 10: gap}, 10) for seed, gap in enumerate((0.3, 0.0, 0.1))
    ]
    (found,) = summaries(curves, within=0.05)
    assert (found.gap, found.gap_low, found.gap_high, found.last) == (0.1, 0.0, 0.3, 10)
    assert (found.steps, found.steps_low, found.steps_high) == (math.inf, 10, math.inf)


def test_the_least_memory_is_the_first_rung_that_reaches_from_any_start():
    found = [
        summary("no memory", 1, 10, 0.01),
        summary("conjugate", 1, 10, 0.0),
        summary("no memory", 2, math.inf, 0.3),
        summary("no memory", 2, math.inf, 0.2, start="b"),
        summary("conjugate", 2, math.inf, 0.2),
        summary("conjugate", 2, 50, 0.04, start="b"),
        summary("token-shaped", 3, 10, 0.0),
        summary("all registers", 3, math.inf, 0.06),
    ]
    assert least_memory(found, LADDER, 0.05) == {1: "no memory", 2: "conjugate", 3: None}


def test_the_sentence_of_reach_claims_no_more_than_the_table_says():
    everywhere = reach_sentence({1: "no memory", 2: "no memory"}, LADDER)
    assert "1 and 2 layers is no memory" in everywhere
    assert "extends no model's reach" in everywhere
    mixed = reach_sentence({1: "no memory", 2: "conjugate", 3: None}, LADDER)
    assert "at 2 layers is memory 'conjugate'" in mixed
    assert "at 3 layers none of no memory, conjugate, all registers reaches it" in mixed
    assert "extends no" not in mixed


def test_the_sentence_of_speed_compares_with_the_fastest_memory():
    found = [
        summary("no memory", 1, 300, 0.0),
        summary("conjugate", 1, 100, 0.0),
        summary("all registers", 1, 200, 0.0),
        summary("no memory", 2, math.inf, 1.0),
        summary("conjugate", 2, 50, 0.0),
        summary("no memory", 3, math.inf, 1.0),
        summary("conjugate", 3, math.inf, 1.0),
        summary("no memory", 4, 7, 0.0),
        summary("conjugate", 4, math.inf, 1.0),
    ]
    text = speed_sentence(found, LADDER)
    assert "1 layer 300 steps without and 100 with memory (conjugate)" in text
    assert "at 2 layers only with memory (50 steps, conjugate)" in text
    assert "at 3 layers nothing gets there" in text
    assert "at 4 layers only without memory (7 steps)" in text
    assert "2 layers: not within 100 steps, gap +1.00" in depth_sentence(found[3:4])


def test_floors_and_histories_are_scored_on_the_same_tasks():
    """With a learning rate of 0, the gap at the start is that of gradient descent's start, task by task."""
    settings = small()
    law = LAWS.create(settings.law)
    floor = floors(settings, law, "scalar")[256]
    first = next(batch for batch in batches(settings) if batch.start.deviation is not None)
    frozen = first._replace(start=first.start.model_copy(update={"learning_rate": 0.0, "deviation": 0.0}), depths=[1])
    problem = law.stream(settings.seeds[1], Purpose.VALIDATION).sample(settings.scored)
    losses = excess_loss(problem, torch.zeros(settings.scored, law.d, dtype=torch.float64))
    zero = torch.stack([losses[:256].mean(), losses[256:].mean()]).mean().log()  # 300 tasks are two batches
    curve = histories(settings, frozen, floor)[1]
    assert curve.seed == settings.seeds[1]
    assert curve.gaps[0] == pytest.approx((zero - floor[1, 1]).item(), abs=1e-10)


def test_everything_at_a_small_size_is_written_and_the_same_twice(tmp_path):
    settings = small()
    curves = trained(settings, asked())
    folders = [tmp_path / "a", tmp_path / "b"]
    for folder in folders:
        folder.mkdir()
        report(settings, curves).write(folder)
    names = {"gaps.csv", "gaps.svg", "steps.svg", "MEMORY.md"}
    assert {path.name for path in folders[0].iterdir()} == names
    assert "gaps below 0.001 are drawn there" in (folders[0] / "gaps.svg").read_text()
    for name in names:
        assert (folders[0] / name).read_bytes() == (folders[1] / name).read_bytes()
    table = pd.read_csv(folders[0] / "gaps.csv")
    assert table.gap_0.tolist() == [round(curve.gaps[0], 3) for curve in curves]
    assert set(table.memory) == {variant.name for variant in settings.variants}
    assert (table.gap_0 > -0.1).all()
    again = trained(settings.model_copy(update={"starts": settings.starts[1:2]}), asked())
    assert again == [curve for curve in curves if curve.start == settings.starts[1].name]


def test_settings_name_variants_that_are_there():
    content = memory_settings().model_dump(by_alias=True)
    content["start"][0]["runs"][0]["memories"] = ["amnesia"]
    with pytest.raises(ValidationError, match="amnesia"):
        MemorySettings.model_validate(content)
    assert memory_settings().ladder() == ["no memory", "conjugate", "window 2", "window 3", "all registers"]
