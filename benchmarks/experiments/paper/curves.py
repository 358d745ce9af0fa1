"""Losses of the published protocol, redone: points of curves."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

import pandas as pd
from torch import Tensor

from benchmarks.errors import UserError
from benchmarks.runs.standing import ROUNDING

EXACT = ROUNDING["float64"]
"""A log loss below this is an exact answer but for rounding: all of this is computed in that type."""

Scored = Literal["published", "fresh"]


@dataclass(frozen=True)
class Point:
    """A loss of one curve.

    Attributes:
        experiment, curve, layers, seed: which.
        scored: `"published"`, on the tasks the figure shows, or `"fresh"`, on tasks nobody was fitted on.
        log_loss: natural logarithm of the mean squared error; nan where it is not finite.
    """

    experiment: str
    curve: str
    layers: int
    seed: int
    scored: Scored
    log_loss: float


def scored(experiment: str, curve: str, layers: int, seed: int, published: Tensor, fresh: Tensor) -> Iterator[Point]:
    """The two points of a model, from its squared errors on the figure's tasks and on fresh ones."""
    yield Point(experiment, curve, layers, seed, "published", published.mean().log().item())
    yield Point(experiment, curve, layers, seed, "fresh", fresh.mean().log().item())


def by_layers(
    points: Iterable[Point], experiment: str, curve: str, scored: Scored = "published"
) -> dict[int, list[float]]:
    """Log losses of one curve, of all seeds, for each number of layers."""
    found: dict[int, list[float]] = {}
    for point in points:
        if (point.experiment, point.curve, point.scored) == (experiment, curve, scored):
            found.setdefault(point.layers, []).append(point.log_loss)
    return found


def read_points(path: Path) -> list[Point]:
    """The points of a `published_protocol.csv`.

    Raises:
        UserError: if it is not one.
    """
    types = dict(zip((field.name for field in fields(Point)), (str, str, int, int, str, float), strict=True))
    rows = read_rows(path, "the published protocol", types)
    return [Point(**{name: row[name] for name in types}) for row in rows]


def read_rows(path: Path, what: str, types: Mapping[str, type]) -> list[dict[str, Any]]:
    """The rows of a table that an earlier run left.

    Args:
        path: of the CSV file.
        what: it is of, for people.
        types: of the columns that it must have; others are as pandas reads them.

    Raises:
        UserError: if it cannot be read, or lacks a column or a number.
    """
    try:
        table: Any = pd.read_csv(path, dtype={name: str for name, kind in types.items() if kind is str})
        lacking = [name for name in types if name not in table]
        if lacking:
            raise ValueError(f"it has no column {lacking[0]!r}")
        table = table.astype({name: kind for name, kind in types.items() if kind is not str})
    except (OSError, ValueError) as error:
        raise UserError(f"{path} is not a table of {what}: {' '.join(str(error).split())}") from None
    return table.to_dict("records")
