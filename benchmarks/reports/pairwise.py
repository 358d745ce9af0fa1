"""Fixed budgets: every pair of solvers after the same number of steps, with Holm's correction, and who is tied."""

from __future__ import annotations

from dataclasses import asdict
from itertools import combinations
from textwrap import wrap
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from benchmarks.reports.comparison import Setting, levels_of_pair
from benchmarks.reports.style import COLOURS, NEEDS, caption, figure, short_names
from benchmarks.statistics import Comparison, compare, holm, letters, rank_solvers, tie_groups

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def pairwise(setting: Setting, steps: int) -> pd.DataFrame:
    """One row for each pair of solvers: paired difference and log ratio of their mean losses.

    The better solver of a pair comes first. `p_holm` is corrected over all pairs of the table; `tied` says that the
    95 % interval of the log ratio contains 0 (one pair at a time, not corrected).

    Returns:
        The setting, `steps`, `first`, `second`, the columns of `benchmarks.statistics.Comparison`, `levels`, `p_holm`,
        `p_typical_holm`, `tied`.
    """
    ordered = sorted(setting.at(steps), key=lambda entry: float(entry.pooled(steps).mean()))
    rows = []
    for a, b in combinations(ordered, 2):
        levels = levels_of_pair(a, b)
        outcome = compare(a.losses[steps], b.losses[steps], levels, a.weights)
        rows.append({"first": a.label, "second": b.label, **asdict(outcome), "levels": levels})
    table = pd.DataFrame(rows, columns=["first", "second", *Comparison.__dataclass_fields__, "levels"])
    table["p_holm"] = holm(table["p_value"].to_numpy(float))
    table["p_typical_holm"] = holm(table["p_typical"].to_numpy(float))
    table["tied"] = (table["log_ratio_low"] <= 0) & (table["log_ratio_high"] >= 0)
    for place, (name, value) in enumerate({**setting.identity, "metric": setting.metric, "steps": steps}.items()):
        table.insert(place, name, value)
    return table


def standing(setting: Setting, steps: int, pairs: pd.DataFrame | None = None) -> pd.DataFrame:
    """One row for each solver, best first: its loss with interval, its average rank over tasks, and its ties.

    Args:
        setting: law, d, N, protocol.
        steps: the budget.
        pairs: `pairwise(setting, steps)`, if it is there already.

    Returns:
        `solver`, `needs`, `log_loss` with `log_low`, `log_high`, `median`, `trimmed_mean`, `average_rank`, `ties`
        (solvers that share a letter are tied in mean loss), `critical_difference` of the average ranks (Nemenyi, 5 %),
        `friedman_p`, and `tail_limited`.
    """
    pairs = pairwise(setting, steps) if pairs is None else pairs
    entries = sorted(setting.at(steps), key=lambda entry: float(entry.pooled(steps).mean()))
    place = {entry.label: index for index, entry in enumerate(entries)}
    tied = np.eye(len(entries), dtype=bool)
    for row in pairs.to_dict("records"):
        i, j = place[row["first"]], place[row["second"]]
        tied[i, j] = tied[j, i] = row["tied"]
    marks = letters(tie_groups(tied), len(entries))
    ranking = rank_solvers(np.stack([entry.sample(steps) for entry in entries])) if len(entries) > 1 else None
    rows = []
    for index, entry in enumerate(entries):
        summary = entry.summary(steps)
        rows.append(
            {
                "solver": entry.label,
                "needs": entry.needs,
                "log_loss": summary.log_mean,
                "log_low": summary.log_low,
                "log_high": summary.log_high,
                "median": summary.median,
                "trimmed_mean": summary.trimmed_mean,
                "average_rank": ranking.average[index] if ranking else 1.0,
                "ties": marks[index],
                "tail_limited": steps in entry.tail_limited,
                "critical_difference": ranking.critical_difference if ranking else 0.0,
                "friedman_p": ranking.friedman_p if ranking else 1.0,
                "tasks": setting.tasks,
            }
        )
    return setting.table(rows, steps=steps)


def standing_figure(setting: Setting, table: pd.DataFrame) -> Figure:
    """Log loss of every solver with its interval, best on top; letters show ties, colours what a solver is told."""
    drawn, (axes,) = figure(6.6, 0.17 * len(table) + 1.35)
    rows = table.to_dict("records")
    inexact = [row for row in rows if not setting.is_exact(row["log_loss"])]
    ends = [row[end] for row in inexact for end in ("log_loss", "log_low", "log_high")]
    finite = [value for value in ends if np.isfinite(value)] or [0.0]
    span = max(max(finite) - min(finite), 0.1)
    exact = len(inexact) < len(rows)
    left, right = min(finite) - (0.12 if exact else 0.05) * span, max(finite) + 0.05 * span
    axes.set_xlim(left, right)
    for y, row in enumerate(rows):
        colour = COLOURS[row["needs"]]
        if setting.is_exact(row["log_loss"]):
            axes.plot(left, y, "<", ms=4.5, color=colour, clip_on=False)
            axes.annotate("exact", (left, y), (6, 0), textcoords="offset points", va="center", fontsize=7, color=colour)
        else:
            axes.plot([row["log_low"], row["log_high"]], [y, y], color=colour, lw=1.4, solid_capstyle="butt")
            axes.plot(row["log_loss"], y, "o", ms=4, color=colour, mfc="white" if row["tail_limited"] else colour)
        place = {"xy": (1.01, y), "xycoords": ("axes fraction", "data")}
        axes.annotate(row["ties"], **place, va="center", fontsize=7, color="#444444", annotation_clip=False)
    axes.set_yticks(range(len(rows)), short_names([row["solver"] for row in rows]))
    for tick, row in zip(axes.get_yticklabels(), rows, strict=True):
        tick.set_color(COLOURS[row["needs"]])
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.grid(axis="y", color="#eeeeee", lw=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(axis="y", length=0)
    steps = rows[0]["steps"]
    title = f"{setting.title}: after {steps} step{'s' * (steps != 1)}, {setting.tasks:,} tasks"
    drawn.suptitle("\n".join(wrap(title, 90)), fontsize=10, x=0.01, ha="left")
    axes.set_xlabel(f"log of the mean {setting.metric.replace('_', ' ')}, 95 % interval")
    needs = [name for name in COLOURS if name in set(table["needs"])]
    handles = [axes.plot([], [], "o", ms=4, color=COLOURS[name], label=NEEDS[name])[0] for name in needs]
    axes.legend(handles=handles, loc="best", handletextpad=0.2, labelspacing=0.3)
    text = "same letter: tied (the paired 95 % interval contains 0); open: carried by a few tasks, interval too narrow"
    caption(drawn, text)
    return drawn
