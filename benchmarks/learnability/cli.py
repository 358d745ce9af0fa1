"""`memformer-bench learnability`. Nothing heavy is imported for `--help`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer


def learnability(
    quick: Annotated[bool, typer.Option("--quick", help="A minute's worth: fewer depths and training tasks.")] = False,
    results: Annotated[
        Path, typer.Option(help="Written to is its subfolder learnability (learnability-quick).")
    ] = Path("results"),
    jobs: Annotated[int | None, typer.Option(min=1, help="Processes; by default a core each.")] = None,
) -> None:
    """Fit learned methods to m training tasks, and say how fast their excess risk falls with m.

    Writes LEARNABILITY.md, tables and figures. The same command gives the same digits, whatever --jobs.
    """
    from benchmarks.learnability.command import learn
    from benchmarks.progress import make_progress

    with make_progress() as progress:
        for path in learn(quick, results, jobs or os.cpu_count() or 1, progress):
            typer.echo(f"written: {path}")
