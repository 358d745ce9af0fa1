"""`memformer-bench leaderboard`. Nothing heavy is imported for `--help`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from benchmarks.cli.options import RESULTS, Results, read_runs, say

Form = Literal["terminal", "markdown", "csv", "latex"]


def leaderboard(
    runs: Annotated[list[str] | None, typer.Argument(help="Runs by name or path; by default the latest.")] = None,
    form: Annotated[Form, typer.Option("--format", help="Form of the tables.")] = "terminal",
    law: Annotated[list[str] | None, typer.Option(help="Only this law; repeatable, as are the next three.")] = None,
    d: Annotated[list[int] | None, typer.Option("--d", help="Only this dimension.")] = None,
    solver: Annotated[list[str] | None, typer.Option(help="Only this solver.")] = None,
    group: Annotated[list[str] | None, typer.Option(help="Only this group: nothing, L, 'mu, L', law, direct.")] = None,
    top: Annotated[int, typer.Option(min=1, help="Solvers of each group in a terminal's summary.")] = 3,
    whole: Annotated[
        bool, typer.Option("--whole", help="Every solver and step in a terminal, 200 columns wide.")
    ] = False,
    output: Annotated[Path | None, typer.Option(help="File to write to instead of the terminal.")] = None,
    results: Results = RESULTS,
) -> None:
    """Rank the solvers of one or more runs, per law and dimension, within what they need to know.

    In a terminal: a summary that fits its width. `--whole` prints everything, as the other forms do.
    """
    from benchmarks.reports.leaderboard import render
    from benchmarks.reports.summary import columns, summary
    from benchmarks.reports.write import writing
    from benchmarks.runs.ranking import choose, rank

    read = read_runs(runs, results)
    ranked = choose(rank(read), law=law, d=d, solver=solver, group=group)
    text = summary(read, ranked, columns(), top) if form == "terminal" and not whole else render(read, form, ranked)
    if output is None:
        say(text, nl=False)
        return
    with writing(output, "the leaderboard"):
        output.write_text(text, encoding="utf-8")
    say(f"written to {output}")
