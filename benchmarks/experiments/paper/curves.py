"""Losses of the published protocol, redone: points of curves."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
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
    try:
        table: Any = pd.read_csv(path, dtype={"experiment": str, "curve": str})
        table = table[[field.name for field in fields(Point)]].astype({"layers": int, "seed": int, "log_loss": float})
    except (OSError, KeyError, ValueError) as error:
        raise UserError(f"{path} is not a table of the published protocol: {error}") from None
    return [Point(**row) for row in table.to_dict("records")]
