"""How fast excess risk falls with the number of training tasks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from benchmarks.experiments.learnability.scoring import Risk
from benchmarks.experiments.learnability.settings import Learnability
from benchmarks.statistics import power_law_interval


class Rate(NamedTuple):
    """How excess falls with m.

    Attributes:
        kind, depth: which class.
        floor: what its excess is measured from.
        parameters: how many numbers it fits.
        slope, low, high: of log excess against log m; nan where too few m qualify.
        least, most: smallest and largest m in the fit.
        verdict: which power of m the interval holds.
    """

    kind: str
    depth: int
    floor: str
    parameters: int
    slope: float
    low: float
    high: float
    least: int
    most: int
    verdict: str


def fit_rates(risks: Sequence[Risk], settings: Learnability) -> list[Rate]:
    """One for each class and depth, in the order of the settings."""
    found = []
    for kind, floor in [(k.name, k.floor) for k in settings.classes]:
        for depth in settings.depths:
            own = [risk for risk in risks if (risk.kind, risk.depth) == (kind, depth)]
            count = own[0].parameters
            least = max(settings.least_tasks, settings.times_parameters * count)
            told = [r for r in own if r.exact or r.tasks <= settings.scored / 2]
            used = [r for r in told if least <= r.tasks and 0 < r.excess < math.inf]
            sizes = sorted({risk.tasks for risk in used})
            if len(sizes) < 3:
                found.append(Rate(kind, depth, floor, count, math.nan, math.nan, math.nan, 0, 0, "too few m"))
                continue
            slope = power_law_interval([risk.tasks for risk in used], [risk.excess for risk in used])
            answer = verdict(slope.low, slope.high)
            found.append(Rate(kind, depth, floor, count, *slope, sizes[0], sizes[-1], answer))
    return found


def verdict(low: float, high: float) -> str:
    """Which powers of m an interval of the slope holds.

    Example:
        >>> verdict(-1.1, -0.9), verdict(-0.6, -0.4), verdict(-0.8, -0.7), verdict(-2.0, -1.5), verdict(-1.2, -0.3)
        ('m^-1', 'm^-1/2', 'between', 'faster than m^-1', 'm^-1 or m^-1/2')
    """
    one, half = low <= -1 <= high, low <= -0.5 <= high
    if one or half:
        return " or ".join(name for name, held in (("m^-1", one), ("m^-1/2", half)) if held)
    if high < -1:
        return "faster than m^-1"
    return "slower than m^-1/2" if low > -0.5 else "between"
