"""`memformer-bench check`. Nothing heavy is imported for `--help`."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Annotated, Literal

import typer

from benchmarks.cli.options import Plugins, say


def check(
    against: Annotated[str, typer.Option(metavar="REF", help="Commit, branch or tag to compare the checkout with.")],
    only: Annotated[Literal["speed", "losses"] | None, typer.Option(help="Only this half.")] = None,
    solver: Annotated[list[str] | None, typer.Option(help="Only cases of this solver; repeatable.")] = None,
    plugin: Plugins = None,
    message: Annotated[
        str,
        typer.Option(
            envvar="MEMFORMER_BENCH_MESSAGE",
            help="Text of the pull request: lines 'Slower: solve cg 10 % (why)' accept that, as in commit messages.",
        ),
    ] = "",
    every: Annotated[
        bool, typer.Option("--all", help="Measure cases too that run nothing which differs from REF.")
    ] = False,
    minutes: Annotated[float, typer.Option(min=0.0, help="After which only what looks slower is timed further.")] = 4.0,
    output: Annotated[Path | None, typer.Option(help="File for the report; by default the terminal.")] = None,
) -> None:
    """Is this checkout slower than another commit, or its test loss worse? Measures both in turn on this machine.

    Exit status: 0; 1 if something is slower, worse or broken, or if too little could be compared to judge; 2 for a
    mistake in what was asked.
    """
    from benchmarks.regression.gate.check import check as compare
    from benchmarks.regression.gate.report import markdown
    from benchmarks.reports.write import writing

    if output is not None:
        there = output.exists()
        with writing(output):  # fails now, and not after minutes of measuring
            output.open("a").close()
        if not there:
            output.unlink()
    tick = functools.partial(say, err=True)
    verdict = compare(against, Path.cwd(), tick, only, solver or (), plugin or (), message, minutes, every)
    for note in verdict.notes:
        say(f"note: {note}", err=True)
    for failure in verdict.failures:
        say(f"failed: {failure}", err=True)
    for reason in verdict.unjudged:
        say(f"not judged: {reason}", err=True)
    if output is None:
        say(markdown(verdict))
    else:
        with writing(output):
            output.write_text(markdown(verdict), encoding="utf-8")
        say(f"written to {output}")
    if not verdict.passed:
        raise typer.Exit(1)
