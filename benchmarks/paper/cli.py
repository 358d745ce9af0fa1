"""`memformer-bench paper`. Nothing heavy is imported for `--help`."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer


def paper(
    only: Annotated[list[str] | None, typer.Option(help="Only this experiment (a, b, ...); repeatable.")] = None,
    run: Annotated[str | None, typer.Option(help="A finished run of the suite `paper` to judge by.")] = None,
    redone: Annotated[Path | None, typer.Option(help="A published_protocol.csv to take instead of redoing it.")] = None,
    output: Annotated[Path, typer.Option(help="Folder that is written to.")] = Path("results/paper"),
    results: Annotated[Path, typer.Option(help="Folder of results; runs are kept in its subfolder runs.")] = Path(
        "results"
    ),
    jobs: Annotated[int | None, typer.Option(min=1, help="Processes; by default a core each.")] = None,
) -> None:
    """Redo the paper's experiments as published and as they should be, and judge its claims.

    Writes figures, VERDICTS.md, report.html and tables. Exit status as of `run`.
    """
    from benchmarks.listing import find_runs
    from benchmarks.paper.command import paper as redo_and_judge
    from benchmarks.progress import make_progress

    given = find_runs([run], results / "runs")[0] if run else None
    command = ["memformer-bench", *sys.argv[1:]]
    with make_progress() as progress:
        written, failures = redo_and_judge(
            only or [], results, output, given, redone, jobs or os.cpu_count() or 1, command, progress
        )
    typer.echo(f"written: {len(written)} files in {output}")
    for failure in failures:
        typer.echo(f"failed: {failure}", err=True)
    if failures:
        raise typer.Exit(1)
