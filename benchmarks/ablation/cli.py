"""`memformer-bench memory`. Nothing heavy is imported for `--help`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer


def memory(
    quick: Annotated[bool, typer.Option("--quick", help="A minute's worth: fewer depths, steps and seeds.")] = False,
    results: Annotated[Path, typer.Option(help="Written to is its subfolder memory (memory-quick).")] = Path("results"),
    jobs: Annotated[int | None, typer.Option(min=1, help="Processes; by default a core each.")] = None,
) -> None:
    """Train Memformers with every kind of memory, and say which memory reaches its floor, and how soon.

    Writes MEMORY.md, tables and figures. The same command gives the same digits, whatever --jobs.
    """
    from benchmarks.ablation.command import ablate
    from benchmarks.progress import make_progress

    with make_progress() as progress:
        for path in ablate(quick, results, jobs or os.cpu_count() or 1, progress):
            typer.echo(f"written: {path}")
