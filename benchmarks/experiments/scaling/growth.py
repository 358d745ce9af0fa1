"""Growth of time, work and memory with d, N, batch and steps, and where a learned method wins on a stopwatch."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from benchmarks.errors import UserError
from benchmarks.experiments.experiment import read_toml
from benchmarks.runs.ranking import solver_label
from benchmarks.runs.read import Run
from benchmarks.runs.schema import NAMED
from benchmarks.statistics import power_law_interval

SPAN = 10.0
"""Growth is fitted where the variable is at least its largest value divided by this: what is left of the constants."""

LEAST_POINTS = 3

AS_GOOD = 0.01
"""A log loss that is larger by less than this is as good."""

NEAR = 0.1
"""A log loss that is above that of the Bayes estimate by no more than this is near it."""


class Sweep(NamedTuple):
    """A variable, what is held while it grows, and whose growth is fitted."""

    variable: str
    held: tuple[str, ...]
    quantities: tuple[str, ...]


GROWS = read_toml("benchmarks.experiments.scaling", "growth.toml")
"""Sweeps, panels, names of quantities, and solvers whose cost grows otherwise."""

SWEEPS = [
    Sweep(variable, (*GROWS["held"], *own["held"]), tuple(own["fitted"])) for variable, own in GROWS["sweep"].items()
]


def expected_exponent(solver: str, variable: str, quantity: str) -> float | None:
    """The exponent that the leading term of the cost has; with d, N grows in proportion. None where no term leads.

    Example:
        >>> expected_exponent("cg", "d", "seconds_a_task"), expected_exponent("cgls", "d", "seconds_a_task")
        (3.0, 2.0)
    """
    through_x, memory = solver in GROWS["through_x"], quantity.startswith("bytes")
    if variable == "d":
        return (1.0 if through_x else 2.0) if memory else (2.0 if through_x else 3.0)
    if variable == "N":
        if memory:  # cgls holds vectors of N and of d numbers
            return None if through_x else float(solver in GROWS["factors"])
        return 1.0
    if variable == "batch":
        return 1.0
    return 1.0 if through_x else None


def points(run: Run) -> pd.DataFrame:
    """One row for each solver, task, batch and number of steps that was timed.

    Returns:
        Identity, `rows_per_d` (N/d), `seconds` and `bytes` of the whole batch, `seconds_a_task`, `seconds_low` and
        `seconds_high` (quartiles, a task), `bytes_a_task`, `flops` and `products` (a task), `train_seconds`,
        `log_loss` and `gap_to_bayes`.

    Raises:
        UserError: if nothing was timed.
    """
    scores: Any = run.scores[run.scores["shown"]]
    scores = scores.assign(each=scores["seed"].notna()).sort_values("each", kind="stable").drop_duplicates(NAMED)
    timed: Any = run.timings[run.timings["warm_median"].notna()]
    if timed.empty:
        raise UserError("the run has no timings; run its suite with a [timings] table")
    table: Any = timed.merge(scores[[*NAMED, "log_mean", "gap_to_bayes"]], on=NAMED, how="left")
    batch = table["batch"]
    return table.assign(
        rows_per_d=table["N"] / table["d"],
        seconds=table["warm_median"],
        bytes=table["peak_bytes"],
        seconds_a_task=table["warm_median"] / batch,
        seconds_low=table["warm_q25"] / batch,
        seconds_high=table["warm_q75"] / batch,
        bytes_a_task=table["peak_bytes"] / batch,
        log_loss=table["log_mean"],
        label=[solver_label(row) for row in table.to_dict("records")],
    )


def growth(table: pd.DataFrame) -> pd.DataFrame:
    """Exponents p of `quantity ~ variable^p`, fitted on logarithms over the largest decade of the variable.

    Returns:
        What is held, `variable`, `quantity`, `least`, `most` (of the variable), `points`, `exponent` with its 95 %
        interval `low`, `high` (Student t over the points), and `expected`.
    """
    rows: list[dict[str, Any]] = []
    for sweep in SWEEPS:
        groups: Any = table.groupby(list(sweep.held), sort=False)
        for held, part in groups:
            names = dict(zip(sweep.held, held, strict=True))
            for quantity in sweep.quantities:
                known = part[part[quantity] > 0].groupby(sweep.variable)[quantity].median()
                top = known[known.index >= known.index.max() / SPAN] if len(known) else known
                if len(top) >= LEAST_POINTS:
                    x, y = np.asarray(top.index, dtype=float), top.to_numpy(float)
                    expected = expected_exponent(names["solver"], sweep.variable, quantity)
                    fitted = dict(zip(("exponent", "low", "high"), power_law_interval(x, y), strict=True))
                    span = {"quantity": quantity, "least": x.min(), "most": x.max(), "points": len(x)}
                    rows.append({"variable": sweep.variable, **names, **span, **fitted, "expected": expected})
    if not rows:
        raise UserError(f"nothing grows in this run: no variable has {LEAST_POINTS} values within a factor of {SPAN:g}")
    return pd.DataFrame(rows)


def stopwatch(table: pd.DataFrame) -> pd.DataFrame:
    """For every learned method: the fastest other one whose loss is as good on the same tasks.

    Returns:
        A row for each task, machine, batch, learned method and number of steps: its `seconds_a_task`, `log_loss`,
        `gap_to_bayes`, `train_seconds`; `rival`, `rival_steps`, `rival_seconds` (empty if none is as good);
        `speed_up` (the rival's time over its own); `wins`, whether the quartiles of its time lie below the rival's, or
        it has none; and `break_even`, the number of tasks after which training has paid (empty without a rival).
    """
    rows: list[dict[str, Any]] = []
    columns = ["law", "d", "N", "noise_std", "batch"]
    groups: Any = table.groupby([*columns, "law_params", "device", "dtype", "machine", "threads"], sort=False)
    for task, part in groups:
        learned = part["learned"]
        for mine in part[learned & part["log_loss"].notna()].to_dict("records"):
            as_good = part[~learned & (part["log_loss"] <= mine["log_loss"] + AS_GOOD)].sort_values("seconds_a_task")
            best: dict[Any, Any] = as_good.iloc[0].to_dict() if len(as_good) else {}
            saved = best.get("seconds_a_task", np.nan) - mine["seconds_a_task"]
            wins = not best or mine["seconds_high"] < best["seconds_low"]
            rows.append(
                {
                    **dict(zip(columns, task, strict=False)),
                    **{name: mine[name] for name in ("solver", "steps", "seconds_a_task", "log_loss", "gap_to_bayes")},
                    "train_seconds": mine["train_seconds"],
                    "rival": best.get("solver", ""),
                    "rival_steps": best.get("steps"),
                    "rival_seconds": best.get("seconds_a_task"),
                    "speed_up": best.get("seconds_a_task", np.nan) / mine["seconds_a_task"],
                    "wins": wins,
                    "break_even": mine["train_seconds"] / saved if wins else np.nan,
                }
            )
    return pd.DataFrame(rows)


def sentence(table: pd.DataFrame) -> str:
    """Where a learned method is the right choice on a stopwatch, in plain words, from the rows of `stopwatch`."""
    if table.empty:
        return "No learned method was timed."
    where = ["law", "d", "N", "batch"]
    tasks: Any = table.groupby(where)["wins"].any()
    if not tasks.any():
        return (
            f"On the stopwatch a learned method is the right choice nowhere: on all {len(tasks)} combinations of law, "
            "d, N and batch another method reaches the same loss in as little time."
        )
    won: Any = table[table["wins"]]
    raced, alone = won[won["rival"] != ""], won[won["rival"] == ""].groupby(where).ngroups
    near = won[won["gap_to_bayes"] <= NEAR].groupby(where).ngroups
    places = ", ".join(f"{law} d={d} N={N} batch={batch}" for (law, d, N, batch), yes in tasks.items() if yes)
    said = (
        f"On the stopwatch a learned method is faster than every other that is as good on {int(tasks.sum())} of "
        f"{len(tasks)} combinations of law, d, N and batch ({places})"
    )
    said += f", on {alone} of them where no other is as good at all" if alone else ""
    if len(raced):
        best = raced.loc[raced["speed_up"].idxmax()]
        said += (
            f", at most {best['speed_up']:.1f} times ({best['solver']}, {best['steps']} steps, against {best['rival']})"
        )
        said += f"; its training has paid after {raced['break_even'].min():,.0f} tasks at the earliest"
    return f"{said}. On {near} of them its log loss is within {NEAR:g} of that of the Bayes estimate."
