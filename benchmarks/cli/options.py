"""What several commands take, and what they do with it. Nothing heavy is imported for `--help`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchmarks.errors import UserError

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
        UserError: if a file has the name of a module that is there, which it would replace, or cannot be imported.
    """
    files = [Path(plugin) for plugin in plugins or () if plugin.endswith(".py")]
    for place, file in enumerate(files):
        specs = (finder.find_spec(file.stem, None) for finder in sys.meta_path)
        origin = next((spec.origin for spec in specs if spec is not None and spec.origin), None)
        earlier = next((str(one) for one in files[:place] if one.stem == file.stem), origin)
        if earlier is not None and Path(earlier).resolve() != file.resolve():
            raise UserError(
                f"the plug-in {str(file)!r} would replace the module {file.stem} ({earlier}); give it another name"
            )
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
