"""Which curves the plots of a law have, from the tables alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.reports.loss_curves import FLOORS, floors
from benchmarks.reports.style import EXACT
from benchmarks.runs.ranking import solver_label
from benchmarks.runs.schema import SOLVER
from benchmarks.site.numbers import fixed, interval, minus, significant

BEST = 2
"""So many solvers of each group have their names beside their curves, and everything that is learned."""


@dataclass(frozen=True)
class Point:
    """One number of steps of a curve: log loss `y` with its interval, the time of a task, and both in words."""

    steps: int
    y: float
    low: float
    high: float
    microseconds: float
    words: str


@dataclass(frozen=True)
class Curve:
    """A solver, or a floor.

    Attributes:
        key: of the solver within its law's page; empty for a floor.
        name: for people, with its settings where the law has the same solver with others.
        kind: what it is told, `learned` or `floor`: its colour.
        named: whether its name stands beside it.
        points: by number of steps, those above rounding.
    """

    key: str
    name: str
    kind: str
    named: bool
    points: Sequence[Point]


def solvers(table: pd.DataFrame) -> list[pd.DataFrame]:
    """The rows of each solver of a law by number of steps, in the order of the run."""
    return [rows.sort_values("steps") for _, rows in table.groupby(SOLVER, sort=False, dropna=False)]


def kind_of(row: Any) -> str:
    """What decides a solver's colour."""
    return "learned" if row["learned"] else str(row["needs"])


def at(rows: pd.DataFrame, steps: int) -> Any:
    """A solver's row after so many steps; where it has none, after its last."""
    same = rows[rows["steps"] == steps]
    return (same if len(same) else rows).iloc[-1]


def law_curves(table: pd.DataFrame, steps: int) -> list[Curve]:
    """A curve for each solver of a law that has a loss above rounding, and one for each floor.

    Args:
        table: `benchmarks.runs.ranking.rank` of one law.
        steps: after which the best of a group are chosen.
    """
    found = [(f"s{number}", rows, at(rows, steps)) for number, rows in enumerate(solvers(table))]
    known = [(key, rows, row) for key, rows, row in found if len(_shown(rows))]
    known.sort(key=lambda one: (pd.isna(one[2]["rank"]), one[2]["log_loss"]))
    names = Counter(str(row["solver"]) for _, _, row in found)
    seen: dict[str, int] = {}
    curves = []
    for key, rows, row in known:
        kind = kind_of(row)
        seen[kind] = seen.get(kind, 0) + 1
        name = str(row["solver"]) if names[row["solver"]] == 1 and not row["trained_on"] else solver_label(row)
        points = [_point(name, one) for one in _shown(rows).to_dict("records")]
        curves.append(Curve(key, name, kind, kind == "learned" or seen[kind] <= BEST, points))
    return curves + [_floor(part) for part in floors(table)]


def _shown(rows: pd.DataFrame) -> Any:
    return rows[np.isfinite(rows["log_loss"].astype(float)) & (rows["log_loss"] > EXACT)]


def _point(name: str, row: Any) -> Point:
    microseconds = 1e6 * row["warm_seconds"] / row["batch"] if not pd.isna(row["warm_seconds"]) else np.nan
    words = f"{name}, {_steps(row['steps'])}: {fixed(row['log_loss'], 3)}"
    words += f" {interval(row['log_low'], row['log_high'], 3)}".rstrip()
    words += f", {significant(microseconds)} µs a task" if microseconds == microseconds else ""
    return Point(int(row["steps"]), row["log_loss"], row["log_low"], row["log_high"], microseconds, words)


def _floor(part: pd.DataFrame) -> Curve:
    name = floor_name(str(part["curve"].iloc[0]))
    points = [
        Point(int(s), y, np.nan, np.nan, np.nan, f"floor, {name}, {_steps(s)}: {minus(f'{y:.3f}')}")
        for s, y in zip(part["steps"], part["log_loss"], strict=True)
    ]
    return Curve("", name, "floor", True, points)


def floor_name(floor: str) -> str:
    """A floor, by the class whose best it is.

    Example:
        >>> floor_name("krylov_oracle"), floor_name("lfom_optimal")
        ('Krylov space', 'fixed coefficients')
    """
    return FLOORS.get(floor, floor).removeprefix("best ").removeprefix("of each ")


def _steps(steps: int) -> str:
    return f"{steps} step{'s' * (steps != 1)}"
