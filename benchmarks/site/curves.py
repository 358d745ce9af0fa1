"""Which curves the plots of a law have, from the tables alone."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.reports.loss_curves import FLOORS
from benchmarks.runs.ranking import solver_label
from benchmarks.runs.schema import SOLVER
from benchmarks.runs.standing import ROUNDING
from benchmarks.site.numbers import fixed, interval, minus, missing, significant

BEST = 2
"""So many solvers of each group have their names beside their curves, and everything that is learned."""


Row = dict[Any, Any]
"""A row of `benchmarks.runs.ranking.rank`; a missing value is None."""

BySteps = dict[int, Row]
"""The rows of a solver by number of steps, the smallest first."""


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
        name: for people, with the law it was trained on if that is another, and with all settings where the law's
            page has a solver of the same name.
        kind: what it is told, `learned` or `floor`: its colour.
        named: whether its name stands beside it.
        points: by number of steps, those above rounding.
    """

    key: str
    name: str
    kind: str
    named: bool
    points: Sequence[Point]


def solvers(table: pd.DataFrame) -> list[BySteps]:
    """The rows of each solver of a law by number of steps, in the order of the run."""
    found: dict[tuple[Any, ...], BySteps] = {}
    given = table.sort_values("steps", kind="stable")
    for row in given.astype(object).where(given.notna(), None).to_dict("records"):
        found.setdefault(tuple(row[name] for name in SOLVER), {})[int(row["steps"])] = row
    order = dict.fromkeys(zip(*(table[name] for name in SOLVER), strict=True))
    return [found[key] for key in order]


def kind_of(row: Row) -> str:
    """What decides a solver's colour."""
    return "learned" if row["learned"] else str(row["group"])


def at(rows: BySteps, steps: int) -> Row:
    """A solver's row after so many steps; where it has none, after its last."""
    return rows.get(steps, rows[max(rows)])


def law_curves(found: Sequence[BySteps], floors: Iterable[pd.DataFrame], steps: int, shift: str = "") -> list[Curve]:
    """A curve for each solver of a law that has a loss above rounding, and one for each floor.

    Args:
        found: `solvers` of the law.
        floors: `benchmarks.reports.loss_curves.floors` of it.
        steps: after which the best of a group are chosen.
        shift: law that everything is fitted on which is fitted, if that is another: it goes without saying.
    """
    names = Counter(_short(at(rows, steps), shift) for rows in found)
    known = [(f"s{number}", at(rows, steps), _shown(rows)) for number, rows in enumerate(found)]
    known = [one for one in known if one[2]]
    known.sort(key=lambda one: (missing(one[1]["rank"]), missing(one[1]["log_loss"]), one[1]["log_loss"]))
    seen: Counter[str] = Counter()
    curves = []
    for key, row, shown in known:
        kind = kind_of(row)
        seen[kind] += 1
        name = _short(row, shift) if names[_short(row, shift)] == 1 else solver_label(row)
        points = [_point(name, one) for one in shown]
        curves.append(Curve(key, name, kind, kind == "learned" or seen[kind] <= BEST, points))
    return curves + [_floor(part) for part in floors]


def _short(row: Row, shift: str) -> str:
    return str(row["solver"]) + (f" ({row['trained_on']})" if row["trained_on"] not in ("", shift) else "")


def _shown(rows: BySteps) -> list[Row]:
    known = (row for row in rows.values() if not missing(row["log_loss"]))
    return [row for row in known if ROUNDING[row["dtype"]] < row["log_loss"] < math.inf]


def _point(name: str, row: Row) -> Point:
    microseconds = np.nan if missing(row["warm_seconds"]) else 1e6 * row["warm_seconds"] / row["batch"]
    words = f"{name}, {_steps(row['steps'])}: {fixed(row['log_loss'], 3)}"
    words += f" {interval(row['log_low'], row['log_high'], 3)}".rstrip()
    words += f", {significant(microseconds)} µs a task" if microseconds == microseconds else ""
    low, high = (np.nan if missing(row[name]) else row[name] for name in ("log_low", "log_high"))
    return Point(int(row["steps"]), row["log_loss"], low, high, microseconds, words)


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
