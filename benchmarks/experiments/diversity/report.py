"""What came out of training on pools: thresholds by a stated rule, a page and a figure."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import median_low
from typing import TYPE_CHECKING, Any

import pandas as pd

from benchmarks.reports.style import CYCLE, figure, label_ends
from benchmarks.reports.template import render

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ROOM = "benchmarks.experiments.diversity"

COLOURS = {"model": CYCLE[3], "ridge": CYCLE[0], "dmmse": CYCLE[1]}


def threshold(rows: pd.DataFrame) -> int | None:
    """The smallest pool from which on the model's log loss on the law is nearer to ridge's than to dmmse's.

    Args:
        rows: of one seed, scored on the law.

    Returns:
        Tasks in that pool; None if the largest is too small.

    Example:
        >>> losses = {"model": [2.0, 0.3, 0.2], "ridge": [0.1] * 3, "dmmse": [2.1, 1.5, 1.0]}
        >>> threshold(pd.DataFrame({"pool": [4, 16, 64], **losses}))
        16
    """
    found: int | None = None
    for row in rows.sort_values("pool", ascending=False).to_dict("records"):
        if abs(row["model"] - row["ridge"]) >= abs(row["model"] - row["dmmse"]):
            break
        found = int(row["pool"])
    return found


def thresholds(table: pd.DataFrame) -> Mapping[int, int | None]:
    """By seed."""
    on_law = table[table["scored_on"] == "law"]
    return {int(seed): threshold(rows) for seed, rows in on_law.groupby("seed")}  # type: ignore[arg-type]


def page(table: pd.DataFrame, **facts: Any) -> str:
    """All of it in words and tables."""
    found = thresholds(table)
    known = [value for value in found.values() if value is not None]
    middle: Any = table.groupby(["scored_on", "pool"])[list(COLOURS)].median().reset_index()
    rows = [
        [one["pool"], *(f"{one[name]:.3f}" for name in COLOURS)]
        for where in ("law", "pool")
        for one in middle[middle["scored_on"] == where].to_dict("records")
    ]
    half = len(rows) // 2
    return render(
        ROOM,
        "diversity.md.jinja",
        **facts,
        found=[[seed, value or f"more than {max(table['pool'])}"] for seed, value in found.items()],
        middle=median_low(known) if len(known) == len(found) else None,
        low=min(known, default=None),
        high=max(known, default=None),
        on_law=rows[:half],
        on_pool=rows[half:],
    )


def pools_figure(table: pd.DataFrame) -> Figure:
    """Log loss on the law against the size of the pool, a line for each seed."""
    on_law: Any = table[table["scored_on"] == "law"]
    drawn, (axes,) = figure(6.4, 3.6)
    for name, colour in COLOURS.items():
        for _, rows in on_law.groupby("seed"):
            axes.plot(rows["pool"], rows[name], "o-", color=colour, ms=3, lw=1.0)
    axes.set(xscale="log", xlabel="tasks in the pool", ylabel="log test loss on the law", title="Trained on a pool")
    last = on_law[on_law["pool"] == on_law["pool"].max()]
    label_ends(
        axes,
        [(name, float(last[name].median()), colour) for name, colour in COLOURS.items()],
        float(on_law["pool"].max()),
        3.0,
    )
    return drawn
