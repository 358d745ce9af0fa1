"""Whether an entry's losses in two versions of the board are as far apart as chance explains."""

from __future__ import annotations

import math
from collections.abc import Iterator

from scipy.special import ndtr

from benchmarks.entries.board import Entry, Flag, Row
from benchmarks.runs.standing import ROUNDING
from benchmarks.statistics import holm
from benchmarks.statistics.intervals import Z
from benchmarks.statistics.significance import ALPHA


def flags(now: Entry, before: Entry, version: str) -> list[Flag]:
    """The rows whose difference is outside the interval of the difference, at 5 % for all rows of the entry together.

    The tasks of two versions are independent. Where the same file was scored in both, on a law that draws the same, the
    interval of a difference is put together from the two that the rows have, each side by itself, as they are skewed:
    with `a ∈ [l, u]` and `b ∈ [m, v]`, `a - b` has the ends `a - b - √((a - l)² + (v - b)²)` and
    `a - b + √((u - a)² + (b - m)²)`. Holm's correction is for all rows of the entry.

    Args:
        now: in this version.
        before: in the one before.
        version: name of that.

    Source: Zou & Donner, "Construction of confidence limits about effect measures", Stat. Med. 27 (2008) 1693-1702.
    """
    found = list(differences(now, before))
    corrected = holm([p for _, _, p in found]) if found else []
    return [
        Flag(law=row.law_title, steps=row.steps, before=version, difference=difference, p_value=float(p))
        for (row, difference, _), p in zip(found, corrected, strict=True)
        if p <= ALPHA
    ]


def differences(now: Entry, before: Entry) -> Iterator[tuple[Row, float, float]]:
    """Each row that both have: it, the difference of the log losses, and the p-value without a correction."""
    if now.sha256 != before.sha256:
        return
    known = {row.key: row for row in before.rows}
    for row in now.rows:
        other = known.get(row.key)
        if other is not None and row.log_loss is not None and other.log_loss is not None:
            (a, l, u), (b, m, v) = _ends(row), _ends(other)
            half = math.hypot(a - l, v - b) if a > b else math.hypot(u - a, b - m)
            # The ends of an interval are at 1.96 standard errors.
            p = 2 * float(ndtr(-Z * abs(a - b) / half)) if half > 0 else float(a == b)
            yield row, a - b, p


def _ends(row: Row) -> tuple[float, float, float]:
    """Log loss and its interval; what is below rounding is exact."""
    least = ROUNDING["float64"]
    middle = max(row.log_loss or 0.0, least)
    low, high = (middle if end is None else max(end, least) for end in (row.low, row.high))
    return middle, min(low, middle), max(high, middle)
