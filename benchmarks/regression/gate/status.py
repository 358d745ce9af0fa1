"""What becomes of a case: whether it was compared, and whether that stops the change."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

CaseStatus = Literal[
    "same",
    "slower",
    "faster",
    "worse",
    "better",
    "changed",
    "new",
    "absent",
    "gone",
    "broken",
    "unpaired",
    "undecided",
    "accepted",
]

FAILS = ("slower", "worse", "broken", "gone")
"""Statuses that stop a change."""

NOT_COUNTED = ("new", "absent")
"""Base has no such case, by its registry."""

UNCOMPARED = ("gone", "broken", "unpaired")
"""Base has the case, and yet there is nothing to compare."""

MOST_UNCOMPARED = 0.1
"""A verdict that leaves a larger share of the cases uncompared is none."""

RULE = (
    "A case that runs no file and no entry of the catalogue which differs is untouched: measured with `--all` only. "
    "One that base lacks, by its registry, is new and does not count. One that base has and head cannot run stops the "
    "change, and so does one that either side cannot import. If nothing was compared, or more than "
    f"{MOST_UNCOMPARED:.0%} of the cases that count could not be, the change is *not judged*, which stops it too."
)


def of_unpaired(base: Mapping[str, Any], head: Mapping[str, Any]) -> tuple[CaseStatus, str]:
    """Status and reason of a case that at least one side cannot run.

    Args:
        base: its answer, as `side_process` gives it.
        head: likewise.
    """
    if "lacks" in base:
        if "lacks" in head:
            return "absent", f"neither side has it: {head['lacks']}"
        return ("broken", f"head: {head['error']}") if "error" in head else ("new", f"base has {base['lacks']}")
    if "lacks" in head:
        return "gone", f"head has {head['lacks']}"
    causes = {side.get("cause") for side in (base, head)}
    if causes == {"package"}:
        return "unpaired", str(head["error"])
    if "error" in head:
        return "broken", f"head: {head['error']}"
    return ("broken" if causes & {"import"} else "unpaired"), f"base: {base['error']}"
