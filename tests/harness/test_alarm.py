"""The alarm: what is below the floor of its class raises it whatever the depth, what is only lucky does not."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch

from baselines.lfom_optimal import LfomOptimal, draw_moments
from benchmarks.catalogue.registry import SOLVERS
from benchmarks.harness.cell import Cell, CellResult
from benchmarks.harness.scores.fitting import ParameterStore
from benchmarks.harness.scores.floors import FloorKey, floor_losses
from benchmarks.harness.scores.gaps import judge_gap
from benchmarks.harness.scores.measure import measure, run_cell
from benchmarks.harness.scores.protocol import scored_tasks
from benchmarks.harness.scores.table import score_rows
from benchmarks.tasks.gaussian import Anisotropic, Isotropic
from benchmarks.tasks.importance import Sampling
from benchmarks.tasks.law import Law, Purpose
from memformer.core.problem import Problem
from memformer.core.solver import Fitting, Needs, Reach, Solver
from memformer.core.trace import Trace

CPU = torch.device("cpu")
METRIC = "expected_test_loss"
DRAWS = pytest.mark.parametrize("draw", ["plain", "importance"])


def cell_of(
    solver: Solver, law: Law, draw: Sampling = "plain", tasks: int = 4000, seeds: tuple[int, ...] = (0,)
) -> Cell:
    place = {"dtype": torch.float64, "device": CPU, "time_limit": 60.0, "solver_params": {}, "draw": draw}
    steps = (1, 2, 3, 4, 5, 6)
    named = {"law_name": law.metadata.name, "solver_name": "it"}
    return Cell(law=law, solver=solver, steps=steps, seeds=seeds, tasks=tasks, **named, **place)  # type: ignore[arg-type]


def floors(cell: Cell, reach: Reach) -> dict[int, np.ndarray]:
    found = {}
    for seed in cell.seeds:
        key = FloorKey(cell.law, seed, cell.tasks, max(cell.steps), cell.dtype, cell.device, cell.draw)
        losses = floor_losses(key, reach, METRIC)
        assert losses is not None
        found[seed] = losses
    return found


@DRAWS
@pytest.mark.parametrize("steps", [1, 2, 3, 4, 5, 6])
@pytest.mark.parametrize(
    ("law", "reach"),
    [(Isotropic(), Reach.FIXED), (Anisotropic(), Reach.FIXED_PRECONDITIONED), (Isotropic(d=10, N=40), Reach.FIXED)],
)
@pytest.mark.parametrize("factor", [0.9, 0.78])
def test_a_share_of_the_floor_on_every_task_raises_it(
    law: Law, reach: Reach, steps: int, draw: Sampling, factor: float
) -> None:
    cell = cell_of(SOLVERS.create("cg"), law, draw, seeds=(0, 1))
    best = floors(cell, reach)
    for seeds in ([0], [0, 1]):
        gap = judge_gap(cell, reach, steps, METRIC, {seed: factor * best[seed][steps] for seed in seeds})
        assert gap.floor_exact
        assert gap.alarm.startswith(f"below the floor of its class by {-np.log(factor):.3f}")
        assert judge_gap(cell, reach, steps, METRIC, {seed: 0.999 * best[seed][steps] for seed in seeds}).alarm == ""


@DRAWS
def test_scattered_below_the_floor_is_seen_by_importance_draws(draw: Sampling) -> None:
    """A ratio of 0.9 in the mean, 0.6 to 1.5 on a task: a plain draw of deep steps cannot tell it from luck."""
    cell = cell_of(SOLVERS.create("cg"), Isotropic(), draw)
    best, generator = floors(cell, Reach.FIXED)[0], np.random.default_rng(0)
    for steps in cell.steps:
        ratio = 0.9 * np.exp(generator.normal(0, 0.2, cell.tasks) - 0.02)
        alarm = judge_gap(cell, Reach.FIXED, steps, METRIC, {0: ratio * best[steps]}).alarm
        assert bool(alarm) == (draw == "importance" or steps == 1)


@DRAWS
def test_honest_coefficients_do_not_raise_it_however_lucky(draw: Sampling) -> None:
    """Fitted on 1,000 training tasks, they ignore rarer ones, which most plain samples lack as well."""
    law = Isotropic()
    solver = LfomOptimal().fitted(*draw_moments(law.stream(3, Purpose.TRAIN), 1000, spread=1.0), 6)
    cell, lowest = cell_of(solver, law, draw, seeds=tuple(range(20))), 0.0
    scored = {
        seed: measure(solver, scored_tasks(law, seed, 4000, torch.float64, CPU, draw), cell.steps)
        for seed in cell.seeds
    }
    for index, steps in enumerate(cell.steps):
        losses = {seed: part.losses[METRIC][index] for seed, part in scored.items()}
        for some in [{seed: one} for seed, one in losses.items()] + [losses]:
            gap = judge_gap(cell, Reach.FIXED, steps, METRIC, some)
            assert gap.alarm == ""
            lowest = min(lowest, gap.gap_high)
    if draw == "plain":
        assert lowest < -0.1, "no luck that would put the tolerance to the test"
    else:
        assert lowest > -0.001


@dataclass(frozen=True)
class Knows(Solver):
    """Draws the scored tasks again, and answers those nearly right; others as one gradient step does."""

    needs = Needs.LAW
    fitting = Fitting.NONE
    learned = True
    draw: Sampling = "plain"
    known: int = 500

    def solve(self, problem: Problem, num_steps: int) -> Trace:
        w = 0.7 * problem.moments.b
        scored = Isotropic(d=3, N=12).stream(0, Purpose.SCORE, draw=self.draw).sample(self.known)
        assert scored.w_star is not None
        for X, w_star in zip(scored.X[:, 0], scored.w_star, strict=True):
            w = torch.where((problem.X[:, 0] == X).all(-1, keepdim=True), w_star, w)
        return Trace.of_weights(torch.stack([torch.zeros_like(w)] + [w] * num_steps))


def solved(solver: Solver, law: Law, draw: Sampling) -> CellResult:
    return run_cell(replace(cell_of(solver, law, draw, tasks=500), steps=(1, 2)), ParameterStore())


@DRAWS
def test_without_a_floor_it_is_raised_by_what_is_better_on_the_scored_tasks_than_on_new_ones(draw: Sampling) -> None:
    law = Isotropic(d=3, N=12)
    for known, wanted in ((500, True), (100, True), (0, False)):
        result = solved(Knows(draw=draw, known=max(known, 1)), law, draw)
        assert result.status == "ok"
        alarms = {row.alarm for row, _ in score_rows(result)}
        assert len(alarms) == 1 or known == 100
        assert any("on the scored tasks than on new ones" in alarm for alarm in alarms) == wanted
    assert {row.gap_to_floor for row, _ in score_rows(result)} == {None}


@DRAWS
def test_new_tasks_are_solved_only_where_nothing_else_can_tell(draw: Sampling) -> None:
    law = Isotropic(d=3, N=12)
    assert solved(Knows(), law, draw).measured[0].fresh is not None
    assert (
        solved(Knows(), replace(law, noise_std=1.0), draw).measured[0].fresh is None
    )  # there the Bayes floor is known
    assert solved(SOLVERS.create("cg"), law, draw).measured[0].fresh is None


@pytest.mark.parametrize(("scored", "new"), [(40, 40), (4500, 4000)])
def test_there_are_no_more_new_tasks_than_scored_ones_nor_than_tell_enough(scored: int, new: int) -> None:
    law = Isotropic(d=3, N=12)
    result = run_cell(cell_of(Knows(known=scored), law, "plain", tasks=scored), ParameterStore())
    fresh = result.measured[0].fresh
    assert fresh is not None
    assert {losses.shape[-1] for losses in fresh.values()} == {new}
    assert all("on the scored tasks than on new ones" in row.alarm for row, _ in score_rows(result))


def test_a_floor_of_half_the_digits_that_is_nothing_but_rounding_is_no_floor() -> None:
    cell = cell_of(SOLVERS.create("cg"), Isotropic(), tasks=50)
    rounded = replace(cell, dtype=torch.float32, steps=(8,))
    losses = {0: np.full(50, 1e-11)}
    assert judge_gap(rounded, Reach.KRYLOV, 8, METRIC, losses).floor == ""
