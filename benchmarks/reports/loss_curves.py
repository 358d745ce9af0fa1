"""Log loss against steps: the best of each group and everything learned, with floors dashed; from tables alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from benchmarks.errors import UserError
from benchmarks.reports.board import Board, slug
from benchmarks.reports.style import COLOURS, LEARNED, NEEDS, caption, figure, label_ends
from benchmarks.runs.schema import SCORED_ON
from benchmarks.runs.standing import ROUNDING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FLOORS = {
    "lfom_optimal": "best fixed coefficients",
    "lfom_optimal_preconditioned": "best fixed coefficients, preconditioned",
    "krylov_oracle": "best of each Krylov space",
    "krylov_oracle_preconditioned": "best of each Krylov space, preconditioned",
    "bayes": "Bayes",
    "kernel_ridge": "Bayes",
    "logistic_bayes": "Bayes",
}
"""Floors, as a figure names them."""

SAME = 0.02
"""Curves that differ by no more than this in log loss are one, under all their names."""

NAMES = 3


def loss_curves(
    ranked: pd.DataFrame, chosen: Sequence[str] = (), top: int = 2
) -> Iterator[tuple[str, str, pd.DataFrame]]:
    """The curves of each law: a short name, a title, and one row a curve and number of steps.

    Args:
        ranked: `benchmarks.runs.ranking.rank` of runs, or a part of it.
        chosen: solvers that are drawn; by default the best `top` of each group, and everything that is learned.
        top: see `chosen`.

    Returns:
        Of each law a table with `curve` (its names, or the floor's), `kind` (a group of `COLOURS`, `learned` or
        `floor`), `steps`, `log_loss`, `log_low`, `log_high`.

    Raises:
        UserError: if no solver that is drawn has a loss above rounding.
    """
    times: Counter[str] = Counter()
    for _, table in ranked.groupby(SCORED_ON, sort=False, dropna=False):
        board, name = Board(table), slug(table.iloc[0])
        times[name] += 1
        inexact = list(table.loc[_inexact(table), "solver"])
        rows: Any = board.rows[board.rows["solver"].isin(inexact)]
        kinds = np.where(rows["learned"].astype(bool), "learned", rows["group"])
        place = pd.Series(kinds, rows.index).groupby(kinds).cumcount()
        drawn = rows["solver"].isin(chosen) if chosen else (place < top) | rows["learned"].astype(bool)
        names = list(rows.index[drawn])
        if not names:
            raise UserError(f"nothing to draw: no solver chosen has a loss above rounding on {board.title}")
        curves = [part for name in names for part in [_curve(table, rows.loc[name])] if len(part)]
        found = pd.concat([*_merged(curves), *floors(table)], ignore_index=True)
        yield name if times[name] == 1 else f"{name}_{times[name]}", board.title, found


def curves_figure(title: str, table: pd.DataFrame) -> Figure:
    """Each curve with its name beside its end and its 95 % interval as a band."""
    curves = [(name, part) for name, part in table.groupby("curve", sort=False)]
    height = max(3.2, 0.2 * len(curves) + 1.2)
    drawn, (axes,) = figure(7.4, height)
    steps = sorted(set(table["steps"]))
    axes.set_xlim(steps[0] - 0.1, steps[-1] + 0.1)
    ends, last = [], []
    for name, part in curves:
        kind = part["kind"].iloc[0]
        colour = "#777777" if kind == "floor" else LEARNED if kind == "learned" else COLOURS[kind]
        style = (
            {"ls": "--", "lw": 1.0} if kind == "floor" else {"ls": "-", "lw": 1.4, "marker": "o", "ms": 3, "zorder": 3}
        )
        axes.plot(part["steps"], part["log_loss"], color=colour, **style)
        if kind != "floor":
            axes.fill_between(part["steps"], part["log_low"], part["log_high"], color=colour, alpha=0.15, lw=0)
        ends.append((str(name), float(part["log_loss"].iloc[-1]), colour))
        last.append(float(part["steps"].iloc[-1]))
    axes.set_xticks(steps)
    axes.set_xlabel("steps, or layers")
    axes.set_ylabel("log of the mean test loss (natural)")
    axes.set_title(title, loc="left", fontsize=10)
    label_ends(axes, ends, last, height - 1.0)
    kinds = [kind for kind in (*COLOURS, "learned") if kind in set(table["kind"])]
    names = {**NEEDS, "learned": "learned"}
    handles = [axes.plot([], [], color={**COLOURS, "learned": LEARNED}[k], label=names[k])[0] for k in kinds]
    axes.legend(handles=handles, loc="best")
    starred = table["curve"].str.contains("*", regex=False).any()
    words = "bands: 95 % intervals; dashed: the best that any method of a class could reach on these tasks"
    caption(drawn, words + "; *: came fitted" * bool(starred))
    return drawn


def _inexact(table: pd.DataFrame) -> Any:
    """Which rows have a loss above rounding."""
    dtypes: Any = table["dtype"]
    return table["log_loss"] > dtypes.map(ROUNDING).astype(float)


def _curve(table: pd.DataFrame, best: Any) -> pd.DataFrame:
    """A solver's losses after each number of steps, those above rounding."""
    same = (table["solver"] == best["solver"]) & (table["solver_params"] == best["solver_params"])
    own: Any = table[same & (table["trained_on"] == best["trained_on"]) & _inexact(table)]
    kind = "learned" if best["learned"] else best["group"]
    columns = ["steps", "log_loss", "log_low", "log_high"]
    return own.sort_values("steps")[columns].assign(curve=best["name"], kind=kind).astype({"log_loss": float})


def _merged(curves: Sequence[pd.DataFrame]) -> Iterator[pd.DataFrame]:
    """Curves that coincide, once, under the names of all of them."""
    groups: list[list[pd.DataFrame]] = []
    for curve in curves:
        for group in groups:
            first = group[0]
            alike = [*first["steps"], *first["kind"]] == [*curve["steps"], *curve["kind"]]
            if alike and np.allclose(first["log_loss"], curve["log_loss"], rtol=0, atol=SAME):
                group.append(curve)
                break
        else:
            groups.append([curve])
    for group in groups:
        names = [str(curve["curve"].iloc[0]) for curve in group]
        more = len(names) - NAMES
        yield group[0].assign(curve=", ".join(names[:NAMES]) + (f" + {more}" if more > 0 else ""))


def floors(table: pd.DataFrame) -> Iterator[pd.DataFrame]:
    """The floor of each class that has one, which is a row's loss less its gap."""
    known: Any = table[table["gap_to_floor"].notna() & (table["floor"] != "") & _inexact(table)]
    known = known.assign(log_loss=known["log_loss"] - known["gap_to_floor"])
    for name, part in known.groupby("floor", sort=False):
        at = part.groupby("steps", as_index=False)["log_loss"].first()
        yield at.assign(curve=FLOORS.get(str(name), str(name)), kind="floor", log_low=np.nan, log_high=np.nan)
