"""`memformer-bench run real`: the suite of rows of real tables, and the page and the figure of what it says."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.experiments.experiment import suite_experiment
from benchmarks.experiments.real import findings
from benchmarks.experiments.real.findings import LAW, REFERENCE, SHOWN, Reading, answers, ratio, sentences
from benchmarks.reports.style import CYCLE, caption, figure
from benchmarks.reports.template import render, table
from benchmarks.reports.write import Report
from benchmarks.runs.read import Run

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TOP = 0.8
"""The figure ends here, well above the loss of predicting the mean label; a triangle marks what is beyond."""


def report(run: Run) -> Report:
    """Page, table and figure of a run on real data.

    Raises:
        UserError: if there is nothing to be read off it.
    """
    found = findings.readings(run)
    return Report({"real": findings.table(found)}, {"real": real_figure(found)}, {"real.md": page(run, found)}, "%.6g")


def page(run: Run, found: dict[str, list[Reading]]) -> str:
    """The report in Markdown, every sentence about a result made from the tables."""
    asked = answers(found)
    return render(
        "benchmarks.experiments.real",
        "real.md.jinja",
        suite=run.meta.get("suite", {}).get("name", ""),
        tables=len({row["law_params"] for row in run.scores.to_dict("records") if row["law"] == LAW}),
        parts=sorted({len(reading.losses) for all_of in found.values() for reading in all_of}),
        sentences=sentences(asked),
        questions=[
            (
                a.question,
                a.data,
                a.steps,
                f"{a.estimate:+.3f} [{a.low:+.3f}, {a.high:+.3f}]",
                f"{a.narrow:.3f}",
                a.verdict,
            )
            for a in asked
        ],
        reference=REFERENCE,
        solvers=_solvers(found),
    )


def _solvers(found: dict[str, list[Reading]]) -> str:
    readings = [reading for all_of in found.values() for reading in all_of]
    steps = sorted({reading.steps for reading in readings})
    rows = []
    for name, needs in dict.fromkeys((reading.name, reading.needs) for reading in readings):
        cells = []
        for all_of in found.values():
            own = {reading.steps: reading for reading in all_of if reading.name == name}
            cells += [f"{own[k].log_loss:.3f}" if k in own else "" for k in (steps[0], steps[-1])]
            reference = next((r for r in all_of if (r.name, r.steps) == (REFERENCE, steps[-1])), None)
            last = ratio(own[steps[-1]], reference) if reference and steps[-1] in own else None
            cells.append(f"{last.estimate:+.2f} ± {(last.high - last.low) / 2:.2f}" if last else "")
        episodes = max(len(reading.losses[0]) for reading in readings if reading.name == name)
        rows.append([name, needs, episodes, *cells])
    shown = (f"k = {steps[0]}", f"k = {steps[-1]}", "ratio")
    heads = [f"{where.partition(' (')[0]}, {what}" for where in found for what in shown]
    return table(rows, ["solver", "told", "episodes a part", *heads])


def real_figure(found: dict[str, list[Reading]]) -> Figure:
    """A panel a data set: log ratio of mean losses to `REFERENCE` against the number of steps."""
    from matplotlib.ticker import MaxNLocator

    drawn, panels = figure(3.1 * len(found) + 0.4, 4.2, columns=len(found), sharey=True)
    lowest, shown = 0.0, {}
    for axes, (where, all_of) in zip(panels, found.items(), strict=True):
        references = {reading.steps: reading for reading in all_of if reading.name == REFERENCE}
        axes.axhline(0.0, color="#999999", lw=1.0, ls=":")
        for number, (name, label) in enumerate(SHOWN["drawn"].items()):
            own = sorted((r for r in all_of if r.name == name and r.steps in references), key=lambda r: r.steps)
            if not own:
                continue
            ratios = [ratio(reading, references[reading.steps]) for reading in own]
            # Told apart where intervals would cover each other.
            steps = [reading.steps + 0.05 * (number - len(SHOWN["drawn"]) / 2) for reading in own]
            colour, dash = CYCLE[number % len(CYCLE)], "--" if name in SHOWN["dashed"] else "-"
            ends = [[one.estimate - one.low for one in ratios], [one.high - one.estimate for one in ratios]]
            middle = [one.estimate for one in ratios]
            shown[label] = axes.errorbar(
                steps, middle, ends, fmt=dash, color=colour, marker=".", lw=1.2, elinewidth=0.8
            )
            out = [step for step, one in zip(steps, ratios, strict=True) if not one.estimate <= TOP]
            axes.plot(out, [0.97 * TOP] * len(out), "^", color=colour, ms=5)
            lowest = min([lowest, *(one.low for one in ratios if one.estimate <= TOP)])
        axes.set_title(where)
        axes.set_xlabel("layers or steps")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(axis="y", color="#eeeeee", lw=0.6)
    panels[0].set_ylim(lowest - 0.1, TOP)
    panels[0].set_ylabel(f"log loss less that of {REFERENCE}")
    drawn.legend(list(shown.values()), list(shown), loc="outside upper left", ncols=2, fontsize=7.5)
    caption(
        drawn, "below 0: better than ridge tuned by leave-one-out; bars: 95 % over parts; a triangle: beyond the top"
    )
    return drawn


REAL = suite_experiment("real", "solvers on rows of real tables, against ridge and each other", report)
