"""`memformer-bench enter`. Nothing heavy is imported for `--help`."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.cli.options import RESULTS, Results, say


def enter(
    file: Annotated[Path, typer.Argument(help="A Python file that defines one solver, with its block '# /// entry'.")],
    output: Annotated[Path, typer.Option(help="Folder of all entries.")] = Path("baselines/entries"),
    results: Results = RESULTS,
    unsafe: Annotated[
        bool, typer.Option("--unsafe", help="Run it without a box: it can then do whatever you can.")
    ] = False,
    check_only: Annotated[bool, typer.Option("--check-only", help="Check it, score and write nothing.")] = False,
) -> None:
    """Check an entry, show what the board would show, and write the folder that a pull request needs.

    The file runs in a box that has no network, no environment and nothing of the repository; see docs/enter.md.

    Exit status: 0, or 1 if it does not keep to the contract, or its scores fail; nothing is written then.
    """
    from benchmarks.cli.progress import make_progress
    from benchmarks.entries.box import BoxError
    from benchmarks.entries.boxed import Boxed
    from benchmarks.entries.contract import broken
    from benchmarks.entries.enter import preview, refuse_taken, write
    from benchmarks.entries.metadata import read_metadata
    from benchmarks.errors import UserError

    about = read_metadata(file)
    if not check_only:
        refuse_taken(about.name)
    try:
        solver = Boxed(str(file), isolated=not unsafe)
    except BoxError as error:
        raise UserError(f"{file.name} cannot be entered: {error}") from None
    found = dict(_told(broken(solver)))
    if any(found.values()):
        say(f"{file.name} does not keep to the contract; nothing was written", err=True)
        raise typer.Exit(1)
    if check_only:
        return
    with make_progress() as progress:
        finished = preview(about, solver, results, ["memformer-bench", *sys.argv[1:]], progress)
    _show(finished.path)
    for sentence in (*finished.alarms, *finished.failures):
        say(f"failed: {sentence}", err=True)
    if finished.failures or finished.alarms:
        raise typer.Exit(1)
    entered = write(about, solver, list(found), output)
    say(f"written to {entered.folder}: {', '.join(entered.written)}; commit that folder and open a pull request")


def _told(checks: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """The checks, each said as it is known."""
    for name, why in checks:
        say(f"broken: {name}: {why}" if why else f"kept: {name}", err=bool(why))
        yield name, why


def _show(path: Path) -> None:
    from benchmarks.reports.summary import columns, summary
    from benchmarks.runs.ranking import rank
    from benchmarks.runs.read import read_run

    runs = [read_run(path)]
    say(summary(runs, rank(runs), columns()))
