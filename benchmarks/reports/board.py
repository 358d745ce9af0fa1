"""The solvers of one law as people read them: who leads, how far from what is possible, at what cost."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pandas as pd

from benchmarks.reports import escape
from benchmarks.reports.budgets import REFERENCE, budgets, eigenvalues, within
from benchmarks.runs.schema import SOLVER
from benchmarks.runs.standing import ROUNDING

GROUPS = {
    "nothing": "told nothing beyond the context",
    "L": "told L, the largest eigenvalue of each task's H",
    "mu, L": "told mu and L, the extreme eigenvalues of each task's H",
    "law": "know the task law, or were fitted on training tasks of it",
    "direct": "direct: the cost does not depend on the number of steps",
}
"""What solvers need to know, from least to most; a ranking never crosses these lines."""


def shared_steps(table: pd.DataFrame) -> int:
    """The largest number of steps that most solvers of a table have: solvers are ordered, and gaps shown, there."""
    counts = table["steps"].value_counts().to_dict()
    return int(max(step for step, count in counts.items() if count == max(counts.values())))


class Board:
    """The solvers of one law after the number of steps that most of them have, by name, best first.

    Attributes:
        title: the law, short.
        shift: the law that everything is fitted on which is fitted, if that is another.
        steps: that number.
        rows: a row of `rank` for each; of several variants of a solver the best. Loops over tasks that were scored on
            fewer tasks than the others are left out, unless there are no others.
    """

    def __init__(self, table: pd.DataFrame) -> None:
        self.steps = shared_steps(table)
        at: Any = table[(table["steps"] == self.steps) & table["log_loss"].notna()]
        shown = at["rank"].notna() | at["batched"].astype(bool)
        at = (at[shown] if at["rank"].notna().any() else at).sort_values("log_loss", kind="stable")
        trained_on = set(table["trained_on"]) - {""}
        fitted: Any = table[table["fitting"] != "none"]
        self.shift = trained_on.pop() if len(trained_on) == 1 and (fitted["trained_on"] != "").all() else ""
        at = at.assign(name=[_name(row, self.shift) for row in at.to_dict("records")]).drop_duplicates("name")
        self.rows = at.set_index("name", drop=False)
        row = table.iloc[0]
        self.title = _title(row) + (f", fitted on {escape.plain(self.shift)}" if self.shift else "")
        self.short = _title(row, short=True) + (f"\non {escape.plain(self.shift)}" if self.shift else "")
        self._all = table.astype(object).where(table.notna(), None).to_dict("records")

    def cell(self, name: str) -> str:
        """The log loss of a solver with half the width of its interval; empty where it has none."""
        return _loss(self.rows.loc[name]) if name in self.rows.index else ""

    def readings(self) -> list[str]:
        """Who leads, how far from what its class could reach, at what cost: a phrase for each kind of solver."""
        said = [f"{title}: {leader(some)}" for title, some in self.kinds().items()]
        exact = [escape.plain(name) for name in self.exact()]
        more = f" and {len(exact) - 4} more" * (len(exact) > 4)
        exactly = [f"exact: {', '.join(exact[:4])}{more}"] if exact else []
        found = eigenvalues(self._all, self.steps)
        return [*said, *self._at_equal_time(), *exactly, *([f"eigenvalues that are told: {found}"] if found else [])]

    def exact(self) -> list[str]:
        """Names of those whose loss is 0 but for rounding."""
        return [str(row["name"]) for row in self.rows.to_dict("records") if _exact(row)]

    def kinds(self) -> dict[str, Any]:
        """The solvers of each kind that have a loss above rounding, best first; kinds that have one."""
        found: Any = self.rows.drop(index=self.exact())
        direct, learned = found["group"] == "direct", found["learned"].astype(bool)
        kinds = {
            "told nothing beyond the context": found[(found["group"] == "nothing") & ~learned],
            "told the law": found[(found["group"] == "law") & ~learned],
            "learned": found[learned],
        }
        if not any(map(len, kinds.values())):
            kinds = {"of what is here": found[~direct]}
        kinds["direct"] = found[direct]
        return {title: some for title, some in kinds.items() if len(some)}

    def _at_equal_time(self) -> Iterator[str]:
        """Which iterative method has the least loss in the time of the reference method."""
        budget = budgets(self._all, self.steps).get("warm_seconds")
        by_solver: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
        for row in self._all:
            if row["group"] != "direct" and row["rank"] is not None:
                by_solver.setdefault(tuple(row[name] for name in SOLVER), []).append(row)
        fitting = [within(rows, "warm_seconds", budget) for rows in by_solver.values()] if budget is not None else []
        best = min((row for row in fitting if row is not None), key=lambda row: row["log_loss"], default=None)
        if best is not None:
            name, k = escape.plain(_name(best, self.shift)), best["steps"]
            yield f"in the time of {REFERENCE}: {name} at {_loss(best)}, after {k} step{'s' * (k != 1)}"


def leader(rows: pd.DataFrame) -> str:
    """The best of some solvers in a few words, with those of its group that share its rank."""
    first, names = rows.iloc[0], list[str]()
    if not pd.isna(first["rank"]):
        place, others = (first["group"], first["rank"]), rows.to_dict("records")[1:]
        names = [escape.plain(row["name"]) for row in others if (row["group"], row["rank"]) == place]
    more = f" and {len(names) - 2} more" * (len(names) > 2)
    return _said(first) + (f" (tied: {', '.join(names[:2])}{more})" if names else "")


def _said(row: Any) -> str:
    """One solver in a few words."""
    words = f"{escape.plain(row['name'])} at {_loss(row)}"
    if not pd.isna(row["gap_to_floor"]):
        gap = row["gap_to_floor"]
        above = "at" if abs(gap) < 0.005 else f"{abs(gap):.2f} {'above' if gap > 0 else 'below'}"
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


def _name(row: Any, shift: str = "") -> str:
    """A solver, with the law it was fitted on unless that is said of all; a star if its parameters came along."""
    where = f" ({row['trained_on']})" if row["trained_on"] not in ("", shift) else ""
    return row["solver"] + where + "*" * (row["parameters"] == "shipped")


def slug(row: Any) -> str:
    """A law as a part of a file's name: N is in it where it is not 4 d."""
    parts = [part.replace(" = ", "") for part in _short(row)]
    return "".join(letter if letter.isalnum() or letter in "_.-" else "-" for letter in "_".join([row["law"], *parts]))


UNTOLD = {"num_queries", "law_seed", "spectrum", "level", "folds", "target"}
"""Parameters of laws that tell nothing, or nothing that another parameter does not tell."""


def _parts(row: Any) -> list[str]:
    """The sizes of a law, and the words and numbers among its parameters that tell it from others of its name."""
    given = {"noise": row["noise_std"] or None, **json.loads(row["law_params"])}
    told = {key: value for key, value in given.items() if key not in UNTOLD and (key, value) != ("rotation", "shared")}
    numbers = {key: f"{v:g}" for key, v in told.items() if isinstance(v, int | float) and not isinstance(v, bool)}
    words = {key: value for key, value in told.items() if isinstance(value, str)}
    sizes = {"d": row["d"], "N": row["N"]}
    parts = [f"{key} = {value}" for key, value in {**sizes, **numbers, **words}.items()]
    return parts + [str(row[key]) for key, usual in (("draw", "plain"), ("protocol", "held_out")) if row[key] != usual]


def _short(row: Any) -> list[str]:
    """The same without an N of 4 d, which is usual."""
    return [part for part in _parts(row) if part != f"N = {4 * row['d']}"]


def _title(row: Any, short: bool = False) -> str:
    """A law, and its parts."""
    parts = [part.replace(" = ", "=") for part in _short(row)] if short else _parts(row)
    return escape.plain(row["law"]) + ("\n" if short else ", ") + (" " if short else ", ").join(parts)
