"""The leaderboard in a terminal of any width: who leads on each law, how far from what is possible, at what cost."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from typing import Any

import pandas as pd
from tabulate import MIN_PADDING, tabulate

from benchmarks.reports import escape, template
from benchmarks.reports.board import GROUPS, Board
from benchmarks.reports.devices import devices
from benchmarks.runs.read import Run
from benchmarks.runs.schema import FAILURES, SCORED_ON
from benchmarks.runs.standing import ROUNDING

NARROW = 60
"""Characters that a summary has at least."""

TITLE = "-- "
"""What the line above a group's solvers begins with."""


def summary(runs: Sequence[Run], ranked: pd.DataFrame, width: int, top: int = 3) -> str:
    """A reading of each law in a sentence or two, and one table of the best solvers on all of them.

    Args:
        runs: that are ranked.
        ranked: `benchmarks.runs.ranking.rank` of them, or a part of it.
        width: characters of a line.
        top: solvers of each group, those with the least mean log loss over the laws; the best learned one is always in.
    """
    alarms: Any = ranked["alarm"] != ""
    laws = [Board(table) for _, table in ranked.groupby(SCORED_ON, sort=False, dropna=False)]
    width = max(width, NARROW)
    return template.render(
        "benchmarks.reports",
        "summary.jinja",
        width=width,
        names=escape.plain(", ".join(run.name for run in runs)),
        devices=devices(runs),
        readings=[
            (f"{law.title}; best after {law.steps} step{'s' * (law.steps != 1)}", law.readings()) for law in laws
        ],
        tables=list(_tables(laws, width, top)),
        alarms=int(alarms.sum()),
        failures=failures(ranked),
    )


def _tables(laws: list[Board], width: int, top: int) -> Iterator[str]:
    """The best solvers on all laws, as many laws side by side as fit, each part with those that are on it."""
    lines = list(_lines(laws, top))
    room = width - max((len(line[0]) for line in lines), default=0)
    start = 0
    while start < len(laws):
        used, end = 0, start
        while end < len(laws):
            header = max(len(text) for text in (*laws[end].short.splitlines(), f"k = {laws[end].steps}"))
            used += 2 + max(header + MIN_PADDING, *(len(line[1 + end]) for line in lines), 0)
            if used > room and end > start:
                break
            end += 1
        headers = ["", *(f"{law.short}\nk = {law.steps}" for law in laws[start:end])]
        part = [[line[0], *line[1 + start : 1 + end]] for line in lines]
        shown = [line for line in part if any(line[1:]) or line[0].startswith(TITLE)]
        yield tabulate(shown, headers, "simple", disable_numparse=True, colalign=["left", *["right"] * (end - start)])
        start = end


def places(laws: Sequence[Board]) -> pd.DataFrame:
    """Solvers by the laws on which they are the best of their group, then by all laws that they are on.

    Returns:
        By name: `group`, `learned`, `wins` (laws on which its loss is the least of its group, an exact one that of
        rounding), `learned_wins` (of what is learned), `laws` and the `mean` log loss there; the best first.
    """
    everyone: Any = pd.concat([law.rows.assign(law=number) for number, law in enumerate(laws)]) if laws else None
    columns = ["group", "learned", "wins", "learned_wins", "laws", "mean"]
    if everyone is None or everyone.empty:
        return pd.DataFrame(columns=columns)
    known = everyone.reset_index(drop=True)
    known["shown"] = known["log_loss"].clip(lower=known["dtype"].map(ROUNDING).astype(float))
    known["wins"] = known["shown"] == known.groupby(["law", "group"])["shown"].transform("min")
    known["learned_wins"] = known["shown"] == known.groupby(["law", "learned"])["shown"].transform("min")
    by_name = known.groupby("name")
    found = by_name[["group", "learned"]].first().join(by_name[["wins", "learned_wins"]].sum())
    found = found.join(by_name["shown"].agg(laws="size", mean="mean"))[columns]
    return found.sort_values(["wins", "laws", "mean"], ascending=[False, False, True], kind="stable")


def best(places: pd.DataFrame, top: int) -> Iterator[tuple[str, list[str]]]:
    """Of each group that has solvers its need, and the names of the first `top`; the best learned one is always in."""
    for need in GROUPS:
        group: Any = places[places["group"] == need]
        most = group[group["learned"].astype(bool)].sort_values("learned_wins", ascending=False, kind="stable")
        learned = [str(name) for name in most.index[:1]]
        chosen = [str(name) for name in group.index[:top]]
        chosen += [name for name in learned if name not in chosen]
        if chosen:
            yield need, chosen


def _lines(laws: list[Board], top: int) -> Iterator[list[str]]:
    """A title for each group, and its best solvers."""
    for need, names in best(places(laws), top):
        yield [f"{TITLE}{GROUPS[need].split(':')[0].split(',')[0]}", *[""] * len(laws)]
        for name in names:
            yield [escape.plain(name), *(law.cell(name) for law in laws)]


def failures(ranked: pd.DataFrame) -> list[str]:
    """A solver that failed, how, on how many laws."""
    laws: dict[Any, set[str]] = {}
    for row in ranked.to_dict("records"):
        if row["status"] in FAILURES:
            laws.setdefault((row["solver"], row["status"]), set()).add(row["fingerprint"])
    counts = {key: len(where) for key, where in laws.items()}
    return [f"{escape.plain(name)} {how} on {n} law{'s' * (n > 1)}" for (name, how), n in counts.items()]


def columns(default: int = 100) -> int:
    """Characters of a line where nobody says how many there are; `COLUMNS`, or the terminal's, where somebody does."""
    return shutil.get_terminal_size((default, 24)).columns
