"""Ranking: solvers by log test loss, within one task, one number of steps and one need."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from benchmarks.errors import UserError
from benchmarks.runs.cells import Row, grouped, rows_of
from benchmarks.runs.pairing import refuse_other_tasks
from benchmarks.runs.read import Run
from benchmarks.runs.schema import SCORED_ON, SOLVER, TASK
from benchmarks.runs.standing import DIRECT, ROUNDING, takes_no_steps
from benchmarks.runs.timed import comparable_times
from benchmarks.statistics import shared_ranks

TOLD = ("L", "mu, L")
"""What solvers need that are told eigenvalues."""

NO_METHOD = "eigenvalues"
"""Id of a solver that is not ranked: its steps tell what that costs which others are told."""


def solver_label(row: Mapping[Any, Any]) -> str:
    """A solver of a table, for people: its name, with the hyper-parameters given and the law it was trained on."""
    trained_on = {"trained_on": row["trained_on"]} if row["trained_on"] else {}
    given = ", ".join(f"{key}={value}" for key, value in {**json.loads(row["solver_params"]), **trained_on}.items())
    return f"{row['solver']} ({given})" if given else str(row["solver"])


def rank(runs: Sequence[Run]) -> pd.DataFrame:
    """One row for each task, solver and number of steps, ranked within the task, the steps and the need.

    Ranks of one run are those that it was stored with; of several, or where it has none, intervals that overlap share a
    rank.

    Of several runs that hold the same identity, the one measured last counts.

    Returns:
        The identity columns, `group` (what a solver needs, or `direct` if it takes no steps), `rank` (1 is best, shared
        by those that cannot be told apart; missing where there is none), `log_loss` with its 95 % interval `log_low`,
        `log_high`, `median_loss`, the gap to the floor of the solver's class with its paired interval, `alarm`, where
        parameters are from, what the starts of training found, `warm_seconds` and `batch` of the timing (missing where
        it was measured otherwise than most of its task, see `benchmarks.runs.timed`) with its `flops`,
        `eigenvalue_seconds` and `eigenvalue_flops` (of the same batch, of a task: what finding the eigenvalues takes of
        those two, where a solver is told some and it was measured), `status` and `reason`.

    Raises:
        UserError: if two runs hold different versions or fingerprints of one law.
    """
    refuse_other_tasks(runs)
    ordered = sorted(runs, key=lambda run: str(run.meta.get("measured_at", "")))
    scores = pd.concat([run.scores.assign(run=place) for place, run in enumerate(ordered)], ignore_index=True)
    timings = pd.concat([run.timings for run in ordered], ignore_index=True)
    timing_key = [*TASK, *SOLVER, "steps"]
    key = [*timing_key, "draw"]
    scores = scores.loc[scores["shown"]]
    # Of the last run the row of all seeds, which has no seed; a run of one seed has only that row.
    last = scores.assign(pooled=scores["seed"].isna()).sort_values(["run", "pooled"], kind="stable")
    kept = last.groupby(key, sort=False).tail(1).index
    table = scores.loc[scores.index.isin(kept)]
    # The last row that can be compared with the others of its task; of a row that cannot, its work alone is told.
    timings = timings.assign(same=comparable_times(timings)).sort_values("same", kind="stable")
    timed = timings.groupby(timing_key, sort=False).tail(1).sort_index()
    times = ["warm_median", "batch", "train_seconds"]
    timed[times] = timed[times].where(timed["same"])
    table = table.merge(
        timed[[*timing_key, "warm_median", "batch", "flops", "train_seconds"]], on=timing_key, how="left"
    )
    costs = _eigenvalue_costs(timed)
    table = table[table["solver"] != NO_METHOD].merge(costs, on=TASK, how="left")
    table.loc[~table["needs"].isin(TOLD), costs.columns.difference(TASK)] = float("nan")
    table["group"] = _groups(table)
    if by_intervals(runs):
        table["rank"] = _by_intervals(table)
    names = {"log_mean": "log_loss", "median": "median_loss", "warm_median": "warm_seconds"}
    columns = [*key, "group", "metric", "rank", "log_loss", "log_low", "log_high", "median_loss", "num_tasks"]
    columns += ["levels", "tail_limited", "reach", "floor", "floor_exact"]
    columns += ["gap_to_floor", "gap_low", "gap_high", "gap_to_bayes", "alarm"]
    columns += ["parameters", "starts", "starts_spread", "starts_near_best", "median_start"]
    columns += ["warm_seconds", "batch", "flops", "eigenvalue_seconds", "eigenvalue_flops", "train_seconds"]
    columns += ["status", "reason"]
    return pd.DataFrame(table.rename(columns=names), columns=columns)


def _eigenvalue_costs(timed: pd.DataFrame) -> pd.DataFrame:
    """What finding the eigenvalues of a batch takes: what more steps of `NO_METHOD` need, over their number."""
    rows, mine = [], timed.loc[timed["solver"] == NO_METHOD]
    for key, own in grouped(list(rows_of(mine)), TASK).items():
        few, many = (pick(own, key=lambda row: row["steps"]) for pick in (min, max))
        rows.append([*key, *(_a_step(few, many, name) for name in ("warm_median", "flops"))])
    return pd.DataFrame(rows, columns=[*TASK, "eigenvalue_seconds", "eigenvalue_flops"])


def _a_step(few: Row, many: Row, cost: str) -> float:
    """What a step costs by two numbers of them; nan where nobody can tell."""
    known = few[cost] is not None and many[cost] is not None and many["steps"] > few["steps"]
    found = (many[cost] - few[cost]) / (many["steps"] - few["steps"]) if known else 0.0
    return found if found > 0 else math.nan


def _groups(table: pd.DataFrame) -> list[str]:
    """The group in which each row is ranked."""
    rows = list(rows_of(pd.DataFrame(table, columns=["seed", "shown", "mean", *SCORED_ON, *SOLVER, "steps"])))
    direct = takes_no_steps(rows)
    return [DIRECT if row["row"] in direct else str(row["needs"]) for row in rows]


def by_intervals(runs: Sequence[Run]) -> bool:
    """Whether ranks are shared where intervals overlap, and not by the paired tests that a run was stored with."""
    return len(runs) > 1 or bool(runs[0].scores["rank"].isna().all())


def _by_intervals(table: pd.DataFrame) -> pd.Series:
    """Shared ranks where nobody can pair losses, of several runs or of an old one: by intervals that overlap."""
    dtypes: Any = table["dtype"]
    rounding = dtypes.map(ROUNDING).astype(float)
    low, middle, high = (table[name].clip(lower=rounding) for name in ("log_low", "log_mean", "log_high"))
    ends = pd.DataFrame({"low": low.fillna(middle), "middle": middle, "high": high.fillna(middle)})
    # A solver scored on fewer tasks is not ranked: its loss differs by which tasks those were.
    all_tasks = table["num_tasks"] == table.groupby([*SCORED_ON, "steps"])["num_tasks"].transform("max")
    ends = ends[all_tasks & middle.notna()]
    ranks = pd.Series(pd.NA, table.index, dtype="Int64")
    for _, group in ends.groupby([table[name] for name in (*SCORED_ON, "group", "steps")], sort=False):
        rows: Any = list(group.itertuples())
        found = shared_ranks([row.middle for row in rows], lambda i, j, of=rows: float(of[i].high >= of[j].low))
        ranks.loc[group.index] = found
    return ranks


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
