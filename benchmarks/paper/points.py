"""Losses of the published protocol, redone: points of curves."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

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
