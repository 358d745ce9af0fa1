"""Ranks of solvers that need the same on the same tasks; those that cannot be told apart share one."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from benchmarks.runs.cells import Row, grouped
from benchmarks.runs.schema import PREFERRED_METRICS, SCORED_ON, SOLVER
from benchmarks.runs.tables import as_written
from benchmarks.statistics import Levels, equal_means_bound, log_ratio_p_value, shared_ranks
from benchmarks.statistics.sample import Sample
from benchmarks.statistics.seed_levels import two_level

ROUNDING = {name: 2 * math.log(1e3 * eps) for name, eps in (("float64", 2.0**-52), ("float32", 2.0**-23))}
"""A log loss below this is 0 but for rounding: it is shown as exact, and such losses share a rank."""

MOST = float(np.finfo(np.float32).max)
"""The largest loss that is stored as it is; a larger one is stored as infinite, and compared as this."""

DIRECT = "direct"
"""What a method needs that takes no steps, and the group of all that take none."""

DIGITS = 1e-6
"""Relative difference of two means that is rounding: losses are stored with seven digits."""

KEPT = 2**28
"""Bytes of losses that are held at once, so that each is read once; where solvers on the same tasks have more, they are
read again for each pair."""

READ = ["row", "seed", "metric", "shown", "num_tasks", "levels", "mean", *SCORED_ON, *SOLVER, "steps"]
"""What ranks follow from, beside the losses."""

Stored = Callable[[int], NDArray[np.float32]]
"""The per-task losses of a row by its number, as they are stored (see `benchmarks.runs.read.LOSSES`)."""


def standings(rows: Iterable[Row], stored: Stored) -> dict[int, int]:
    """Rank of every row that has one, by the number of the row: the row of all seeds, or the only one.

    What takes no steps, so that its loss is the same after every number of them, is ranked among its like. Solvers are
    ordered by their mean loss. The first shares its rank with all from whose losses, on the same tasks, its
    own cannot be told at the 5 % level by paired tests with Holm's correction; then the next, among the rest. Two
    solvers are compared in the first preferred metric that both have. A solver that was scored on fewer tasks than
    others, or that failed, has no rank.

    Args:
        rows: of `scores.csv`, with their numbers as `row`.
        stored: of rows with a seed.
    """
    ranks: dict[int, int] = {}
    rows = [{name: row[name] for name in READ} for row in rows]
    direct = takes_no_steps(rows)
    for on_tasks in grouped(rows, [*SCORED_ON, "steps"]).values():
        by_solver = grouped(on_tasks, SOLVER).values()
        solvers = [_Solver(own, stored) for own in by_solver if any(row["shown"] for row in own)]
        most = max((solver.tasks for solver in solvers), default=0)
        ranked = [solver for solver in solvers if solver.tasks == most and math.isfinite(solver.mean)]
        for solver in ranked:
            solver.kept = {} if 8 * most * len(ranked) <= KEPT else None
        groups = {solver: DIRECT if solver.row in direct else solver.needs for solver in ranked}
        for need in dict.fromkeys(groups.values()):
            group = [solver for solver in ranked if groups[solver] == need]
            found = shared_ranks([solver.mean for solver in group], lambda i, j, of=group: of[i].p_value(of[j]))
            ranks |= {solver.row: rank for solver, rank in zip(group, found, strict=True)}
    return ranks


def takes_no_steps(rows: Sequence[Row]) -> set[int]:
    """Numbers of the rows of solvers that are direct, or whose mean loss is the same from the first step on.

    Where no row is of one step, nobody can tell what takes none from what has converged.
    """
    found: set[int] = set()
    for own in grouped([row for row in rows if row["shown"]], [*SCORED_ON, *SOLVER]).values():
        by_seed = grouped([row for row in own if row["steps"] > 0], ["seed"]).values()
        same = all(len({row["mean"] and as_written(row["mean"]) for row in of_seed}) == 1 for of_seed in by_seed)
        several = any(len(of_seed) > 1 and min(row["steps"] for row in of_seed) == 1 for of_seed in by_seed)
        if own[0]["needs"] == DIRECT or (same and several and own[0]["mean"] is not None and not own[0]["learned"]):
            found |= {row["row"] for row in own}
    return found


def comparable(stored: NDArray[np.float32], dtype: str) -> NDArray[np.float64]:
    """Stored losses as they are compared: what is below rounding is exact, what float32 does not hold its largest."""
    wide = stored.astype(np.float64)
    return np.clip(wide, math.exp(ROUNDING[dtype]), MOST, out=wide)


class _Solver:
    """A solver after a number of steps: its rows of all metrics, and their losses when they are asked for."""

    def __init__(self, rows: Sequence[Row], stored: Stored) -> None:
        shown = [row for row in rows if row["shown"]]
        last = next((row for row in shown if row["seed"] is None), shown[-1])
        self.row, self.needs, self.tasks = last["row"], last["needs"], last["num_tasks"]
        self.levels: Levels = last["levels"]
        self.dtype = last["dtype"]
        least = math.exp(ROUNDING[self.dtype])
        self.mean = math.inf if last["mean"] is None else max(as_written(last["mean"]), least)
        self._rows = grouped([row for row in rows if row["seed"] is not None], ["metric"])
        self._stored = stored
        self.kept: dict[str, Sample] | None = None

    def losses(self, metric: str) -> Sample:
        """Of each seed, as they are compared."""
        if self.kept is not None and metric in self.kept:
            return self.kept[metric]
        arrays = [self._stored(row["row"]) for row in self._rows[metric,]]
        found = Sample(comparable(array[0] if array.ndim == 2 else array, self.dtype) for array in arrays)
        if self.kept is not None:
            self.kept[metric] = found
        return found

    def p_value(self, other: _Solver) -> float:
        """Of the hypothesis of equal mean losses, or a bound of it where that decides."""
        metric = next(self._shared(other), "")
        if not metric or math.isclose(self.mean, other.mean, rel_tol=DIGITS):
            return math.nan
        mine, theirs = self.losses(metric), other.losses(metric)
        if [len(array) for array in mine] != [len(array) for array in theirs]:  # of a damaged run
            return math.nan
        if not (mine.finite and theirs.finite):  # nan: of a damaged run
            return math.nan
        levels = other.levels if self.levels == "tasks" else self.levels
        differences = [a - b for a, b in zip(mine, theirs, strict=True)]
        for part in differences:
            part /= self.mean
        if levels == "tasks" or len(differences) == 1:
            return equal_means_bound(np.concatenate(differences))
        # Of few seeds Student's t sees nothing where they lie far apart: in differences those of the worse solver, in
        # log ratios those of either. What one of the two tests tells is told, at twice its p-value.
        errors = [part.std(ddof=1) / len(part) ** 0.5 for part in differences]
        of_means = two_level(np.array([part.mean() for part in differences]), np.array(errors)).p_value()
        return min(1.0, 2 * min(of_means, log_ratio_p_value(mine, theirs, levels)))

    def _shared(self, other: _Solver) -> Iterator[str]:
        known = [str(name) for (name,) in self._rows if (name,) in other._rows]
        yield from (name for name in PREFERRED_METRICS if name in known)
        yield from known
