"""Losses of the published protocol, redone: points of curves."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from benchmarks.errors import UserError

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
    points = []
    try:
        with path.open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                scored: Scored = "fresh" if row["scored"] == "fresh" else "published"
                layers, seed, loss = int(row["layers"]), int(row["seed"]), float(row["log_loss"] or "nan")
                points.append(Point(row["experiment"], row["curve"], layers, seed, scored, loss))
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise UserError(f"{path} is not a table of the published protocol: {error}") from None
    return points
