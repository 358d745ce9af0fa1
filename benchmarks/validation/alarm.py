"""What the alarm sees: how often it is raised by honest solvers and by ones that are below the floor of their class.

    python -m benchmarks.validation.alarm [--output results/studies] [--draws 200]

Every draw is a seed of 4,000 scored tasks; losses go through the harness's own judgement. Minutes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from typer import run

from baselines.lfom_optimal import LfomOptimal, draw_moments
from benchmarks.catalogue.registry import SOLVERS
from benchmarks.harness.cell import Cell
from benchmarks.harness.scores.gaps import judge_gap
from benchmarks.harness.scores.measure import measure
from benchmarks.harness.scores.protocol import scored_tasks
from benchmarks.reports.template import render
from benchmarks.reports.write import Report
from benchmarks.tasks.gaussian import Isotropic
from benchmarks.tasks.importance import Sampling
from benchmarks.tasks.law import Purpose
from memformer.core.solver import Reach, Solver

STEPS = (1, 2, 3, 4, 5, 6)
TASKS = 4_000
METRIC = "expected_test_loss"
LAW = Isotropic()
FLOOR = "lfom_optimal, exact"

Losses = np.ndarray
Cheat = Callable[[Losses, np.random.Generator], Losses]

CHEATS: dict[str, Cheat] = {
    "0.95 of the floor on every task": lambda floor, _: 0.95 * floor,
    "0.90 of the floor on every task": lambda floor, _: 0.9 * floor,
    "0.78 of the floor on every task": lambda floor, _: 0.78 * floor,
    "0.90 of the floor in the mean, a factor of 0.6 to 1.4 on a task": lambda floor, rng: (
        0.9 * floor * np.exp(rng.normal(0, 0.2, len(floor)) - 0.02)
    ),
}

LEAKS: dict[str, float] = {"none": 0.0, "1 % of the tasks": 0.01, "5 %": 0.05, "10 %": 0.1, "all": 1.0}
"""Shares of the scored tasks that a solver without a floor knows: there it has a hundredth of its loss."""


def honest() -> dict[str, Solver]:
    """Methods with fixed coefficients, some fitted on so few tasks that they know nothing of rare ones."""
    train = LAW.stream(7, Purpose.TRAIN)
    names = ("heavy_ball_tuned", "nesterov_tuned", "gradient_descent_tuned")
    found: dict[str, Solver] = {FLOOR: LfomOptimal().fit(train, STEPS)}
    found |= {name: SOLVERS.create(name).fit(LAW.stream(7, Purpose.TRAIN), STEPS, 7) for name in names}
    for tasks in (100, 1_000, 10_000):
        moments = draw_moments(LAW.stream(3, Purpose.TRAIN), tasks, spread=1.0)
        found[f"best coefficients of {tasks:,} training tasks"] = LfomOptimal().fitted(*moments, max(STEPS))
    return found


def raised(draws: int) -> Iterator[dict[str, Any]]:
    """How many of the draws raise the alarm: one record for each solver, way of drawing and number of steps."""
    solvers, generator = honest(), np.random.default_rng(0)
    place: dict[str, Any] = {"dtype": torch.float64, "device": torch.device("cpu"), "time_limit": 60.0}
    samplings: tuple[Sampling, ...] = ("plain", "importance")
    for draw in samplings:
        named: dict[str, Any] = {"law_name": "isotropic", "solver_name": "", "solver_params": {}, "draw": draw}
        cell = Cell(law=LAW, solver=solvers[FLOOR], steps=STEPS, seeds=(0,), tasks=TASKS, **named, **place)
        alarms: Counter[tuple[str, int]] = Counter()
        lowest: dict[tuple[str, int], float] = {}
        for seed in range(draws):
            problem = scored_tasks(LAW, seed, TASKS, torch.float64, place["device"], draw, Purpose.SCORE)
            losses = {name: measure(solver, problem, STEPS).losses[METRIC] for name, solver in solvers.items()}
            for name, cheat in CHEATS.items():
                losses[name] = np.stack([cheat(one, generator) for one in losses[FLOOR]])
            for name, rows in losses.items():
                for k, row in zip(STEPS, rows, strict=True):
                    gap = judge_gap(cell, Reach.FIXED, k, METRIC, {seed: row})
                    alarms[name, k] += bool(gap.alarm)
                    lowest[name, k] = min(lowest.get((name, k), np.inf), gap.gap_to_floor)
            new = scored_tasks(LAW, seed, TASKS, torch.float64, place["device"], draw, Purpose.FRESH)
            fresh = measure(solvers["heavy_ball_tuned"], new, STEPS).losses[METRIC]
            for name, share in LEAKS.items():
                known = np.where(generator.random(TASKS) < share, 0.01, 1.0)
                for k, row, other in zip(STEPS, losses["heavy_ball_tuned"], fresh, strict=True):
                    gap = judge_gap(cell, Reach.ANY, k, METRIC, {seed: known * row}, "tasks", {seed: other})
                    alarms[f"knows {name}", k] += bool(gap.alarm)
        for (name, k), count in alarms.items():
            yield {"solver": name, "draw": draw, "k": k, "raised": count, "lowest gap": lowest.get((name, k))}


def report(records: list[dict[str, Any]], draws: int) -> str:
    """Markdown of the records."""
    table = pd.DataFrame(records)

    def shown(part: Any, value: str = "raised", form: str = ".0f") -> str:
        wide = part.pivot_table(value, ["draw", "solver"], "k", sort=False)
        return wide.reset_index().to_markdown(index=False, floatfmt=form)

    leaks, cheats = table["solver"].str.startswith("knows "), table["solver"].isin([*CHEATS])
    honest: Any = table[~leaks & ~cheats]
    return render(
        "benchmarks.validation",
        "alarm.md.jinja",
        tasks=TASKS,
        draws=draws,
        honest=shown(honest),
        cheats=shown(table[cheats]),
        leaks=shown(table[leaks]),
        gaps=shown(honest, "lowest gap", "+.3f"),
    )


def main(output: Path = Path("results/studies"), draws: int = 200) -> None:
    """Count alarms and write `alarm.md`."""
    torch.set_num_threads(1)
    text = report(list(raised(draws)), draws)
    Report(texts={"alarm.md": text}).write(output)
    print(text)


if __name__ == "__main__":
    run(main)
