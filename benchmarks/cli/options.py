"""What several commands take, and what they do with it. Nothing heavy is imported for `--help`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from benchmarks.runs.read import Run

Plugins = Annotated[
    list[str] | None,
    typer.Option("--plugin", help="A Python file or module that registers solvers or laws of your own; repeatable."),
]
Results = Annotated[Path, typer.Option("--results", help="Folder of results; runs are kept in its subfolder runs.")]
RESULTS = Path("results")


def say(text: object, err: bool = False, nl: bool = True) -> None:
    """Print what may name things of strangers: a terminal is sent no control characters."""
    from benchmarks.reports.escape import lines

    typer.echo(lines(text), err=err, nl=nl)


def load_plugins(plugins: Sequence[str] | None) -> None:
    """Let plug-ins register what they bring.

    Raises:
        UserError: see `benchmarks.harness.resolve.load_plugin`.
    """
    for plugin in plugins or ():
        from benchmarks.harness.resolve import load_plugin

        load_plugin(plugin)


def read_runs(names: Sequence[str] | None, results: Path) -> list[Run]:
    """The named runs, or the latest one.

    Raises:
        UserError: if there is no such run, or it cannot be read.
    """
    from benchmarks.cli.listing import find_runs
    from benchmarks.runs.read import read_run

    return [read_run(path) for path in find_runs(names, results / "runs")]
