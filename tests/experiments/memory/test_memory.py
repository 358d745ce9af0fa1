"""The experiment `memory`: its rules on tables made by hand, its theory and gaps, and all of it at a small size."""

from __future__ import annotations

import math

import pandas as pd
import pytest
import torch
from pydantic import ValidationError

from baselines.constructed import ConstructedMemformer
from baselines.exact_risk import exact_risk
from baselines.wishart import GaussianTasks
from benchmarks.experiments.memory import training
from benchmarks.experiments.memory.command import report, trained
from benchmarks.experiments.memory.conclusions import (
    Summary,
    least_memory,
    noisy_sentence,
    reach_sentence,
    speed_sentence,
    steps_needed,
    summaries,
    theory_sentence,
)
from benchmarks.experiments.memory.settings import MemorySettings, Tasks, batches, memory_settings
from benchmarks.experiments.memory.theory import Floor, floors
from benchmarks.experiments.memory.training import Curve, exact_law, gaps, histories
from benchmarks.tasks.law import Purpose
from memformer.solvers.memformer import Memformer
from tests.experiments.requests import asked

LADDER = ["no memory", "conjugate", "all registers"]
QUICK = memory_settings(quick=True)
SCALAR, FULL, NOISY = QUICK.tasks


def summary(memory: str, depth: int, steps: float, gap: float, start: str = "a") -> Summary:
    return Summary(start, "law", memory, depth, steps, steps, steps, gap, gap, gap, 100)


def curve(memory: str, gap: float, seed: int = 0, noisy: bool = True) -> Curve:
    return Curve("law", "a", "scalar", memory, 8, seed, {10: gap}, 10, 0.0, noisy)


def small() -> MemorySettings:
    changed = {"seeds": [0, 1], "judged": 300, "theory_tasks": 1000, "theory_depths": 2, "most_steps": 32}
    runs = [run.model_copy(update={"depths": [1 + run.noisy]}) for run in QUICK.runs]
    return QUICK.model_copy(update={**changed, "pool": 1000, "batch": 100, "runs": runs, "drawn": [1]})


def test_steps_needed_is_the_first_budget_within_the_tolerance():
    gaps = {0: 2.0, 10: 0.06, 100: 0.04, 1000: 0.2}
    assert steps_needed(gaps, 0.05) == 100
    assert steps_needed(gaps, 0.01) == math.inf


def test_summaries_are_medians_and_ranges_over_seeds():
    gaps = ({10: 1.0, 18: gap} for gap in (0.3, 0.0, 0.1))
    curves = [Curve("law", "a", "full", "conjugate", 2, seed, own, 18, 0.0) for seed, own in enumerate(gaps)]
    (found,) = summaries(curves, within=0.05)
    assert (found.gap, found.gap_low, found.gap_high, found.last) == (0.1, 0.0, 0.3, 18)
    assert (found.steps, found.steps_low, found.steps_high) == (math.inf, 18, math.inf)


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


def test_the_sentence_of_noise_counts_models_that_none_without_memory_can_equal():
    theory = {8: Floor("law", 8, True, 0.60, 0.0, 4, 0.62)}
    curves = [curve("no memory", 0.021), curve("conjugate", 0.03)]
    curves += [curve("all registers", gap, seed) for seed, gap in enumerate((0.001, 0.002, 0.025))]
    said = noisy_sentence(curves, theory)
    assert "(all registers) gains 0.0190 on what was trained without it, where the best there is gains 0.0200" in said
    assert "and 2 of 3 models with it" in said


def test_the_sentence_of_theory_names_the_depths_that_need_memory():
    rows = [Floor("a", 1, True, 0.5, 0.0, 1, 0.5), Floor("b", 1, True, 0.5, 0.0, 1, 0.5)]
    rows += [Floor("b", 2, True, 0.4, 0.0, 0, 0.41), Floor("b", 3, True, 0.3, 0.0, 1, 0.35)]
    told = theory_sentence(rows).splitlines()
    assert told[0] == "* a: all roots are real up to 1, so no memory is needed."
    assert told[1] == "* b: complex roots at 2, 3, where memory gains up to 0.0500 (3)."


def test_theory_is_exact_with_noise_and_says_what_memory_gains():
    found = floors(QUICK, NOISY)
    exact = GaussianTasks(10, 5, noise_var=1)
    assert [floor.log_floor for floor in found] == [exact.log_floor(k) for k in range(1, 7)]
    assert [floor.real for floor in found] == [1, 2, 3, 4, 3, 4]
    assert [floor.gain for floor in found[:4]] == [0.0] * 4
    assert found[4].gain == pytest.approx(0.0009, abs=1e-4)
    assert found[5].gain == pytest.approx(0.0058, abs=1e-4)


def test_what_whitening_makes_isotropic_has_the_same_floors():
    white = Tasks(name="white", law="anisotropic", params=NOISY.params, preconditioner="full")
    assert exact_law(white) == exact_law(NOISY)
    with pytest.raises(ValueError, match="'as it is' are not known exactly"):
        exact_law(Tasks(name="as it is", law="anisotropic"))


def test_weighted_tasks_estimate_the_floor_of_a_law_that_is_known(monkeypatch):
    """Without the exact moments, the same law's floors at 6 steps are found to about a percent from 50,000 tasks."""
    settings = QUICK.model_copy(update={"theory_tasks": 100_000})
    exact = floors(settings, SCALAR)
    monkeypatch.setattr("benchmarks.experiments.memory.theory.gaussian_tasks", lambda *_: None)
    estimated = floors(settings, SCALAR)
    assert not any(floor.exact for floor in estimated)
    assert [floor.real for floor in estimated] == [floor.real for floor in exact]
    for floor, known in zip(estimated, exact, strict=True):
        assert floor.log_floor == pytest.approx(known.log_floor, abs=0.03)
        assert 0 < floor.error < 0.06


@pytest.mark.parametrize("memory", ["none", "conjugate", "first_order"])
def test_the_gap_of_a_scalar_model_is_exact(memory):
    generator = torch.Generator().manual_seed(1)
    depth, law = 4, exact_law(SCALAR)
    config = Memformer(memory=memory, preconditioner="scalar").config(5, 20, depth)
    found = {
        name: 0.3 * torch.randn(2, *shape, generator=generator, dtype=torch.float64) - float(name == "Q")
        for name, shape in config.shapes().items()
    }
    for model, (gap, error) in enumerate(gaps(config, found, SCALAR, 10, 1.0)):
        own = {name: tensor[model : model + 1] for name, tensor in found.items()}
        known = {"depths": torch.tensor([depth]), "made_for": torch.tensor([5, 20]), **own}
        solver = Memformer(memory=memory, preconditioner="scalar", parameters=known)
        assert gap == pytest.approx(math.log(exact_risk(solver, law, depth)) - law.log_floor(depth), abs=1e-9)
        assert gap > 0
        assert error == 0


def test_the_gap_of_a_full_model_is_that_of_its_polynomial():
    """Chebyshev's method on whitened covariates is a polynomial, whose gap is known."""
    law, depth = exact_law(FULL), 4
    stream = FULL.made().stream(0, Purpose.TRUTH)
    made = ConstructedMemformer("chebyshev", preconditioned=True).fit(stream, [depth])
    exact = exact_risk(made, law, depth, stream.second_moment)
    config = made.model.config(5, 20, depth)
    assert made.parameters is not None
    models = {name: made.parameters[name] for name in config.shapes()}
    ((gap, error),) = gaps(config, models, FULL, 20_000, 2.1)
    assert 0 < error < 0.01
    assert gap == pytest.approx(math.log(exact) - law.log_floor(depth), abs=4 * error)


def test_training_ends_once_all_models_have_come_to_the_floor_twice(monkeypatch):
    batch = next(iter(batches(memory_settings())))
    told = iter([[0.2, 0.01], [0.01, 0.02], [0.2, 0.0], [0.04, 0.01], [0.03, 0.02]])
    tried = []

    def train_once(settings, batch, config, law, steps):
        tried.append(steps)
        return [(gap, 0.001) for gap in next(told)]

    monkeypatch.setattr(training, "_trained", train_once)
    first, second = histories(memory_settings().model_copy(update={"seeds": [0, 1]}), batch)
    assert tried == [32, 56, 100, 178, 316]
    assert (first.stopped, first.last, second.last) == (316, 0.03, 0.02)
    assert first.gaps[3162] == first.gaps[316] == 0.03


def test_everything_at_a_small_size_is_written_and_the_same_twice(tmp_path):
    settings = small()
    curves = trained(settings, asked())
    theory = [floor for tasks in settings.theory[:4] for floor in floors(settings, tasks)]
    folders = [tmp_path / "a", tmp_path / "b"]
    for folder in folders:
        folder.mkdir()
        report(settings, theory, curves).write(folder)
    names = {"theory.csv", "gaps.csv", "noise.csv", "gaps.svg", "steps.svg", "MEMORY.md"}
    assert {path.name for path in folders[0].iterdir()} == names
    for name in names:
        assert (folders[0] / name).read_bytes() == (folders[1] / name).read_bytes()
    table = pd.read_csv(folders[0] / "gaps.csv")
    assert table.gap_32.tolist() == [one.rounded().gaps[32] for one in curves if not one.noisy]
    assert set(table.memory) == {variant.name for variant in settings.variants}
    assert (table[table.preconditioner == "scalar"].gap_32 > 0).all()
    assert set(pd.read_csv(folders[0] / "noise.csv").tasks) == {NOISY.name}
    noisy = settings.model_copy(update={"runs": [run for run in settings.runs if run.noisy]})
    assert trained(noisy, asked()) == [one for one in curves if one.noisy]


def test_settings_name_what_is_there():
    for what, wrong in (("memories", ["amnesia"]), ("tasks", "amnesia"), ("start", "amnesia")):
        content = memory_settings().model_dump(by_alias=True)
        content["run"][0][what] = wrong
        with pytest.raises(ValidationError, match=f"{what} amnesia"):
            MemorySettings.model_validate(content)
    assert memory_settings().ladder() == ["no memory", "conjugate", "window 2", "all registers"]
