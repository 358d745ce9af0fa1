"""The suites of the field's tasks on one page: who leads on each law, and whether learning beats tuning there.

    python -m benchmarks.validation.field_tasks

The suites are run first, into a folder of results of their own, unless they are there already.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from typer import Argument, run

from benchmarks.reports.board import Board
from benchmarks.reports.comparison import Setting, SolverLosses, is_named, levels_of_pair, settings
from benchmarks.reports.style import CYCLE, figure, label_ends
from benchmarks.reports.template import render
from benchmarks.reports.write import Report
from benchmarks.runs.ranking import rank, solver_label
from benchmarks.runs.read import Run, read_run
from benchmarks.runs.schema import SCORED_ON
from benchmarks.statistics import compare
from benchmarks.suites.suite import load_suite

FOLDER = Path("results/field-tasks")
"""Whose runs are as large as their losses, and not committed."""

SUITES = ("context", "sparse", "glm", "shift")
"""What is on the page, in this order."""

LEARNED, TUNED = "learned", "told the law"
"""Kinds of `Board.kinds` whose leaders are compared: iterative methods that know the law, learned and not."""

HEIGHTS = (-12.0, 6.0)
"""What is drawn: below is 0 to the eye, and a model may be off by any factor at lengths that it was not trained for."""

ALWAYS = (("lfom", "nesterov_tuned"),)
"""Compared wherever both are, whoever leads."""

CURVES = ("cg", "heavy_ball_tuned", "memformer_gdpp", "transformer_softmax", "nearest_neighbours", "ols", "bayes")
"""Solvers whose losses are drawn over the length of the context."""


def runs(folder: Path, jobs: int) -> Iterator[tuple[str, Run]]:
    """Each suite and its run, which is done now if it is not there."""
    for name in SUITES:
        place = folder / "runs" / name
        if not (place / "meta.json").is_file():
            words = ["run", name, "--name", name, "--results", str(folder), "--jobs", str(jobs), "--resume"]
            subprocess.run([sys.executable, "-m", "benchmarks.cli.main", *words], check=True)
        yield name, read_run(place)


def laws(done: Run) -> Iterator[tuple[str, list[str], list[str]]]:
    """Of each law its title, its readings, and how its best learned method stands to its best tuned one."""
    known = {tuple(one.identity.values()): one for one in settings(done)}
    names = list(next(iter(known.values())).identity)
    for _, table in rank([done]).groupby(SCORED_ON, sort=False, dropna=False):
        board, setting = Board(table), known.get(tuple(table.iloc[0][names]))
        title = f"{board.title}, after {board.steps} step{'s' * (board.steps != 1)}"
        yield title, board.readings(), [] if setting is None else list(_learned_against_tuned(board, setting))


def _learned_against_tuned(board: Board, setting: Setting) -> Iterator[str]:
    """The leaders of both kinds, and the pairs of `ALWAYS` that are there, a sentence each."""
    here, kinds, leaders = {entry.label: entry for entry in setting.entries}, board.kinds(), [""]
    if {LEARNED, TUNED} <= set(kinds):
        labels = [[solver_label(row) for row in kinds[kind].to_dict("records")] for kind in (LEARNED, TUNED)]
        found = [here[next(label for label in own if label in here)] for own in labels if set(own) & set(here)]
        if len(found) == len(labels):
            leaders = [one.label for one in found]
            yield f"learned against tuned: {_told(found[0], found[1], board.steps)}"
    for pair in ALWAYS:
        found = [next((here[label] for label in here if is_named(label, name)), None) for name in pair]
        if found[0] is not None and found[1] is not None and [found[0].label, found[1].label] != leaders:
            yield _told(found[0], found[1], board.steps)


def _told(first: SolverLosses, second: SolverLosses, steps: int) -> str:
    """Whether the paired 95 % interval of the log ratio of mean losses leaves out 0."""
    told = compare(first.losses[steps], second.losses[steps], levels_of_pair(first, second), first.weights)
    word = "better" if told.log_ratio_high < 0 else "worse" if told.log_ratio_low > 0 else "not told apart"
    ratio = f"log ratio {told.log_ratio:+.3f}, {told.log_ratio_low:+.3f} to {told.log_ratio_high:+.3f}"
    return f"`{first.label}` against `{second.label}`: {word} ({ratio}{'; few tasks carry it' * told.tail_limited})"


def over_length(done: Run) -> Figure:
    """Log loss over the length of the context without noise, all contexts being the first points of the same ones."""
    table: Any = rank([done])
    table = table[(table["law"] == "isotropic") & (table["noise_std"] == 0) & (table["steps"] == table["steps"].max())]
    drawn, (axes,) = figure(6.4, 3.4)
    lengths, ends = sorted(table["N"].unique()), []
    for number, name in enumerate(CURVES):
        own: Any = table[table["solver"] == name].set_index("N")["log_loss"]
        places = [N for N in lengths if N in own.index and not pd.isna(own[N])]
        if places:
            heights = np.clip([own[N] for N in places], *HEIGHTS)
            axes.plot(places, heights, marker="o", ms=2.5, color=CYCLE[number])
            ends.append((name, float(heights[-1]), CYCLE[number]))
    axes.set(xlabel="points in the context, N (d = 20)", ylabel="log test loss after 4 steps, cut at -12 and 6")
    axes.set_xticks(lengths)
    label_ends(axes, ends, float(lengths[-1]), 3.4)
    return drawn


def main(folder: Annotated[Path, Argument(help="results of the suites")] = FOLDER, jobs: int = 2) -> None:
    """Run what is not there, write the page and the figure."""
    done = dict(runs(folder, jobs))
    text = render(
        "benchmarks.validation",
        "field_tasks.md.jinja",
        suites=[(name, load_suite(name), list(laws(one))) for name, one in done.items()],
        seconds={name: round(one.meta["seconds"]) for name, one in done.items()},
    )
    report = Report(texts={"field_tasks.md": text}, figures={"field_tasks": over_length(done["context"])})
    report.write(Path("results/studies"))
    print(text)


if __name__ == "__main__":
    run(main)
