"""The leaderboard: solvers ranked by log test loss, per law and dimension, within what they need to know."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import groupby
from typing import Any, Literal

import pandas as pd
from tabulate import tabulate

from benchmarks.errors import UserError
from benchmarks.store import Run

Format = Literal["terminal", "markdown", "csv", "latex"]

PREFERRED_METRICS = ("expected_test_loss", "test_loss")
"""The metric shown is the first of these that a row has: same mean, least variance first."""

GROUPS = {
    "nothing": "told nothing beyond the context",
    "L": "told L, the largest eigenvalue of each task's H",
    "mu, L": "told mu and L, the extreme eigenvalues of each task's H",
    "law": "know the task law, or were fitted on training tasks of it",
    "direct": "direct: the cost does not depend on the number of steps",
}
"""What solvers need to know, from least to most; a ranking never crosses these lines."""

ROUNDING = {name: 2 * math.log(1e3 * eps) for name, eps in (("float64", 2.0**-52), ("float32", 2.0**-23))}
"""A log loss below this is 0 but for rounding: it is shown as exact, and such losses share a rank."""

Row = dict[str, Any]
"""One ranked row; a missing value is None."""

TASK = ["law", "law_params", "law_version", "fingerprint", "d", "N", "noise_std", "protocol", "device", "dtype"]
SOLVER = ["solver", "solver_params", "solver_version", "needs"]


def rank(runs: Sequence[Run]) -> pd.DataFrame:
    """One row for each task, solver and number of steps, ranked within the task, the steps and the need.

    Of several runs that hold the same identity, the one measured last counts.

    Returns:
        The identity columns, `rank` (1 is least loss; missing where there is no finite loss), `log_loss` with
        its 95 % interval `log_low`, `log_high`, `median_loss`, the gap to the floor of the solver's class with its
        paired interval, `alarm`, `warm_seconds` and `batch` of the timing, `status` and `reason`.

    Raises:
        UserError: if two runs hold different versions or fingerprints of one law.
    """
    ordered = sorted(runs, key=lambda run: str(run.meta.get("measured_at", "")))
    scores = pd.concat([run.scores for run in ordered], ignore_index=True)
    timings = pd.concat([run.timings for run in ordered], ignore_index=True)
    _refuse_mixed_laws(scores)
    key = [*TASK, *SOLVER, "steps"]
    preference = {name: index for index, name in enumerate(PREFERRED_METRICS)}
    scores["preference"] = [preference.get(metric, len(preference)) for metric in scores["metric"]]
    # The row of all seeds has no seed and comes last of its kind; a run of one seed has only that row.
    scores["pooled"] = scores["seed"].isna()
    best_last = scores.sort_values(["preference", "pooled"], ascending=[False, True], kind="stable")
    kept = best_last.groupby(key, sort=False).tail(1).index
    table = scores.loc[scores.index.isin(kept)]
    timed = timings.groupby(key, sort=False).tail(1)
    table = table.merge(timed[[*key, "warm_median", "batch", "train_seconds"]], on=key, how="left")
    # A solver scored on fewer tasks is not ranked: its loss differs by which tasks those were.
    all_tasks = table["num_tasks"] == table.groupby([*TASK, "steps"])["num_tasks"].transform("max")
    rounding = table["dtype"].map(ROUNDING).astype(float)
    comparable = table["log_mean"].clip(lower=rounding).where(all_tasks)
    table["rank"] = comparable.groupby([table[name] for name in (*TASK, "needs", "steps")]).rank(method="min")
    table["rank"] = table["rank"].astype("Int64")
    names = {"log_mean": "log_loss", "median": "median_loss", "warm_median": "warm_seconds"}
    columns = [*key, "metric", "rank", "log_loss", "log_low", "log_high", "median_loss", "num_tasks"]
    columns += ["reach", "gap_to_floor", "gap_low", "gap_high", "gap_to_bayes", "alarm"]
    columns += ["warm_seconds", "batch", "train_seconds", "status", "reason"]
    return pd.DataFrame(table.rename(columns=names), columns=columns)


def render(runs: Sequence[Run], form: Format) -> str:
    """The leaderboard as text: terminal tables, Markdown, LaTeX, or one CSV of every ranked row.

    Raises:
        UserError: if the runs cannot be ranked together.
    """
    ranked = rank(runs)
    if form == "csv":
        return ranked.to_csv(index=False, float_format="%.6g", lineterminator="\n")
    rows: list[Row] = ranked.astype(object).where(ranked.notna(), None).to_dict("records")  # type: ignore[assignment]
    parts = [_introduction(runs, form)]
    for table in _split(rows, TASK):
        parts += [_heading(table[0], table, form), _table(table, form)]
    if form == "markdown":
        parts.append(_remarks(rows))
    return "\n\n".join(part for part in parts if part) + "\n"


def _split(rows: list[Row], key: list[str]) -> list[list[Row]]:
    """Rows that agree in the key columns, together; in order of first appearance."""
    first = {tuple(row[name] for name in key): index for index, row in reversed(list(enumerate(rows)))}

    def place(row: Row) -> int:
        return first[tuple(row[name] for name in key)]

    return [list(group) for _, group in groupby(sorted(rows, key=place), key=place)]


def _refuse_mixed_laws(scores: pd.DataFrame) -> None:
    key = ["law", "law_params", "d", "N", "noise_std"]
    for _, group in scores.groupby(key):
        if len(set(zip(group["law_version"], group["fingerprint"], strict=True))) > 1:
            law, d = group["law"].iloc[0], group["d"].iloc[0]
            raise UserError(f"these runs drew different tasks for the law {law!r} at d = {d}; show them one by one")


def _introduction(runs: Sequence[Run], form: Format) -> str:
    names = ", ".join(run.name for run in runs)
    text = (
        "Natural logarithm of the mean test loss after k steps, with the half-width of its 95 % interval, in brackets "
        "the rank within the group; less is better, exact is 0 but for rounding. Without a rank: scored on the first "
        "few of the tasks only. Gap: log loss above the best that any method of the solver's class could reach on "
        "these tasks, with its paired 95 % interval; empty where no such floor is known. Time: median wall-clock of "
        "one warm solve of the whole batch at the largest number of steps."
    )
    return {
        "terminal": f"Leaderboard of {names}\n{text}",
        "markdown": f"# Leaderboard\n\nGenerated by `memformer-bench leaderboard` from {names}.\n\n{text}",
        "latex": f"% Leaderboard of {names}\n% {text}",
    }[form]


def _heading(row: Row, table: list[Row], form: Format) -> str:
    given = json.loads(row["law_params"]).items()
    params = "".join(f", {name} = {value}" for name, value in given if value is not None)
    noise = f", noise_std = {row['noise_std']:g}" if row["noise_std"] else ""
    tasks = max(other["num_tasks"] for other in table)
    title = (
        f"{row['law']}, d = {row['d']}, N = {row['N']}{noise}{params}, {row['dtype']}, {row['device']}, {tasks} tasks"
    )
    return {"terminal": title, "markdown": f"## {title}", "latex": f"% {title}"}[form]


def _table(table: list[Row], form: Format) -> str:
    steps = sorted({row["steps"] for row in table})
    batch = max((int(row["batch"]) for row in table if row["batch"] is not None), default=None)
    shared = _shared_steps(table, steps)
    headers = ["solver", *(f"k = {step}" for step in steps), f"gap, k = {shared}"]
    headers.append("ms" if batch is None else f"ms / {batch} tasks")
    layout = {"terminal": "simple", "markdown": "github", "latex": "latex_raw"}[form]
    return tabulate(list(_lines(table, steps, shared, form)), headers=headers, tablefmt=layout, disable_numparse=True)


def _shared_steps(table: list[Row], steps: list[int]) -> int:
    """The largest number of steps that most solvers of a table have: solvers are ordered, and gaps shown, there."""
    counts = {step: sum(row["steps"] == step for row in table) for step in steps}
    return max(step for step in steps if counts[step] == max(counts.values()))


def _lines(table: list[Row], steps: list[int], shared: int, form: Format) -> Iterator[list[str]]:
    """Lines of one table: a title for each group, then its solvers, best first."""
    for need, title in GROUPS.items():
        solvers = _split([row for row in table if row["needs"] == need], SOLVER)
        if not solvers:
            continue
        bold = {"terminal": f"-- {title}", "markdown": f"**{title}**", "latex": rf"\emph{{{title}}}"}[form]
        yield [bold, *[""] * (len(steps) + 2)]
        for by_steps in sorted(({row["steps"]: row for row in rows} for rows in solvers), key=partial(_order, shared)):
            last = by_steps[max(by_steps)]
            cells = [_cell(by_steps[step], form) if step in by_steps else "" for step in steps]
            yield [_solver_name(last, form), *cells, _gap(by_steps.get(shared), form), _milliseconds(last)]


def _order(shared: int, by_steps: dict[int, Row]) -> float:
    """What a group is ordered by: the loss at the shared number of steps, else at the solver's last."""
    loss = by_steps[shared if shared in by_steps else max(by_steps)]["log_loss"]
    return math.inf if loss is None else loss


def _gap(row: Row | None, form: Format) -> str:
    """Gap to the floor with the ends of its interval relative to it."""
    if row is None or row["gap_to_floor"] is None:
        return ""
    mark = " alarm" if row["alarm"] else ""
    return _with_error(f"{row['gap_to_floor']:+.3f}", (row["gap_high"] - row["gap_low"]) / 2, form) + mark


def _with_error(number: str, half_width: float, form: Format) -> str:
    return rf"${number} \pm {half_width:.3f}$" if form == "latex" else f"{number} ±{half_width:.3f}"


def _solver_name(row: Row, form: Format) -> str:
    params = ", ".join(f"{key}={value}" for key, value in json.loads(row["solver_params"]).items())
    name = row["solver"] + (f" ({params})" if params else "")
    latex = name.replace("_", r"\_")
    return {"terminal": name, "markdown": f"`{name}`", "latex": rf"\texttt{{{latex}}}"}[form]


def _cell(row: Row, form: Format) -> str:
    status = row["status"].replace("_", r"\_") if form == "latex" else row["status"]
    if row["log_loss"] is None:
        return status
    mark = "" if row["rank"] is None else f" ({row['rank']})"
    mark += "" if status in ("ok", "breakdown") else f" {status}"
    if row["log_loss"] < ROUNDING[row["dtype"]]:
        return f"exact{mark}"
    return _with_error(f"{row['log_loss']:.3f}", (row["log_high"] - row["log_low"]) / 2, form) + mark


def _milliseconds(row: Row) -> str:
    return "" if row["warm_seconds"] is None else f"{1e3 * row['warm_seconds']:.3g}"


def _remarks(rows: list[Row]) -> str:
    """Everything that needs a remark: alarms, and what did not go well."""
    lines = [
        f"- {row['law']} d = {row['d']}, `{row['solver']}`, k = {row['steps']}: {remark}"
        for row in rows
        for remark in (row["alarm"], row["reason"] and f"{row['status']}: {row['reason']}")
        if remark
    ]
    return "\n".join(["## Alarms and failures", "", *lines]) if lines else ""
