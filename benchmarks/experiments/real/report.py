"""The page and the figure of a run on real data."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tabulate import tabulate

from benchmarks.experiments.real.findings import (
    FIRST,
    LAW,
    REFERENCE,
    SPECTRUM,
    TRAINED,
    Answer,
    Ratio,
    Reading,
    answers,
    ratio,
    sentences,
)
from benchmarks.reports.style import CYCLE, caption, figure
from benchmarks.runs.read import Run

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DRAWN = {
    "cg": "cg",
    "heavy_ball_tuned": "heavy ball, tuned on the training rows",
    FIRST: "Memformer, trained on the training rows",
    f"{FIRST}{TRAINED}isotropic": "Memformer, trained on the isotropic law",
    f"{FIRST}{TRAINED}{SPECTRUM}": "Memformer, trained on a power-law spectrum",
    f"memformer_gated{TRAINED}isotropic, adapted": "Memformer, isotropic law, adapted to each context",
    "ols": "OLS",
    "bayes": "Bayes: regression on training rows and context",
}
"""Solvers of the figure, and what it calls them."""

TOP = 0.8
"""The figure ends here, well above the loss of predicting the mean label; a triangle marks what is beyond."""

RULE = (
    'The rule: "better" or "worse" is said where the 95 % interval of the log ratio of mean losses (Student\'s t over '
    "the parts of the rows, paired) leaves 0 out; it is not corrected for the number of questions. Log ratios are "
    "natural; below 0 the first one has the smaller loss."
)

CAVEAT = (
    "Each part is scored by solvers fitted on the other parts, rows are standardised with the training rows' mean and "
    "standard deviation, and a log loss of 0 is that of predicting their mean label. Episodes of one part share its "
    "rows and are not independent: the unit of every interval is the part, of which there are few; the column "
    '"± episodes" is what one would have said of independent episodes. The parts are scored on different rows, but any '
    "two of them share most of their training rows, so even these intervals are somewhat too narrow."
)

TOLD = (
    "What is told `law` was fitted on the training rows (or on the synthetic law it names) and may know more than a "
    "context holds: `bayes`, the regression on training rows and context together, is what those rows are worth. "
    "Nothing is told a label it is scored on."
)


def page(run: Run, found: dict[str, list[Reading]]) -> str:
    """The report in Markdown, every sentence about a result made from the tables."""
    asked = answers(found)
    known = {row["law_params"]: None for row in run.scores.to_dict("records") if row["law"] == LAW}
    parts = {len(reading.losses) for all_of in found.values() for reading in all_of}
    lines = [
        "# Real data",
        f"Run of the suite `{run.meta.get('suite', {}).get('name', '')}` on {len(known)} tables, "
        f"{'/'.join(map(str, sorted(parts)))} parts of the rows each; `memformer-bench run real` wrote this.",
        CAVEAT,
        TOLD,
        "## What it says",
        *([RULE, "\n".join(f"- {text}" for text in sentences(asked))] if asked else ["No question is answered."]),
        "## The questions",
        _questions(asked),
        f"## All solvers: log loss after the least and the most steps, and log ratio to `{REFERENCE}` after the most",
        "Log losses on fewer episodes are not those of the same episodes; the ratios are.",
        _solvers(found),
    ]
    return "\n\n".join(lines) + "\n"


def _questions(asked: list[Answer]) -> str:
    rows = [
        [
            answer.question,
            answer.data,
            answer.steps,
            f"{answer.estimate:+.3f} [{answer.low:+.3f}, {answer.high:+.3f}]",
            f"{answer.narrow:.3f}",
            answer.verdict,
        ]
        for answer in asked
    ]
    heads = ["question", "data", "k", "log ratio, 95 % over parts", "± episodes", "verdict"]
    return tabulate(rows, heads, tablefmt="github", disable_numparse=True)


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
            cells.append(_shown(ratio(own[steps[-1]], reference)) if reference and steps[-1] in own else "")
        episodes = max(len(reading.losses[0]) for reading in readings if reading.name == name)
        rows.append([name, needs, episodes, *cells])
    shown = (f"k = {steps[0]}", f"k = {steps[-1]}", "ratio")
    heads = [f"{where.partition(' (')[0]}, {what}" for where in found for what in shown]
    return tabulate(rows, ["solver", "told", "episodes a part", *heads], tablefmt="github", disable_numparse=True)


def _shown(one: Ratio) -> str:
    return f"{one.estimate:+.2f} ± {(one.high - one.low) / 2:.2f}"


def real_figure(found: dict[str, list[Reading]]) -> Figure:
    """A panel a data set: log ratio of mean losses to `REFERENCE` against the number of steps."""
    from matplotlib.ticker import MaxNLocator

    drawn, panels = figure(3.1 * len(found) + 0.4, 4.2, columns=len(found), sharey=True)
    lowest, shown = 0.0, {}
    for axes, (where, all_of) in zip(panels, found.items(), strict=True):
        references = {reading.steps: reading for reading in all_of if reading.name == REFERENCE}
        axes.axhline(0.0, color="#999999", lw=1.0, ls=":")
        for number, (name, label) in enumerate(DRAWN.items()):
            own = sorted((r for r in all_of if r.name == name and r.steps in references), key=lambda r: r.steps)
            if not own:
                continue
            ratios = [ratio(reading, references[reading.steps]) for reading in own]
            # Told apart where intervals would cover each other.
            steps = [reading.steps + 0.05 * (number - len(DRAWN) / 2) for reading in own]
            colour, dash = CYCLE[number % len(CYCLE)], "--" if name in ("ols", "bayes") else "-"
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
