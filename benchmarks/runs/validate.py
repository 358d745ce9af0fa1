"""Whether a run says what a run must say, beyond what reading it checks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from pydantic import ValidationError

from benchmarks.errors import UserError
from benchmarks.runs.read import LOSSES, Run
from benchmarks.runs.schema import SCORED, TIMED, Identity
from benchmarks.suites.suite import Suite

IDENTITY = list(Identity.model_fields)

OUTCOMES = ["converged", "max_steps", "diverged", "breakdown", "nonfinite"]

TOLERANCE = 1e-4
"""Relative difference between a mean and that of its losses, which are stored with 7 digits."""


def problems(run: Run) -> list[str]:
    """What is wrong with a run, a sentence each; empty if it is good.

    Checked are: no row twice, every task has one outcome, means lie in their intervals and quantiles are in order,
    every row that is not `ok` has a reason, the suite has the hash that is stated, and where per-task losses are
    stored, every row with a seed has as many as it says and their mean is its mean.
    """
    return [*_doubled(run), *_scores(run.scores), *_timings(run.timings), *_suite(run), *_losses(run)]


def _doubled(run: Run) -> Iterator[str]:
    for name, table, key in (
        ("scores.csv", run.scores, [*IDENTITY, *SCORED]),
        ("timings.csv", run.timings, [*IDENTITY, *TIMED]),
    ):
        yield from _say(name, table.duplicated(key), "is there twice")


def _scores(table: pd.DataFrame) -> Iterator[str]:
    tasks = table[OUTCOMES].sum(axis=1)
    yield from _say("scores.csv", tasks != table["num_tasks"], "does not have one outcome for each task")
    low, middle, high = (table[name] for name in ("log_low", "log_mean", "log_high"))
    slack = TOLERANCE * (1 + middle.abs())
    yield from _say("scores.csv", (low > middle + slack) | (middle > high + slack), "has a mean outside its interval")
    outside = (table["median"] > table["q90"]) | (table["q90"] > table["q99"])
    yield from _say("scores.csv", outside, "has quantiles out of order")
    yield from _say("scores.csv", _unexplained(table), "failed without a reason")


def _timings(table: pd.DataFrame) -> Iterator[str]:
    low, middle, high = (table[name] for name in ("warm_q25", "warm_median", "warm_q75"))
    yield from _say("timings.csv", (low > middle) | (middle > high), "has quartiles out of order")
    negative = (table[["cold_seconds", "warm_q25", "train_seconds"]] < 0).any(axis=1)
    yield from _say("timings.csv", negative, "took less than no time")
    yield from _say("timings.csv", _unexplained(table), "failed without a reason")


def _unexplained(table: pd.DataFrame) -> Any:
    return (table["status"] != "ok") & (table["reason"] == "")


def _say(name: str, bad: Any, what: str) -> Iterator[str]:
    lines = np.flatnonzero(np.asarray(bad, dtype=bool)) + 2
    if len(lines):
        more = f" (and {len(lines) - 1} more)" if len(lines) > 1 else ""
        yield f"{name}, line {lines[0]}{more}: the row {what}"


def _suite(run: Run) -> Iterator[str]:
    if "merged_from" in run.meta:
        return
    try:
        suite = Suite.model_validate(run.meta.get("suite"))
    except ValidationError as error:
        yield f"meta.json: the suite is not one: {' '.join(error.errors()[0]['msg'].split())}"
        return
    if suite.content_hash != run.meta.get("suite_hash"):
        yield "meta.json: the suite does not have the hash that is stated"


def _losses(run: Run) -> Iterator[str]:
    if not (run.path / LOSSES).is_file():
        return
    seeded = run.scores[run.scores["seed"].notna() & (run.scores["metric"] != "")]
    for row, count, mean in zip(seeded.index, seeded["num_tasks"], seeded["mean"], strict=True):
        try:
            losses = run.losses(row)
        except UserError as error:
            yield str(error)
            return
        if losses.shape != (count,):
            yield f"{LOSSES}, row {row}: there are {losses.size} losses and not {count}"
        elif np.isfinite(mean) and not np.isclose(losses.mean(dtype=np.float64), mean, rtol=TOLERANCE, atol=1e-300):
            yield f"{LOSSES}, row {row}: the mean of the losses is not that of the row"
