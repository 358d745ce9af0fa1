"""Whether a run says what a run must say, beyond what reading it checks: all that can be recomputed is."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks.errors import UserError
from benchmarks.runs.cells import Cells, Row, grouped, rows_of
from benchmarks.runs.completeness import against_suite
from benchmarks.runs.read import LOSSES, Run
from benchmarks.runs.recompute import (
    CELL,
    OUTCOMES,
    from_losses,
    from_seeds,
    judged,
    tail_by_losses,
)
from benchmarks.runs.schema import PREFERRED_METRICS, SCORED, TIMED, Identity
from benchmarks.runs.standing import MOST, standings

IDENTITY = list(Identity.model_fields)

TOLERANCE = 1e-4
"""Relative difference between what a row says and what follows from its losses, which are stored with 7 digits."""

LEAST = 1e-30
"""A mean of losses below this, of which float32 has few digits or none, says little of quantiles and intervals."""

LOGS = {"log_mean", "log_low", "log_high", "gap_to_floor", "gap_to_bayes"}
"""Columns that are logarithms: what is relative of a loss is absolute of them."""


def problems(run: Run) -> list[str]:
    """What is wrong with a run, a sentence each; empty if it is good.

    Checked are: no row twice; every task has one outcome, and status and reason are those of the outcomes; quantiles
    and ends of intervals are in order; a row of several seeds says what the rows of these say together; where per-task
    losses are stored, every row says what they say; one metric of a cell is shown; and the run has the rows that its
    suite asks for, no more and no fewer.
    """
    tables = [*_doubled(run), *_scores(run.scores), *_timings(run.timings)]
    return [*tables, *_cells(run), *_ranks(run), *against_suite(run)]


def _doubled(run: Run) -> Iterator[str]:
    for name, table, key in (
        ("scores.csv", run.scores, [*IDENTITY, *SCORED]),
        ("timings.csv", run.timings, [*IDENTITY, *TIMED]),
    ):
        yield from _say(name, table.duplicated(key), "is there twice")


def _scores(table: pd.DataFrame) -> Iterator[str]:
    tasks = table[OUTCOMES].sum(axis=1)
    yield from _say("scores.csv", tasks != table["num_tasks"], "does not have one outcome for each task")
    for low, middle, high, what in (
        ("log_low", "log_mean", "log_high", "a mean outside its interval"),
        ("gap_low", "gap_to_floor", "gap_high", "a gap outside its interval"),
    ):
        slack = TOLERANCE * (1 + table[middle].abs())
        bad = (table[low] > table[middle] + slack) | (table[middle] > table[high] + slack)
        yield from _say("scores.csv", bad | (table[low].isna() != table[high].isna()), f"has {what}")
    outside = (table["median"] > table["q90"]) | (table["q90"] > table["q99"])
    yield from _say("scores.csv", outside, "has quantiles out of order")
    yield from _say("scores.csv", _unexplained(table), "failed without a reason")


def _timings(table: pd.DataFrame) -> Iterator[str]:
    low, middle, high = (table[name] for name in ("warm_q25", "warm_median", "warm_q75"))
    yield from _say("timings.csv", (low > middle) | (middle > high), "has quartiles out of order")
    negative = (table[["cold_seconds", "warm_q25", "train_seconds"]] < 0).any(axis=1)
    yield from _say("timings.csv", negative, "took less than no time")
    yield from _say("timings.csv", _unexplained(table), "failed without a reason")
    untimed = (table["status"] == "ok") & (table["warm_median"].isna() | (table["repeats"] == 0))
    yield from _say("timings.csv", untimed, "is ok without a time")


def _unexplained(table: pd.DataFrame) -> Any:
    return (table["status"] != "ok") != (table["reason"] != "")


def _say(name: str, bad: Any, what: str) -> Iterator[str]:
    lines = np.flatnonzero(np.asarray(bad, dtype=bool)) + 2
    if len(lines):
        more = f" (and {len(lines) - 1} more)" if len(lines) > 1 else ""
        yield f"{name}, line {lines[0]}{more}: the row {what}"


def _cells(run: Run) -> Iterator[str]:
    """What does not follow from losses, or from other rows; the first of each kind in a cell."""
    whole = not _without_losses(run.meta)
    try:
        stored = run.with_losses if run.has_losses else frozenset()
        for (cell,) in Cells([run.scores], CELL):
            metrics = grouped([row for row in cell if row["metric"]], ["metric"])
            first = next((name for name in PREFERRED_METRICS if (name,) in metrics), "")
            for (metric,), found in metrics.items():
                if any(row["shown"] != (metric == first) for row in found) and first:
                    yield f"scores.csv, line {found[0]['row'] + 2}: {first} must be the metric that is shown"
                seeds = [row for row in found if row["seed"] is not None]
                losses = {row["row"]: run.stored(row["row"]) for row in seeds if row["row"] in stored}
                for row in found:
                    parts = [row] if row["seed"] is not None else seeds
                    lacking = next((one["row"] for one in parts if one["row"] not in stored), None)
                    if lacking is not None and run.has_losses and whole:
                        yield f"{LOSSES}, row {lacking}: there are no losses"
                    known = bool(parts) and lacking is None
                    yield from _row(row, parts, [losses[one["row"]] for one in parts] if known else None)
    except UserError as error:
        yield str(error)


def _without_losses(meta: Mapping[str, Any]) -> bool:
    """Whether a run that this was merged from, however often, had no losses."""
    return any(one.get("has_losses") is False or _without_losses(one) for one in meta.get("merged_from", ()))


def _ranks(run: Run) -> Iterator[str]:
    """The first row whose rank is not what the losses give, where they are stored and rows have ranks."""
    try:
        seeded = np.flatnonzero(run.scores["seed"].notna() & (run.scores["metric"] != "")).tolist()
        if not run.has_losses or not run.with_losses.issuperset(seeded) or not any(run.scores["rank"].notna()):
            return
        wanted = standings(rows_of(run.scores), run.stored)
    except UserError:
        return  # said already
    for row in rows_of(pd.DataFrame(run.scores, columns=["rank"])):
        if row["rank"] != wanted.get(row["row"]):
            what = f"{row['rank']}: its losses give {wanted.get(row['row'])}"
            yield f"scores.csv, line {row['row'] + 2}: the row has rank {what}"
            return


def _row(row: Row, seeds: Sequence[Row], arrays: Sequence[NDArray[np.float32]] | None) -> Iterator[str]:
    """What a row must say by itself, by the rows of its seeds, and by their losses."""
    where = f"scores.csv, line {row['row'] + 2}: the row"
    status, _ = judged(row)
    if status != row["status"]:
        yield f"{where} has the status {row['status']}, and its tasks ended with {status}"
    if row["mean"] is not None and not _equal("log_mean", row["log_mean"], _log(row["mean"])):
        yield f"{where} has a log_mean that is not the logarithm of its mean"
    if row["seed"] is None and not seeds:
        yield f"{where} is of all seeds, and no row is of one"
    elif row["seed"] is None:
        yield from _differences(where, row, from_seeds(seeds), "the rows of its seeds give")
    levels = "seeds_and_tasks" if row["fitting"] == "random" and len(seeds) > 1 else "tasks"
    if row["levels"] != levels and (levels == "seeds_and_tasks" or len(seeds) == 1):
        yield f"{where} has an interval over {row['levels']}, and it must be over {levels}"
    if arrays is None:
        return
    if any(np.isinf(array).any() for array in arrays) and (row["mean"] or 0.0) * row["num_tasks"] > MOST:
        return  # float32 does not hold losses as large as these
    found = from_losses(arrays, row["levels"])
    if (row["mean"] or 1.0) < LEAST:
        found = {"mean": found["mean"]}
    elif found["mean"] is not None:
        skewness, limit = tail_by_losses(arrays, row["reach"])
        if row["tail_limited"] is not None and not math.isclose(skewness, limit, rel_tol=1e-3):
            found["tail_limited"] = skewness > limit
    yield from _differences(where, row, found, "its losses give")


def _differences(where: str, row: Row, wanted: Mapping[str, Any], by: str) -> Iterator[str]:
    for name, value in wanted.items():
        if name != "reason" and not _equal(name, row[name], value):
            what = "the mean of the losses is not that of the row; " if (name, by[:3]) == ("mean", "its") else ""
            yield f"{where} has {name} {row[name]}: {what}{by} {value}"
            return


def _equal(name: str, found: Any, wanted: Any) -> bool:
    if found is None or wanted is None or isinstance(wanted, (str, bool)):
        return found == wanted
    if name in LOGS:
        return abs(found - wanted) <= TOLERANCE * (1 + abs(wanted))
    return math.isclose(found, wanted, rel_tol=TOLERANCE, abs_tol=1e-37)


def _log(mean: float) -> float:
    return math.log(max(mean, float(np.finfo(np.float64).tiny)))
