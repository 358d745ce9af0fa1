"""The leaderboard in a terminal of any width: who leads on each law, how far from what is possible, at what cost."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from typing import Any

import pandas as pd
from tabulate import MIN_PADDING, tabulate

from benchmarks.reports import escape, template
from benchmarks.runs.ranking import ROUNDING
from benchmarks.runs.read import Run
from benchmarks.runs.schema import FAILURES, SCORED_ON

GROUPS = {
    "nothing": "told nothing beyond the context",
    "L": "told L, the largest eigenvalue of each task's H",
    "mu, L": "told mu and L, the extreme eigenvalues of each task's H",
    "law": "know the task law, or were fitted on training tasks of it",
    "direct": "direct: the cost does not depend on the number of steps",
}
"""What solvers need to know, from least to most; a ranking never crosses these lines."""

DEVICES = ("cpu", "cuda", "mps")
NARROW = 60
"""Characters that a summary has at least."""


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
        devices=_devices(runs),
        readings=[(law.title, law.reading()) for law in laws],
        tables=list(_tables(laws, width, top)),
        alarms=int(alarms.sum()),
        failures=_failures(ranked),
    )


def shared_steps(table: pd.DataFrame) -> int:
    """The largest number of steps that most solvers of a table have: solvers are ordered, and gaps shown, there."""
    counts = table["steps"].value_counts().to_dict()
    return int(max(step for step, count in counts.items() if count == max(counts.values())))


class Board:
    """The solvers of one law after the number of steps that most of them have, by name, best first.

    Attributes:
        title: the law, short.
        steps: that number.
        rows: a row of `rank` for each; of several variants of a solver the best. Solvers that were scored on fewer
            tasks than the others are left out, unless there are no others.
    """

    def __init__(self, table: pd.DataFrame) -> None:
        self.steps = shared_steps(table)
        at: Any = table[(table["steps"] == self.steps) & table["log_loss"].notna()]
        at = (at[at["rank"].notna()] if at["rank"].notna().any() else at).sort_values("log_loss", kind="stable")
        at = at.assign(name=[_name(row) for row in at.to_dict("records")]).drop_duplicates("name")
        self.rows = at.set_index("name", drop=False)
        row = table.iloc[0]
        self.title = _title(row)
        self.short = _title(row, short=True)

    def cell(self, name: str) -> str:
        """The log loss of a solver with half the width of its interval; empty where it has none."""
        return _loss(self.rows.loc[name]) if name in self.rows.index else ""

    def reading(self) -> str:
        """Who leads, how far from the best that any method of its class could reach, and what it costs."""
        exact = self.rows.loc[[_exact(row) for row in self.rows.to_dict("records")]]
        found = self.rows.drop(index=exact.index)
        told_law, learned = found["needs"] == "law", found["learned"].astype(bool)
        kinds = {
            "told nothing beyond the context": found[(found["needs"] == "nothing") & ~learned],
            "told the law": found[told_law & ~learned],
            "learned": found[learned],
        }
        if not any(map(len, kinds.values())):
            kinds = {"here": found}
        best = [f"{title}: {_said(some.iloc[0])}" for title, some in kinds.items() if len(some)]
        said = f"Best after {self.steps} step{'s' * (self.steps != 1)} of what is {'; '.join(best)}." if best else ""
        if len(exact):
            names, more = [escape.plain(name) for name in exact["name"][:4]], len(exact) - 4
            said += f" Exact: {', '.join(names)}{f' and {more} more' * (more > 0)}."
        return said.strip() or "No solver has a loss."


def _said(row: Any) -> str:
    """One solver in a few words."""
    words = f"{escape.plain(row['name'])} at {_loss(row)}"
    if not pd.isna(row["gap_to_floor"]):
        above = f"{row['gap_to_floor']:.2f} above" if row["gap_to_floor"] >= 0.005 else "at"
        words += f", {above} its floor ({row['floor']})"
    if not pd.isna(row["warm_seconds"]):
        words += f", {1e3 * row['warm_seconds']:.2g} ms for {int(row['batch'])} tasks"
    return words


def _exact(row: Any) -> bool:
    return row["log_loss"] < ROUNDING[row["dtype"]]


def _loss(row: Any) -> str:
    if _exact(row):
        return "exact"
    half = "" if pd.isna(row["log_low"]) else f" ±{(row['log_high'] - row['log_low']) / 2:.2f}"
    few = not pd.isna(row["tail_limited"]) and row["tail_limited"]
    return f"{row['log_loss']:.2f}{half}{'~' * bool(few)}"


def _name(row: Any) -> str:
    return row["solver"] + (f" ({row['trained_on']})" if row["trained_on"] else "")


def _title(row: Any, short: bool = False) -> str:
    """A law, its sizes, and what differs from its defaults that a reader must know."""
    given = json.loads(row["law_params"])
    told = {"noise": row["noise_std"] or None, **{key: given.get(key) for key in ("variance", "kappa")}}
    parts = [f"d = {row['d']}", f"N = {row['N']}", *(f"{k} = {v:g}" for k, v in told.items() if v is not None)]
    parts += [str(row[key]) for key, usual in (("draw", "plain"), ("protocol", "held_out")) if row[key] != usual]
    if short:
        parts = [part.replace(" = ", "=") for part in parts if not part.startswith("N")]
    return escape.plain(row["law"]) + ("\n" if short else ", ") + (" " if short else ", ").join(parts)


def _tables(laws: list[Board], width: int, top: int) -> Iterator[str]:
    """The best solvers on all laws, as many laws side by side as fit."""
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
        shown = [[line[0], *line[1 + start : 1 + end]] for line in lines]
        yield tabulate(shown, headers, "simple", disable_numparse=True, colalign=["left", *["right"] * (end - start)])
        start = end


def _lines(laws: list[Board], top: int) -> Iterator[list[str]]:
    """A title for each group, and its best solvers."""
    everyone: Any = pd.concat([law.rows for law in laws]) if laws else pd.DataFrame()
    if everyone.empty:
        return
    floor = everyone["dtype"].map(ROUNDING).astype(float)
    known = everyone.assign(shown=everyone["log_loss"].clip(lower=floor), scored=1)
    places = (
        known.reset_index(drop=True)
        .groupby("name")
        .agg(needs=("needs", "first"), learned=("learned", "first"), mean=("shown", "mean"), laws=("scored", "sum"))
    )
    places = places.sort_values(["laws", "mean"], ascending=[False, True], kind="stable")
    for need, title in GROUPS.items():
        group = places[places["needs"] == need]
        chosen = [*group.index[:top]]
        best = [name for name in group.index[group["learned"]][:1] if name not in chosen]
        if chosen:
            yield [f"-- {title.split(':')[0].split(',')[0]}", *[""] * len(laws)]
        for name in (*chosen, *best):
            yield [escape.plain(name), *(law.cell(str(name)) for law in laws)]


def _failures(ranked: pd.DataFrame) -> list[str]:
    """A solver that failed, how, on how many laws."""
    laws: dict[Any, set[str]] = {}
    for row in ranked.to_dict("records"):
        if row["status"] in FAILURES:
            laws.setdefault((row["solver"], row["status"]), set()).add(row["fingerprint"])
    counts = {key: len(where) for key, where in laws.items()}
    return [f"{escape.plain(name)} {how} on {n} law{'s' * (n > 1)}" for (name, how), n in counts.items()]


def _devices(runs: Sequence[Run]) -> str:
    """Where times were taken, and where nobody has."""
    timings = pd.concat([run.timings for run in runs])
    said = []
    for device in DEVICES:
        own = timings.loc[timings["device"] == device, "machine"].unique()
        said.append(f"{device}: {escape.plain(', '.join(own)) if len(own) else 'not measured'}")
    return "; ".join(said)


def columns(default: int = 100) -> int:
    """Characters of a line where nobody says how many there are; `COLUMNS`, or the terminal's, where somebody does."""
    return shutil.get_terminal_size((default, 24)).columns
