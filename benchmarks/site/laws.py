"""What the page of a law shows: its table of solvers, its plots, and what went wrong."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from benchmarks.reports.board import GROUPS, Board
from benchmarks.reports.budgets import COSTS, REFERENCE, budgets, within
from benchmarks.reports.leaderboard import FEWER
from benchmarks.reports.loss_curves import floors
from benchmarks.reports.style import NEEDS
from benchmarks.runs.ranking import solver_label
from benchmarks.runs.schema import SCORED_ON
from benchmarks.runs.standing import ROUNDING
from benchmarks.site.curves import BySteps, Row, at, floor_name, kind_of, law_curves, solvers
from benchmarks.site.numbers import fixed, interval, minus, missing, significant, slug
from benchmarks.site.plot import Plot, against_steps, against_time


@dataclass(frozen=True)
class Cell:
    """A cell of a table.

    Attributes:
        value: what it is sorted by; None sorts last.
        text: what it shows; `small` is under it, in small print.
        note: what a mark on it means, in a sentence; empty without one.
        mark: `!`, or `~` where few tasks carry a mean and nothing else is to be said.
    """

    value: Any
    text: str
    small: str = ""
    note: str = ""
    mark: str = "!"


@dataclass(frozen=True)
class Line:
    """A solver: its key within the page, name, settings that differ from its defaults, kind, and cells."""

    key: str
    name: str
    settings: str
    kind: str
    rank: Cell
    losses: Sequence[Cell]
    gap: Cell
    floor: Cell
    equal: Sequence[Cell]
    start: Cell
    time: Cell


@dataclass(frozen=True)
class Group:
    """Solvers that are told the same, or that were scored on fewer tasks, best first; `short` is for a menu."""

    short: str
    title: str
    lines: Sequence[Line]


@dataclass(frozen=True)
class LawPage:
    """A law's page.

    Attributes:
        slug: of its file; `title` is `Board`'s.
        leaders: the phrases of its reading, each by what it is about.
        facts: what else says which tasks these are, name and value.
        board: of its solvers after `board.steps` steps, which gaps, ranks and times are of.
        steps: numbers of steps that have a column.
        equal: titles of the columns with losses at equal cost.
        searched: whether anything was trained from several starts.
        tasks: in a call that was timed; None if nothing was.
        remarks: alarms and failures.
    """

    slug: str
    title: str
    leaders: Sequence[tuple[str, str]]
    facts: Sequence[tuple[str, str]]
    board: Board
    steps: Sequence[int]
    groups: Sequence[Group]
    equal: Sequence[str]
    searched: bool
    tasks: int | None
    remarks: Sequence[str]
    plots: Sequence[Plot]
    table: pd.DataFrame


def law_pages(ranked: pd.DataFrame) -> list[LawPage]:
    """A page for each law, in the order of the runs; no two have the same title or file."""
    tables = [table for _, table in ranked.groupby(SCORED_ON, sort=False, dropna=False)]
    boards = [Board(table) for table in tables]
    given = [board.title for board in boards]
    titles: list[str] = []
    for board, table in zip(boards, tables, strict=True):
        row, title = table.iloc[0], board.title
        if given.count(title) > 1:
            title += f", {row['dtype']}, {row['device']}"
        titles.append(title if title not in titles else f"{title}, {row['fingerprint']}, {row['law_params']}")
    slugs: list[str] = []
    for title in titles:
        wanted = slug(title)
        slugs.append(wanted if wanted not in slugs else f"{wanted}-{len(slugs)}")
    return [_page(*four) for four in zip(slugs, titles, boards, tables, strict=True)]


def _page(slug: str, title: str, board: Board, table: pd.DataFrame) -> LawPage:
    steps = sorted({int(step) for step in table["steps"]})
    batches = [int(batch) for batch in table["batch"].dropna()]
    found = solvers(table)
    curves = law_curves(found, floors(table), board.steps, board.shift)
    spent = budgets([row for rows in found for row in rows.values()], board.steps)
    plots = [
        against_steps("Loss against steps", curves),
        against_time(f"Loss against time (floors after {board.steps} steps)", curves, board.steps),
    ]
    return LawPage(
        slug=slug,
        title=title,
        leaders=[(kind, words) for kind, _, words in (minus(one).partition(": ") for one in board.readings())],
        facts=_facts(table, board.shift),
        board=board,
        steps=steps,
        groups=list(_groups(found, steps, board.steps, spent)),
        equal=[f"at the {COSTS[cost]} of {REFERENCE}" for cost in spent],
        searched=bool(table["starts"].notna().any()),
        tasks=max(batches, default=None),
        remarks=list(dict.fromkeys(_remarks(table))),
        plots=[plot for plot in plots if plot is not None],
        table=table,
    )


def _facts(table: pd.DataFrame, shift: str) -> list[tuple[str, str]]:
    row = table.iloc[0]
    given = {name: value for name, value in json.loads(row["law_params"]).items() if value is not None}
    trained = sorted({one for one in table["trained_on"] if one})
    facts = {
        "law": f"{row['law']}, version {row['law_version']}",
        "dimension d": str(row["d"]),
        "context N": str(row["N"]),
        "label noise": f"{row['noise_std']:g}" if row["noise_std"] else "none",
        "settings": ", ".join(f"{name} = {value}" for name, value in given.items()),
        "scored tasks": f"{table['num_tasks'].max():,}" + (f", {row['draw']} draws" if row["draw"] != "plain" else ""),
        "some are fitted on" if not shift else "fitted on": "; ".join(trained),
        "loss": ", ".join(sorted({one.replace("_", " ") for one in table["metric"] if one})),
        "protocol": str(row["protocol"]).replace("_", " "),
        "computed in": f"{row['dtype']} on {row['device']}",
    }
    return [(name, value) for name, value in facts.items() if value]


def _groups(solvers: Sequence[BySteps], steps: Sequence[int], shared: int, spent: Row) -> Iterator[Group]:
    found = [(f"s{number}", rows, at(rows, shared)) for number, rows in enumerate(solvers)]
    found.sort(key=lambda one: (missing(one[2]["log_loss"]), one[2]["log_loss"] or 0.0))
    most = max(row["num_tasks"] for _, _, row in found)
    fewer = [one for one in found if 0 < one[2]["num_tasks"] < most]
    for need, title in GROUPS.items():
        mine = [one for one in found if one[2]["group"] == need and one not in fewer]
        if mine:
            yield Group(NEEDS[need], title, [_line(*one, steps, shared, spent) for one in mine])
    if fewer:
        yield Group("fewer tasks", FEWER, [_line(*one, steps, shared, spent) for one in fewer])


def _line(key: str, rows: BySteps, row: Row, steps: Sequence[int], shared: int, spent: Row) -> Line:
    here: Row = rows.get(shared, {})
    starts = "" if missing(row["starts"]) else f"of {row['starts']:g}"
    time = None if missing(here.get("warm_seconds")) else 1e3 * here["warm_seconds"]
    rank: Any = here.get("rank")
    floor = floor_name(here["floor"]) if here and not missing(here["gap_to_floor"]) else ""
    return Line(
        key=key,
        name=str(row["solver"]),
        settings=solver_label(row).removeprefix(str(row["solver"])).strip()
        + " comes fitted" * (row["parameters"] == "shipped"),
        kind=kind_of(row),
        rank=Cell(None, "") if missing(rank) else Cell(int(rank), str(int(rank))),
        losses=[_loss(rows.get(step)) for step in steps],
        gap=_gap(here),
        floor=Cell(floor or None, floor),
        equal=[_equal(within(rows.values(), cost, budget)) for cost, budget in spent.items()],
        start=Cell(None if missing(row["median_start"]) else row["median_start"], fixed(row["median_start"]), starts),
        time=Cell(time, significant(time)),
    )


def _loss(row: Row | None) -> Cell:
    if row is None:
        return Cell(None, "")
    status, loss = row["status"], row["log_loss"]
    note = f"{status.replace('_', ' ')}: {row['reason']}" if status != "ok" else ""
    if missing(loss):
        return Cell(None, status.replace("_", " "), note=note)
    if loss < ROUNDING[row["dtype"]]:
        return Cell(loss, "exact", note=note)
    if not missing(row["tail_limited"]) and row["tail_limited"]:
        note += f"{'; ' * bool(note)}a few tasks carry this mean, so its interval is too narrow"
        if row["median_loss"] > 0:
            note += f"; the logarithm of the median is {fixed(math.log(row['median_loss']))}"
    return Cell(loss, fixed(loss), interval(row["log_low"], row["log_high"]), note, "~" if status == "ok" else "!")


def _equal(row: Row | None) -> Cell:
    """The loss at equal cost, and after how many steps."""
    return Cell(None, "") if row is None else Cell(row["log_loss"], _loss(row).text, f"k = {row['steps']}")


def _gap(row: Row) -> Cell:
    if missing(row.get("gap_to_floor")):
        return Cell(None, "")
    ends = interval(row["gap_low"], row["gap_high"], sign="+")
    return Cell(row["gap_to_floor"], fixed(row["gap_to_floor"], sign="+"), ends, row["alarm"])


def _remarks(table: pd.DataFrame) -> Iterator[str]:
    for row in table.to_dict("records"):
        reason = row["reason"] and f"{row['status'].replace('_', ' ')}: {row['reason']}"
        for remark in filter(None, (row["alarm"], reason)):
            after = "" if row["status"] == "skipped" else f", k = {row['steps']}"
            yield f"{solver_label(row)}{after}: {remark}"
