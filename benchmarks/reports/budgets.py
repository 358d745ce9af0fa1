"""Losses at equal cost: after the last step that fits into what a reference method spends, by operations or by time."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from benchmarks.reports import escape

Row = dict[str, Any]
"""One ranked row; a missing value is None."""

REFERENCE = "cg"
"""The method whose cost is the budget, where it was run: nobody has to tell it anything, and every reader knows it."""

COSTS = {"flops": "operations", "warm_seconds": "time"}
"""Columns that are costs of a solve: floating-point operations of a task, seconds of the batch that was timed."""


def budgets(table: Iterable[Row], steps: int) -> Row:
    """What the reference method spends on so many steps of a law, by the column of the cost; empty if nobody knows."""
    found = next((row for row in table if (row["solver"], row["steps"]) == (REFERENCE, steps)), None)
    return {} if found is None else {name: found[name] for name in COSTS if found[name] is not None}


def within(rows: Iterable[Row], cost: str, budget: float) -> Row | None:
    """Of one solver's rows, that of the largest number of steps whose cost is at most the budget; nothing in between.

    Example:
        >>> rows = [{"steps": k, "flops": 10.0 * k, "log_loss": -1.0 * k} for k in (1, 2)]
        >>> within(rows, "flops", 15.0)["log_loss"]
        -1.0
    """
    fitting = [row for row in rows if row[cost] is not None and row["log_loss"] is not None and row[cost] <= budget]
    return max(fitting, key=lambda row: row["steps"], default=None)


def eigenvalues(table: Iterable[Row], steps: int) -> str:
    """What finding the eigenvalues costs that some solvers of a law are told, in a few words; empty if nobody measured.

    Args:
        table: of the law.
        steps: of the reference method, with whose time it is compared.
    """
    rows = list(table)
    row = next((row for row in rows if _known(row["eigenvalue_seconds"]) and _known(row["batch"])), None)
    if row is None:
        return ""
    spent = budgets(rows, steps).get("warm_seconds")
    words = f"{1e6 * row['eigenvalue_seconds'] / row['batch']:.2g} µs a task to find"
    words += f" ({row['eigenvalue_seconds'] / spent:.2g} times {REFERENCE} of {steps} steps)" if spent else ""
    words += f", {row['eigenvalue_flops']:,.0f} operations" if _known(row["eigenvalue_flops"]) else ""
    told = list(dict.fromkeys(str(row["solver"]) for row in rows if _known(row["eigenvalue_seconds"])))
    more = f" and {len(told) - 3} more" * (len(told) > 3)
    return f"{words}; part of the times of {', '.join(escape.plain(name) for name in told[:3])}{more}"


def _known(value: Any) -> bool:
    return value is not None and value == value
