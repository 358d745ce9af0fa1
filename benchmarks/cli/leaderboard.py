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
    output: Annotated[Path | None, typer.Option(help="File to write to instead of the terminal.")] = None,
    results: Results = RESULTS,
) -> None:
    """Rank the solvers of one or more runs, per law and dimension, within what they need to know."""
    from benchmarks.reports.leaderboard import render
    from benchmarks.reports.write import writing

    text = render(read_runs(runs, results), form)
    if output is None:
        say(text, nl=False)
        return
    with writing(output, "the leaderboard"):
        output.write_text(text, encoding="utf-8")
    say(f"written to {output}")
