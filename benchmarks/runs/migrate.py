"""Reading what older versions wrote: a step from each schema version to the next, applied before a run is checked.

A step is never changed or removed once a release wrote its version; `tests/harness/fixtures` holds a run of each.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from benchmarks.runs.schema import SCHEMA_VERSION


@dataclass(frozen=True)
class Tables:
    """A run as it was read, not checked yet: two tables and `meta.json`."""

    scores: pd.DataFrame
    timings: pd.DataFrame
    meta: dict[str, Any]


Step = Callable[[Tables], Tables]


def _from_1(tables: Tables) -> Tables:
    """Version 2 added a status that version 1 cannot hold; everything else is as it was."""
    return tables


def _from_2(tables: Tables) -> Tables:
    """Version 3 added three columns to the timings, which nobody had counted before."""
    timings = tables.timings.copy()
    place = timings.columns.get_loc("status") if "status" in timings else len(timings.columns)
    for number, name in enumerate(("products", "flops", "peak_bytes")):
        if name not in timings:
            timings.insert(int(place) + number, name, float("nan"))  # type: ignore[arg-type]
    return replace(tables, timings=timings)


STEPS: dict[int, Step] = {1: _from_1, 2: _from_2}
"""The step from each older version to the one after it."""


def migrated(tables: Tables, version: int) -> Tables:
    """Tables of an older version as the present one writes them; `meta` still says which version was read."""
    for older in range(version, SCHEMA_VERSION):
        tables = STEPS[older](tables)
    return tables


def readable(version: Any) -> bool:
    """Whether this version can be read here."""
    known = type(version) is int and 1 <= version <= SCHEMA_VERSION
    return known and all(older in STEPS for older in range(version, SCHEMA_VERSION))
