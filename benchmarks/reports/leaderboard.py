"""The leaderboard: ranked solvers as terminal tables, Markdown, LaTeX or CSV."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import Any, Literal

import pandas as pd
from tabulate import tabulate

from benchmarks.reports import escape, template
from benchmarks.reports.board import GROUPS, shared_steps
from benchmarks.reports.budgets import COSTS, REFERENCE, budgets, eigenvalues, within
from benchmarks.reports.devices import devices
from benchmarks.reports.write import csv_text
from benchmarks.runs.ranking import by_intervals, rank, solver_label
from benchmarks.runs.read import Run
from benchmarks.runs.schema import SCORED_ON, SOLVER
from benchmarks.runs.standing import ROUNDING

Format = Literal["terminal", "markdown", "csv", "latex"]

FEWER = "scored on the first of the tasks alone, so not ranked"
"""Title of the group of solvers that are too slow for all tasks."""

TAIL = {"terminal": "~", "markdown": "~", "latex": r"$\sim$"}
"""Before the log of the median, beside a mean that a few tasks carry: see `benchmarks.statistics.tail_limited`."""

TEXT = {"terminal": escape.plain, "markdown": escape.markdown, "latex": escape.plain}
"""How text is shown outside of tables; in LaTeX that is a comment."""

Row = dict[str, Any]
"""One ranked row; a missing value is None."""


def render(runs: Sequence[Run], form: Format, ranked: pd.DataFrame | None = None) -> str:
    """The whole leaderboard as text: terminal tables, Markdown, LaTeX, or one CSV of every ranked row.

    Args:
        runs: that are ranked.
        form: of the text.
        ranked: the rows that are shown, of those of `rank(runs)`; None is all.

    Raises:
        UserError: if the runs cannot be ranked together.
    """
    ranked = rank(runs) if ranked is None else ranked
    if form == "csv":
        return csv_text(ranked, "%.6g")
    rows: list[Row] = ranked.astype(object).where(ranked.notna(), None).to_dict("records")  # type: ignore[assignment]
    return template.render(
        "benchmarks.reports",
        "leaderboard.jinja",
        form=form,
        comment="% " if form == "latex" else "",
        names=TEXT[form](", ".join(run.name for run in runs)),
        devices=TEXT[form](devices(runs)),
        by_intervals=by_intervals(runs),
        tables=[
            (TEXT[form](_heading(table)), _table(table, form), eigenvalues(table, shared_steps(pd.DataFrame(table))))
            for table in _split(rows, SCORED_ON)
        ],
        remarks=list(_remarks(rows)),
    )


def _split(rows: list[Row], key: Sequence[str]) -> list[list[Row]]:
    """Rows that agree in the key columns, together; in order of first appearance."""
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault(tuple(row[name] for name in key), []).append(row)
    return [*groups.values()]


def _heading(table: list[Row]) -> str:
    row = table[0]
    given = json.loads(row["law_params"]).items()
    params = "".join(f", {name} = {value}" for name, value in given if value is not None)
    noise = f", noise_std = {row['noise_std']:g}" if row["noise_std"] else ""
    tasks = max(other["num_tasks"] for other in table)
    title = f"{row['law']}, d = {row['d']}, N = {row['N']}{noise}{params}"
    title += f", {row['protocol']}, {row['dtype']}, {row['device']}, {tasks} tasks"
    return title + ("" if row["draw"] == "plain" else f" by {row['draw']} sampling")


def _table(table: list[Row], form: Format) -> str:
    steps = sorted({row["steps"] for row in table})
    batch = max((int(row["batch"]) for row in table if row["batch"] is not None), default=None)
    shared = shared_steps(pd.DataFrame(table))
    headers = ["solver", *(f"k = {step}" for step in steps), f"gap, k = {shared}"]
    searched = any(row["starts"] is not None for row in table)
    headers += ["median start"] * searched
    headers.append("ms" if batch is None else f"ms / {batch} tasks")
    spent = budgets(table, shared)
    headers += [f"at the {COSTS[cost]} of {REFERENCE}" for cost in spent]
    layout = {"terminal": "simple", "markdown": "github", "latex": "latex_raw"}[form]
    return tabulate(
        list(_lines(table, steps, shared, searched, spent, form)),
        headers=headers,
        tablefmt=layout,
        disable_numparse=True,
    )


def _lines(
    table: list[Row], steps: list[int], shared: int, searched: bool, spent: Row, form: Format
) -> Iterator[list[str]]:
    """Lines of one table: a title for each group, then its solvers, best first; those on fewer tasks come last."""
    most = max(row["num_tasks"] for row in table)
    all_tasks, fewer = list[Row](), list[Row]()
    for rows in _split(table, SOLVER):
        (fewer if any(0 < row["num_tasks"] < most for row in rows) else all_tasks).extend(rows)
    groups = {title: [row for row in all_tasks if row["group"] == key] for key, title in GROUPS.items()}
    for title, rows in {**groups, FEWER: fewer}.items():
        solvers = _split(rows, SOLVER)
        if not solvers:
            continue
        bold = {"terminal": f"-- {title}", "markdown": f"**{title}**", "latex": rf"\emph{{{title}}}"}[form]
        yield [bold, *[""] * (len(steps) + 2 + searched + len(spent))]
        for by_steps in sorted(({row["steps"]: row for row in rows} for rows in solvers), key=partial(_order, shared)):
            last = by_steps[max(by_steps)]
            cells = [_cell(by_steps[step], form) if step in by_steps else "" for step in steps]
            starts = [_starts(last, form)] * searched
            equal = [_within(by_steps.values(), cost, budget, form) for cost, budget in spent.items()]
            yield [
                _solver_name(last, form),
                *cells,
                _gap(by_steps.get(shared), form),
                *starts,
                _milliseconds(last),
                *equal,
            ]


def _within(rows: Iterable[Row], cost: str, budget: float, form: Format) -> str:
    """The loss at equal cost, and after how many steps."""
    row = within(rows, cost, budget)
    if row is None:
        return ""
    number = "exact" if row["log_loss"] < ROUNDING[row["dtype"]] else f"{row['log_loss']:.3f}"
    return (f"${number}$" if form == "latex" and number != "exact" else number) + f", k = {row['steps']}"


def _order(shared: int, by_steps: dict[int, Row]) -> float:
    """What a group is ordered by: the loss at the shared number of steps, else at the solver's last."""
    loss = by_steps[shared if shared in by_steps else max(by_steps)]["log_loss"]
    return math.inf if loss is None else loss


def _gap(row: Row | None, form: Format) -> str:
    """Gap to the floor with the ends of its interval relative to it."""
    if row is None or row["gap_to_floor"] is None:
        return ""
    mark = " alarm" if row["alarm"] else ""
    return _with_error(f"{row['gap_to_floor']:+.3f}", row["gap_low"], row["gap_high"], form) + mark


def _starts(row: Row, form: Format) -> str:
    """How far training once is likely to get, and how many starts say so."""
    if row["starts"] is None:
        return ""
    number = "?" if row["median_start"] is None else f"{row['median_start']:.3f}"
    return f"{f'${number}$' if form == 'latex' else number} of {row['starts']:g}"


def _with_error(number: str, low: float | None, high: float | None, form: Format) -> str:
    """A number with half the width of its interval, where it has one."""
    if low is None or high is None:
        return f"${number}$" if form == "latex" else number
    half_width = (high - low) / 2
    return rf"${number} \pm {half_width:.3f}$" if form == "latex" else f"{number} ±{half_width:.3f}"


def _solver_name(row: Row, form: Format) -> str:
    name = solver_label(row)
    if row["parameters"] == "shipped":
        return _solver_name({**row, "parameters": ""}, form) + {"latex": r"\textsuperscript{s}"}.get(form, " *")
    if form == "markdown":
        return str(escape.cell(escape.code(name)))
    return rf"\texttt{{{escape.latex(name)}}}" if form == "latex" else escape.plain(name)


def _cell(row: Row, form: Format) -> str:
    status = escape.latex(row["status"]) if form == "latex" else row["status"]
    if row["log_loss"] is None:
        return status
    mark = "" if row["rank"] is None else f" ({row['rank']})"
    mark += "" if status in ("ok", "breakdown") else f" {status}"
    if row["log_loss"] < ROUNDING[row["dtype"]]:
        return f"exact{mark}"
    if row["tail_limited"] and row["median_loss"]:
        mark += f" {TAIL[form]} {math.log(row['median_loss']):.2f}"
    return _with_error(f"{row['log_loss']:.3f}", row["log_low"], row["log_high"], form) + mark


def _milliseconds(row: Row) -> str:
    return "" if row["warm_seconds"] is None else f"{1e3 * row['warm_seconds']:.3g}"


def _remarks(rows: list[Row]) -> Iterator[str]:
    """Everything that needs a remark: alarms, and what did not go well; what is left out, once for all its rows."""
    said = set()
    for row in rows:
        for remark in (row["alarm"], row["reason"] and f"{row['status']}: {row['reason']}"):
            where = f"{escape.markdown(row['law'])} d = {row['d']}, {escape.code(row['solver'])}"
            where += "" if row["status"] == "skipped" else f", k = {row['steps']}"
            if remark and (where, remark) not in said:
                said.add((where, remark))
                yield f"{where}: {escape.markdown(remark)}"
