"""`memformer-bench entries ...`: the board of entries. Nothing heavy is imported for `--help`."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchmarks.cli.options import RESULTS, Results, say

if TYPE_CHECKING:
    from benchmarks.entries.build import Place

entries_app = typer.Typer(
    help="The board of entries: every entry executed anew on tasks that nobody knew when it was written.",
    epilog="Example:  memformer-bench entries report momentum",
    no_args_is_help=True,
)

Folder = Annotated[Path, typer.Option("--entries", help="Folder of all entries.")]
FOLDER = Path("baselines/entries")
VERSION_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}"
Base = Annotated[str, typer.Option(metavar="COMMIT", help="Commit that the seeds follow from; by default HEAD.")]
Unsafe = Annotated[bool, typer.Option("--unsafe", help="Run entries without a box: they can then do whatever you can.")]


@entries_app.command(epilog="Example:  memformer-bench entries board")
def board(
    version: Annotated[
        str, typer.Option(help="Name of the version; by default the one there is, or the next where an entry is new.")
    ] = "",
    base: Base = "",
    entries: Folder = FOLDER,
    results: Results = RESULTS,
    unsafe: Unsafe = False,
) -> None:
    """Execute every entry on the tasks of a version and write results/entries/board.json.

    What was executed already by this source, on laws that draw the same, is not executed again.
    """
    from benchmarks.cli.progress import make_progress
    from benchmarks.entries.board import BOARD, read_board
    from benchmarks.entries.build import build, choose_version, keep
    from benchmarks.errors import UserError

    if version and not re.fullmatch(VERSION_NAME, version):
        said = f"{version[:60]!r} cannot name a version; use at most 40 letters, digits, '.', '_' and '-'"
        raise UserError(f"{said}, a letter or digit first")
    place = _place(entries, results, unsafe)
    chosen = choose_version(place, read_board(place.board / BOARD), version, base)
    with make_progress() as progress:
        made = build(place, chosen, ["memformer-bench", *sys.argv[1:]], progress)
    keep(place, made)
    for one in made.entries:
        if one.kind == "entry":
            said = f": {one.reason}" if one.reason else f", {len(one.flags)} flags" if one.flags else ""
            said += f", {alarms} alarms" if (alarms := sum(bool(row.alarm) for row in one.rows)) else ""
            say(f"{one.name} {one.status}{said}")
    say(f"written to {place.board / BOARD}: version {chosen.name}, base {chosen.base}")


@entries_app.command(epilog="Example:  memformer-bench entries report momentum --output report.md")
def report(
    name: Annotated[str, typer.Argument(help="An entry: a folder of baselines/entries.")],
    base: Base = "HEAD",
    output: Annotated[Path | None, typer.Option(help="File to write to as well.")] = None,
    entries: Folder = FOLDER,
    results: Results = RESULTS,
    unsafe: Unsafe = False,
) -> None:
    """What a pull request with an entry is told: does it keep to the contract, and where would it stand?

    Exit status: 0, or 1 if it breaks the contract, does not run or raises an alarm; the report says why.
    """
    from benchmarks.cli.progress import make_progress
    from benchmarks.entries.board import Version
    from benchmarks.entries.build import build, head
    from benchmarks.entries.examine import examine
    from benchmarks.entries.report import report as page
    from benchmarks.reports.write import make_folder, writing

    place = _place(entries, results, unsafe)
    kept, refused = examine(place, name)
    found = None
    if not refused and not any(why for _, why in kept):
        version = Version(name="preview", base=head(place, base))
        with make_progress() as progress:
            found = build(place, version, ["memformer-bench", *sys.argv[1:]], progress)
    text = page(name, kept, found, refused)
    if output is not None:
        make_folder(output.parent)
        with writing(output):
            output.write_text(text, encoding="utf-8")
    say(text, nl=False)
    one = found.entry(name) if found is not None else None
    if one is None or one.status != "runs" or any(row.alarm for row in one.rows):
        raise typer.Exit(1)


@entries_app.command(epilog="Example:  memformer-bench entries freeze v0.1.0")
def freeze(
    tag: Annotated[str, typer.Argument(help="Of the release.")],
    root: Annotated[Path, typer.Option(help="Of the repository.")] = Path("."),
    results: Results = RESULTS,
) -> None:
    """Freeze the board for a release: results/entries/TAG.json, .zenodo.json, version and date in CITATION.cff."""
    from datetime import UTC, datetime

    from benchmarks.entries.release import freeze as write

    for path in write(tag, f"{datetime.now(UTC):%Y-%m-%d}", results / "entries", root):
        say(f"written to {path}")


def _place(entries: Path, results: Path, unsafe: bool) -> Place:
    from benchmarks.entries.build import Place
    from benchmarks.errors import UserError

    if not entries.is_dir():
        raise UserError(f"there is no folder {entries}; start in the root of a clone, or name it by --entries")
    return Place(entries, results / "entries", isolated=not unsafe)
