"""Verdicts on published numbers by one rule.

All in natural logarithms of losses, r that of ours over theirs, t that of one plus the tolerance:

- refuted: |r| > t, tested with Holm's correction over all that are judged at 5 %; of what is learned only r > t, since
  its number says what was reached; of a model that is smaller here nothing;
- reproduced: the 95 % interval of r lies within t + 0.05; of what is learned its upper end does; of a smaller model its
  upper end is at most t;
- undecided: neither.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.special import ndtr, stdtr, stdtrit

from benchmarks.experiments.literature.numbers import SEEDS, Number
from benchmarks.statistics.intervals import Z
from benchmarks.statistics.significance import holm
from benchmarks.statistics.summary import Summary

SLACK = 0.05
"""A reproduction may be off by so much, besides what the print leaves open, in log loss."""

LEVEL = 0.05

Verdict = Literal["reproduced", "refuted", "undecided"]


@dataclass(frozen=True)
class Judged:
    """A number with what was measured beside it.

    Attributes:
        number: as published.
        ours: log loss in the unit of the published one, and the ends of its 95 % interval; nan where there is none.
        verdict: by the rule.
        why: what failed, if nothing could be measured.
    """

    number: Number
    ours: tuple[float, float, float]
    verdict: Verdict
    why: str = ""


def log_ratio(number: Number, found: Summary) -> tuple[float, float, float]:
    """Log of ours over theirs, and the ends of its interval."""
    theirs = math.log(number.value * number.over)
    return found.log_mean - theirs, found.log_low - theirs, found.log_high - theirs


def p_value(number: Number, found: Summary) -> float:
    """Of the hypothesis that ours is theirs but for the tolerance; 1 where that cannot be tested."""
    middle, low, high = log_ratio(number, found)
    if number.smaller or not np.isfinite([middle, low, high]).all():
        return 1.0
    learned = number.kind == "learned"
    excess = (middle if learned else abs(middle)) - math.log1p(number.tolerance)
    towards = (middle - low if middle > 0 else high - middle) / Z  # the side on which theirs lies
    if excess <= 0 or towards == 0:
        return float(excess <= 1e-9)
    if learned:  # the interval is over seeds as well, and no narrower than Student's
        freedom = len(SEEDS) - 1
        return float(stdtr(freedom, -excess / towards * stdtrit(freedom, 0.975) / Z))
    return float(2 * ndtr(-excess / towards))


def judge(measured: Sequence[tuple[Number, Summary, str]]) -> list[Judged]:
    """A verdict for each number, its summary, and what failed (empty if nothing)."""
    corrected = holm([p_value(number, found) for number, found, _ in measured])
    return [
        Judged(number, _shown(number, found), _verdict(number, found, p), why)
        for (number, found, why), p in zip(measured, corrected, strict=True)
    ]


def _verdict(number: Number, found: Summary, p: float) -> Verdict:
    _, low, high = log_ratio(number, found)
    slack = math.log1p(number.tolerance)
    if p < LEVEL:
        return "refuted"
    if number.kind == "learned":
        return "reproduced" if high <= slack + SLACK * (not number.smaller) else "undecided"
    return "reproduced" if max(abs(low), abs(high)) <= slack + SLACK else "undecided"


def _shown(number: Number, found: Summary) -> tuple[float, float, float]:
    theirs = math.log(number.value)
    middle, low, high = log_ratio(number, found)
    return theirs + middle, theirs + low, theirs + high
