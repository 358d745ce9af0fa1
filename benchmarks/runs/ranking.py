"""Ranking: solvers by log test loss, within one task, one number of steps and one need."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from benchmarks.errors import UserError
from benchmarks.runs.pairing import refuse_other_tasks
from benchmarks.runs.read import Run
from benchmarks.runs.schema import SCORED_ON, SOLVER, TASK

ROUNDING = {name: 2 * math.log(1e3 * eps) for name, eps in (("float64", 2.0**-52), ("float32", 2.0**-23))}
"""A log loss below this is 0 but for rounding: it is shown as exact, and such losses share a rank."""


def solver_label(row: Mapping[Any, Any]) -> str:
    """A solver of a table, for people: its name, with the hyper-parameters given and the law it was trained on."""
    trained_on = {"trained_on": row["trained_on"]} if row["trained_on"] else {}
    given = ", ".join(f"{key}={value}" for key, value in {**json.loads(row["solver_params"]), **trained_on}.items())
    return f"{row['solver']} ({given})" if given else str(row["solver"])


def rank(runs: Sequence[Run]) -> pd.DataFrame:
    """One row for each task, solver and number of steps, ranked within the task, the steps and the need.

    Of several runs that hold the same identity, the one measured last counts.

    Returns:
        The identity columns, `rank` (1 is least loss; missing where there is no finite loss), `log_loss` with
        its 95 % interval `log_low`, `log_high`, `median_loss`, the gap to the floor of the solver's class with its
        paired interval, `alarm`, what the starts of training found, `warm_seconds` and `batch` of the timing, `status`
        and `reason`.

    Raises:
        UserError: if two runs hold different versions or fingerprints of one law.
    """
    refuse_other_tasks(runs)
    ordered = sorted(runs, key=lambda run: str(run.meta.get("measured_at", "")))
    scores = pd.concat([run.scores for run in ordered], ignore_index=True)
    timings = pd.concat([run.timings for run in ordered], ignore_index=True)
    timing_key = [*TASK, *SOLVER, "steps"]
    key = [*timing_key, "draw"]
    scores = scores.loc[scores["shown"]]
    # The row of all seeds has no seed and comes last of its kind; a run of one seed has only that row.
    last = scores.assign(pooled=scores["seed"].isna()).sort_values("pooled", kind="stable")
    kept = last.groupby(key, sort=False).tail(1).index
    table = scores.loc[scores.index.isin(kept)]
    timed = timings.groupby(timing_key, sort=False).tail(1)
    table = table.merge(timed[[*timing_key, "warm_median", "batch", "train_seconds"]], on=timing_key, how="left")
    # A solver scored on fewer tasks is not ranked: its loss differs by which tasks those were.
    all_tasks = table["num_tasks"] == table.groupby([*SCORED_ON, "steps"])["num_tasks"].transform("max")
    rounding = table["dtype"].map(ROUNDING).astype(float)
    comparable = table["log_mean"].clip(lower=rounding).where(all_tasks)
    table["rank"] = comparable.groupby([table[name] for name in (*SCORED_ON, "needs", "steps")]).rank(method="min")
    table["rank"] = table["rank"].astype("Int64")
    names = {"log_mean": "log_loss", "median": "median_loss", "warm_median": "warm_seconds"}
    columns = [*key, "metric", "rank", "log_loss", "log_low", "log_high", "median_loss", "num_tasks"]
    columns += ["levels", "tail_limited", "reach", "floor", "floor_exact"]
    columns += ["gap_to_floor", "gap_low", "gap_high", "gap_to_bayes", "alarm"]
    columns += ["starts", "starts_spread", "starts_near_best", "median_start"]
    columns += ["warm_seconds", "batch", "train_seconds", "status", "reason"]
    return pd.DataFrame(table.rename(columns=names), columns=columns)


def choose(ranked: pd.DataFrame, **wanted: Sequence[Any] | None) -> pd.DataFrame:
    """The rows whose columns have one of the wanted values, ranked as before; None wants all.

    Raises:
        UserError: if no row has a value that is wanted.
    """
    for column, values in wanted.items():
        known = list(dict.fromkeys(ranked[column]))
        for value in values or ():
            if value not in known:
                raise UserError(f"no row has {column} {value!r}; there are {', '.join(map(str, known))}")
        if values:
            ranked = ranked.loc[ranked[column].isin(list(values))]
    return ranked
