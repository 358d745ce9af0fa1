"""The report: one page that needs nothing else, and the verdicts as Markdown, now and before."""

from __future__ import annotations

import base64
import io
import re
from collections import Counter
from collections.abc import Sequence
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any

from benchmarks.experiments.experiment import read_toml
from benchmarks.experiments.paper.curves import EXACT, Point, by_layers
from benchmarks.experiments.paper.entries import PaperExperiment
from benchmarks.experiments.paper.verdicts import MARGIN
from benchmarks.reports.template import render, table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_ROOM = "benchmarks.experiments.paper"

Row = dict[str, Any]


def agreement(experiment: PaperExperiment, curves: dict[str, Any], redone: Sequence[Point]) -> list[Row]:
    """The redone curves beside independent re-runs and the published figure.

    Returns:
        One row a curve and number of layers: `figure`, `redone` (mean over seeds), `std`, `re_run`, and `agrees`:
        within 0.02 of the re-run for curves without training, within two standard deviations (the larger of both
        runs', at least 0.02) for trained ones; empty where there is no re-run.
    """
    untrained = {entry.curve for entry in experiment.baselines}
    on_fit = {entry.curve for entry in experiment.models if entry.scored == "fit"}
    rows = []
    for curve, values in curves.items():
        kind = "fit_" if curve in on_fit and "fit_mean" in values else ""
        means, deviations = values.get(f"{kind}mean"), values.get(f"{kind}std") or [0.0] * len(values["layers"])
        for layers, own in by_layers(redone, experiment.id, curve).items():
            i = values["layers"].index(layers)
            spread = stdev(own) if len(own) > 1 else 0.0
            row = {"experiment": experiment.id, "curve": curve, "layers": layers, "figure": values["figure"][i]}
            row |= {"redone": fmean(own), "std": spread, "re_run": None, "agrees": ""}
            if means:
                allowed = max(0.02, 2 * max(spread, deviations[i])) if curve not in untrained else 0.02
                row |= {"re_run": means[i], "agrees": "yes" if abs(fmean(own) - means[i]) <= allowed else "no"}
            rows.append(row)
    return rows


def deviations(rows: Sequence[Row]) -> list[str]:
    """Rows of `agreement` that do not agree, a sentence each."""
    return [
        f"{row['experiment']}, {row['curve']}, {row['layers']} layers: redone {row['redone']:.2f} "
        f"(std {row['std']:.2f}), independent re-run {row['re_run']:.2f}, figure {row['figure']:.2f}"
        for row in rows
        if row["agrees"] == "no"
    ]


_NAMES = {"published": "as published", "fresh": "fresh tasks: log ratio [95 % interval]"}
"""Columns of the verdict table whose names are for people."""


def shown(verdicts: Sequence[Row]) -> list[Row]:
    """The verdict table without what is for the first lines."""
    return [{_NAMES.get(k, k): v for k, v in row.items() if k not in ("topic", "short")} for row in verdicts]


def lines(judged: Sequence[Row], comparisons: int) -> list[str]:
    """One line that counts verdicts, and one for each topic, in the order of the table."""
    counted = Counter(_word(row["verdict"]) for row in judged)
    counts = ", ".join(f"{number} {word}" for word, number in counted.most_common())
    first = f"**{len(judged)} claims**, {comparisons} comparisons on fresh tasks: {counts}."
    topics: dict[str, list[str]] = {}
    for row in judged:
        topics.setdefault(row["topic"], []).append(row["short"])
    return [first, *(f"**{topic}.** {'; '.join(told)}." for topic, told in topics.items())]


def _word(verdict: str) -> str:
    """The verdict without what stands beside it."""
    return re.split(r" \(|,|:", verdict)[0]


def _of_rows(rows: Sequence[Row]) -> str:
    return table([row.values() for row in rows], list(rows[0]) if rows else [])


def verdicts_markdown(verdicts: Sequence[Row], comparisons: int, remarks: Sequence[str]) -> str:
    """The verdicts as Markdown: the lines for people, the table, the rule."""
    facts = {"lines": lines(verdicts, comparisons), "table": _of_rows(shown(verdicts))}
    return render(_ROOM, "verdicts.md.jinja", **facts, rule=rule(), remarks=remarks)


def rule() -> str:
    """How a verdict is found, in words; what is stressed stands between asterisks."""
    return render(_ROOM, "rule.md.jinja", margin=f"{MARGIN:g}").rstrip()


def changes_markdown(judged: Sequence[Row]) -> str:
    """Verdicts before and after, as Markdown."""
    return "# Verdicts before, after, and why\n\nBefore is commit 76bd9b2.\n\n" + (
        _of_rows(before_and_after(judged)) + "\n\nWritten by `memformer-bench run paper`.\n"
    )


def before_and_after(judged: Sequence[Row]) -> list[Row]:
    """One row a claim: what commit 76bd9b2 said, what is said now, and why."""
    before, rows = changes_before(), []
    for row in judged:
        old = before.get((row["claim"], row["experiment"]), {"verdict": "", "why": "was not judged"})
        why = old.get("why", "same comparison, with Holm's correction and a margin")
        rows.append({key: row[key] for key in ("claim", "experiment")} | {"before": old["verdict"]})
        rows[-1] |= {"after": row["verdict"], "why": why}
    return rows


def changes_before() -> dict[tuple[str, str], Row]:
    """By claim and experiment: its `verdict` at commit 76bd9b2, and `why` it is judged otherwise, if it is."""
    return {(entry["claim"], entry["experiment"]): entry for entry in read_toml(_ROOM, "before.toml")["before"]}


def page(
    experiments: list[PaperExperiment],
    figures: dict[str, Figure],
    agreements: dict[str, list[Row]],
    honest: dict[str, list[Row]],
    verdicts: list[Row],
    comparisons: int,
) -> str:
    """The whole report as one HTML page, figures inside."""
    return render(
        _ROOM,
        "report.html.jinja",
        experiments=experiments,
        figures={name: _data(drawn) for name, drawn in figures.items()},
        agreements=agreements,
        honest={name: _wide(rows) for name, rows in honest.items()},
        lines=[line.replace("**", "") for line in lines(verdicts, comparisons)],
        verdicts=shown(verdicts),
        rule=rule().replace("**", ""),
    )


def _wide(rows: list[Row]) -> list[Row]:
    """Solvers by steps: log mean, ± half the interval, gap to the floor."""

    def cell(row: Row) -> str:
        if row["log_mean"] < EXACT:
            return "exact"
        gap = "" if row["gap_to_floor"] != row["gap_to_floor"] else f" (gap {row['gap_to_floor']:+.3f})"
        return f"{row['log_mean']:.3f} ±{(row['log_high'] - row['log_low']) / 2:.3f}{gap}"

    steps = sorted({row["steps"] for row in rows})
    wide: dict[str, Row] = {}
    for row in rows:
        wide.setdefault(row["label"], {"solver": row["label"], **dict.fromkeys(steps, "")})[row["steps"]] = cell(row)
    return list(wide.values())


def _data(drawn: Figure) -> str:
    buffer = io.BytesIO()
    drawn.savefig(buffer, format="svg", metadata={"Date": None})
    return "data:image/svg+xml;base64," + base64.b64encode(buffer.getvalue()).decode()
