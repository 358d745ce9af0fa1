"""The calibration study in words: tables of its figures, and where the statistics hold and where they do not."""

from __future__ import annotations

from typing import Any

import pandas as pd

from benchmarks.reports.template import render

TARGET = (0.93, 0.97)
"""Coverage that counts as calibrated."""


def report(table: pd.DataFrame, pool: int) -> str:
    """Markdown from the table of `benchmarks.validation.calibration`."""
    studies = ("marginal", "paired", "sizes", "families", "power", "levels", "exact")
    marginal, paired, sizes, families, power, levels, exact = (table.query("study == @name") for name in studies)
    hall, cautious, default = (
        part.query("method == @method")
        for part, method in ((marginal, "hall"), (paired, "cautious"), (sizes, "default"))
    )
    case = ["law", "solver", "steps"]
    return render(
        "benchmarks.validation",
        "calibration.md.jinja",
        pool=pool,
        short=_short(hall, cautious, default, families.query("method == 'Holm'")),
        marginal=_intervals(marginal, hall, "metric", ["law", "solver", "metric", "steps"]),
        paired=_intervals(paired, cautious, "kind", ["kind", *case]),
        sizes={
            "mean": _shares(sizes, "rejected", ["kind", "steps", "tasks"]),
            "each": _shares(default, "rejected", ["kind", *case], "tasks"),
            "families": _shares(families, "rejected", ["law", "steps", "tasks"]),
        },
        power=_power(power.query("method == 'default'")),
        levels=_shares(levels, "coverage", "kind", sort=False),
        exact=_exact(exact),
    )


def _short(hall: pd.DataFrame, cautious: pd.DataFrame, default: pd.DataFrame, holm: pd.DataFrame) -> dict[str, Any]:
    """The study in a few numbers, in percent."""
    expected, aa, unequal = "metric == 'expected_test_loss'", "kind == 'A/A'", default.query("kind == 'equal means'")

    def span(cases: pd.DataFrame) -> str:
        return f"{100 * cases['coverage'].min():.1f}–{100 * cases['coverage'].max():.1f} %"

    return {
        "shallow": span(hall.query("steps <= 2")),
        "third": span(hall.query(f"{expected} and steps == 3")),
        "aa": span(cautious.query(aa)),
        "rejected": 100 * default.query(aa)["rejected"].mean(),
        "holm": 100 * holm["rejected"].mean(),
        "holm_most": 100 * holm["rejected"].max(),
        "unequal": {k: 100 * unequal.query("steps == @k")["rejected"].mean() for k in (2, 4)},
        "deep": 100 * hall.query(f"{expected} and steps == 4")["coverage"].min(),
        "ab_deep": 100 * cautious.query("kind == 'A/B' and steps == 4")["coverage"].min(),
    }


def _exact(table: pd.DataFrame) -> dict[str, Any]:
    """Coverage, errors and marks by way of drawing; and how many cases are calibrated."""
    case = ["kind", "solver"]
    kinds = {str(kind): part["coverage"] for kind, part in table.groupby("kind")}
    return {
        "simulations": int(table["simulations"].iloc[0]),
        "coverage": _shares(table, "coverage", case, "steps"),
        "sd": _markdown(table.pivot_table("sd", case, "steps"), 3),
        "bias": _markdown(table.pivot_table("bias", case, "steps"), 3),
        "tail": _shares(table, "tail", case, "steps"),
        "calibrated": {
            kind: f"{sum(part.between(*TARGET))} of {len(part)} ({100 * part.min():.1f}–{100 * part.max():.1f} %)"
            for kind, part in kinds.items()
        },
    }


def _intervals(table: pd.DataFrame, default: pd.DataFrame, kind: str, case: list[str]) -> dict[str, str]:
    """Coverage by method, the default first; of the default in each case; and where that is too little."""
    methods = sorted(set(table["method"]), key=lambda name: (name != "cautious", name != "hall", name))
    mean: Any = (100 * table.pivot_table("coverage", [kind, "steps", "tasks"], "method"))[methods]
    each = _shares(default, "coverage", case, "tasks")
    return {"mean": _markdown(mean), "each": each, "verdict": _verdict(default, case)}


def _shares(table: pd.DataFrame, value: str, rows: str | list[str], columns: str = "method", sort: bool = True) -> str:
    """A table of means in percent."""
    return _markdown(100 * table.pivot_table(value, rows, columns, sort=sort))


def _power(default: pd.DataFrame) -> str:
    shown = default.set_index(["law", "solver", "steps", "correlation", "width", "kind"])
    each = (100 * shown["rejected"]).unstack("kind").reset_index(["correlation", "width"])
    each["correlation"], each["width"] = each["correlation"].round(2), (100 * each["width"]).round(2)
    return _markdown(each.rename(columns={"width": "interval width (%)"}), 2)


def _verdict(default: pd.DataFrame, case: list[str]) -> str:
    """Where the default interval is calibrated and where not, in sentences."""
    lines = []
    for tasks, group in default.groupby("tasks"):
        bad = group.query(f"coverage < {TARGET[0]}").sort_values("coverage")
        names = [f"{' '.join(map(str, row))} ({100 * c:.0f})" for *row, c in bad[[*case, "coverage"]].to_numpy()]
        tail = f" Not in: {'; '.join(names)}." if names else ""
        lines.append(f"- n = {tasks:,}: at least 93 % in {len(group) - len(bad)} of {len(group)} cases.{tail}")
    return "\n".join(lines)


def _markdown(table: pd.DataFrame, digits: int = 1) -> str:
    shown: Any = table.reset_index().astype(object)
    return shown.where(shown.notna(), None).to_markdown(index=False, floatfmt=f".{digits}f")
