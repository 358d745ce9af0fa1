"""Fit solvers on each of a list of laws and score them on every other: the data of the transfer matrix.

python -m benchmarks.experiments.transfer.command --solver lfom --steps 3 [--output results/studies]
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks.errors import UserError
from benchmarks.harness.resolve import build_law, build_solver
from benchmarks.harness.scores.measure import measure
from benchmarks.runs.schema import PREFERRED_METRICS
from benchmarks.statistics import Levels, compare
from benchmarks.suites.entries import SolverEntry, TaskEntry
from benchmarks.tasks.law import Law, Purpose
from memformer.core.solver import Fitting, Solver

OUT_OF_DISTRIBUTION: dict[str, TaskEntry] = {
    "isotropic": TaskEntry(law="isotropic"),
    "anisotropic": TaskEntry(law="anisotropic"),
    "variance 0.5": TaskEntry(law="ood_variance", params={"variance": 0.5}),
    "variance 2": TaskEntry(law="ood_variance", params={"variance": 2.0}),
    "variance 3": TaskEntry(law="ood_variance", params={"variance": 3.0}),
    "geometric spectrum": TaskEntry(law="anisotropic", params={"spectrum": "geometric", "kappa": 100.0}),
    "rotation a task": TaskEntry(law="anisotropic", params={"rotation": "per_task"}),
    "N = 10": TaskEntry(law="isotropic", N=10),
    "N = 40": TaskEntry(law="isotropic", N=40),
    "noise 0.5": TaskEntry(law="isotropic", noise_std=0.5),
    "gmm": TaskEntry(law="gmm"),
}
"""Shifts of variance, spectrum, rotation, context length, noise and shape, at one d."""


def transfer(
    solver: Solver, laws: Mapping[str, Law], steps: Sequence[int], tasks: int = 2000, seeds: Sequence[int] = (0, 1, 2)
) -> pd.DataFrame:
    """Fit a solver on each law and score it on each law.

    Args:
        solver: one that is fitted.
        laws: by the names that the table is to show, all of one d (or the solver takes any).
        steps: numbers of steps.
        tasks: fresh tasks scored for each seed.
        seeds: of training and scored tasks.

    Returns:
        One row for each number of steps, training law and test law: `log_loss` on the test law, `log_gap` to the
        solver fitted on the test law itself (0 on the diagonal) with its paired 95 % interval `log_low`, `log_high`
        (over seeds too if the fit is random), `tasks` in all, `protocol`; nan where the solver cannot be used or gives
        no finite answer.
    """
    fitted = {
        name: solver.fit_many([law.stream(seed, Purpose.TRAIN) for seed in seeds], list(steps), list(seeds))
        for name, law in laws.items()
    }
    levels: Levels = "seeds_and_tasks" if solver.fitting is Fitting.RANDOM else "tasks"
    rows = []
    for test_law, law in laws.items():
        problems = [law.stream(seed, Purpose.SCORE).sample(tasks) for seed in seeds]
        losses = {train_law: _losses(solvers, problems, steps) for train_law, solvers in fitted.items()}
        for train_law, by_seed in losses.items():
            for index, step in enumerate(steps):
                mine = [part[index] for part in by_seed]
                gap = compare(mine, [part[index] for part in losses[test_law]], levels)
                mean = float(np.concatenate(mine).mean())
                rows.append(
                    {
                        "d": law.d,
                        "steps": step,
                        "train_law": train_law,
                        "test_law": test_law,
                        "log_loss": np.log(mean) if mean > 0 else np.nan,
                        "log_gap": gap.log_ratio,
                        "log_low": gap.log_ratio_low,
                        "log_high": gap.log_ratio_high,
                        "tasks": tasks * len(seeds),
                        "protocol": "held_out",
                    }
                )
    order = {name: index for index, name in enumerate(laws)}
    return pd.DataFrame(rows).sort_values(
        ["steps", "train_law", "test_law"], key=lambda column: column.map(order) if column.name != "steps" else column
    )


def _losses(solvers: Sequence[Solver], problems: Sequence, steps: Sequence[int]) -> list[NDArray[np.float64]]:
    """Losses `(steps, tasks)` of each seed; nan if a solver cannot be used on these problems (another d)."""
    found = []
    for solver, problem in zip(solvers, problems, strict=True):
        try:
            measured = measure(solver, problem, steps).losses
        except ValueError:
            found.append(np.full((len(steps), problem.B), np.nan))
            continue
        found.append(measured[next(name for name in PREFERRED_METRICS if name in measured)])
    return found


def main() -> None:
    """Write `transfer_SOLVER.csv`."""
    parser = argparse.ArgumentParser(description="Fit a solver on each of eleven laws and score it on all of them.")
    parser.add_argument("--solver", default="lfom", help="id of a solver that is fitted")
    parser.add_argument("--steps", type=int, nargs="+", default=[3], help="numbers of steps")
    parser.add_argument("--tasks", type=int, default=2000, help="tasks scored for each seed")
    parser.add_argument("--output", type=Path, default=Path("results/studies"), help="folder of the result")
    given = parser.parse_args()
    try:
        solver = build_solver(SolverEntry(name=given.solver))
        laws = {name: build_law(entry) for name, entry in OUT_OF_DISTRIBUTION.items()}
        table = transfer(solver, laws, given.steps, given.tasks)
    except UserError as error:
        raise SystemExit(f"error: {error}") from None
    table.insert(0, "solver", given.solver)
    given.output.mkdir(parents=True, exist_ok=True)
    path = given.output / f"transfer_{given.solver}.csv"
    table.to_csv(path, index=False, float_format="%.6g", lineterminator="\n")
    print(f"written to {path}")


if __name__ == "__main__":
    main()
