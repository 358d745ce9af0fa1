"""The words of `results/studies/gate.md`, from `gate.csv` alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import binomtest

from benchmarks.regression.gate import losses, speed
from benchmarks.reports.template import render


def report(table: pd.DataFrame) -> str:
    """The page."""
    timed = table.loc[table["study"] == "speed"]
    timed = timed.assign(planted=timed["planted"].astype(float))  # a column it shares with words
    scored = table.loc[table["study"] == "loss"]
    return render(
        "benchmarks.validation",
        "gate.md.jinja",
        rules={"speed": speed.RULE, "loss": losses.RULE},
        speed=[_speed_row(part) for _, part in timed.groupby("planted")],
        identical=_identical(timed.loc[timed["planted"] == 1.0]),
        loss=[
            (row["what"], row["planted"], int(row["trials"]), f"{100 * row['alarm']:.1f} %")
            for row in scored.to_dict("records")
        ],
    )


def _speed_row(part: Any) -> tuple[object, ...]:
    """Trials with one planted slowdown."""
    planted, runs, alarms = float(part["planted"].iloc[0]), part.drop_duplicates("run"), int(part["alarm"].sum())
    low, high = _exact(alarms, len(part))
    return (
        "none (A/A, whole suite)" if planted == 1 else f"{100 * (planted - 1):.0f} % slower",
        len(runs),
        len(part),
        int(part["second_median"].notna().sum()),
        alarms,
        f"{100 * low:.1f}-{100 * high:.1f} %",
        f"{runs['seconds'].median():.0f}",
        f"{runs['load'].min():.1f}-{runs['load'].max():.1f}",
    )


def _identical(same: Any) -> dict[str, float] | None:
    """How far ratios of identical code lie from 1 (%), and how many runs raised an alarm; None without such trials."""
    ratios = same[["first_1", "first_2"]].to_numpy().ravel()
    away = np.abs(np.log(ratios[np.isfinite(ratios)]))
    if not len(away):
        return None
    half, most, farthest = 100 * np.quantile(away, [0.5, 0.95, 1.0])
    alarmed = same.groupby("run")["alarm"].max()
    often = _exact(int(alarmed.sum()), len(alarmed))[1]
    found = {"ratios": len(away), "half": half, "most": most, "farthest": farthest}
    return {**found, "alarmed": int(alarmed.sum()), "runs": len(alarmed), "often": 100 * often}


def _exact(hits: int, trials: int) -> tuple[float, float]:
    """Clopper and Pearson's 95 % interval of a share."""
    found = binomtest(hits, trials).proportion_ci(method="exact")
    return float(found.low), float(found.high)
