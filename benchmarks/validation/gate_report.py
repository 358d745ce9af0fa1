"""The words of `results/studies/gate.md`, from `gate.csv` alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import binomtest

from benchmarks.regression.gate import losses
from benchmarks.regression.gate.sequential import PINNED
from benchmarks.regression.gate.speed import rule_text
from benchmarks.reports.template import render


def report(table: pd.DataFrame) -> str:
    """The page."""
    timed, scored, drawn = (table.loc[table["study"] == study] for study in ("speed", "loss", "resampled"))
    return render(
        "benchmarks.validation",
        "gate.md.jinja",
        rules={"speed": rule_text(PINNED), "loss": losses.RULE},
        runs=[_runs_row(float(planted), part) for planted, part in timed.groupby("of_run")],
        found=_found(timed),
        machine="" if timed.empty else f"{timed['machine'].iloc[0]}, {int(timed['lanes'].iloc[0])} of them used",
        suite=next((row for row in drawn.to_dict("records") if float(row["planted"]) == 1), None),
        power=[
            (
                f"{100 * (float(row['planted']) - 1):.0f} % slower",
                int(row["trials"]),
                f"{100 * row['alarm']:.1f} %",
                f"{100 * row['undecided']:.1f} %",
                f"{row['pairs']:.1f}",
            )
            for row in drawn.to_dict("records")
            if float(row["planted"]) > 1
        ],
        noise=_noise(table),
        loss=[
            (row["what"], row["planted"], int(row["trials"]), f"{100 * row['alarm']:.1f} %")
            for row in scored.to_dict("records")
        ],
    )


def _runs_row(planted: float, part: Any) -> tuple[object, ...]:
    """Measured runs of a kind: comparisons of code that is the same on both sides."""
    runs = part.drop_duplicates("run")
    same = part.loc[part["planted"].astype(float) == 1]
    alarmed = int(same.groupby("run")["alarm"].max().sum())
    low, high = _exact(alarmed, len(runs))
    return (
        "the whole suite" if planted == 1 else f"with a case {100 * (planted - 1):.0f} % slower",
        len(runs),
        len(same),
        alarmed,
        f"{100 * low:.1f}-{100 * high:.1f} %",
        int((same["status"] == "undecided").sum()),
        f"{same['pairs'].mean():.1f}",
        f"{runs['seconds'].median():.0f} ({runs['seconds'].max():.0f})",
        f"{runs['load'].min():.1f}-{runs['load'].max():.1f}",
    )


def _found(timed: Any) -> dict[str, Any] | None:
    """Measured runs in which one case was slowed; None without any."""
    slowed = timed.loc[timed["planted"].astype(float) > 1]
    if slowed.empty:
        return None
    hits, trials = int(slowed["alarm"].sum()), len(slowed)
    low, high = _exact(hits, trials)
    missed = ", ".join(f"{row['what']} ({row['status']})" for row in slowed.to_dict("records") if not row["alarm"])
    together = int(timed.loc[timed["of_run"].astype(float) > 1].groupby("run").size().max())
    words = {"together": together, "hits": hits, "trials": trials, "missed": missed, "pairs": slowed["pairs"].mean()}
    return {**words, "low": 100 * low, "high": 100 * high, "percent": 100 * (float(slowed["of_run"].iloc[0]) - 1)}


def _noise(table: pd.DataFrame) -> list[tuple[object, ...]]:
    """How far ratios of one pair of processes around identical code lie from 1, a row for each kind of record."""
    rows = []
    for study, words in (("pairs", "under the rule before, by the clock on the wall"), ("speed", "under this rule")):
        mine = table.loc[table["study"] == study]
        same = mine.loc[mine["planted"].astype(float) == 1]
        ratios = same[["ratio_1", "ratio_2"]].to_numpy(dtype=float).ravel()
        away = np.abs(np.log(ratios[np.isfinite(ratios)]))
        if len(away):
            rows.append((words, len(away), *(f"{100 * x:.1f} %" for x in np.quantile(away, [0.5, 0.95, 1.0]))))
    return rows


def _exact(hits: int, trials: int) -> tuple[float, float]:
    """Clopper and Pearson's 95 % interval of a share."""
    found = binomtest(hits, trials).proportion_ci(method="exact")
    return float(found.low), float(found.high)
