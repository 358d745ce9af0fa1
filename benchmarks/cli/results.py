"""`memformer-bench results ...`: finished runs, years later. Nothing heavy is imported for `--help`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.cli.options import RESULTS, Results, read_runs, say
from benchmarks.errors import UserError

results_app = typer.Typer(
    help="Finished runs: check, compare and merge them, remove what is left over, export to Parquet.",
    epilog="Example:  memformer-bench results compare core-reference my-run --fail-on loss",
    no_args_is_help=True,
)


class Change(StrEnum):
    """Changes that `compare --fail-on` can fail on."""

    LOSS = "loss"
    TIME = "time"
    STATUS = "status"
    ROWS = "rows"


Runs = Annotated[list[str] | None, typer.Argument(help="Runs by name or path; by default all of them.")]


TRIES = 5
"""How often what could not be removed is tried again, since a run can be taken up, killed and left at any moment."""


@results_app.command(epilog="Example:  memformer-bench results validate core-reference")
def validate(runs: Runs = None, results: Results = RESULTS) -> None:
    """Check runs to the last row: schema, identities, counts, intervals, losses. Exit status 1 if one is bad."""
    from benchmarks.cli.listing import find_runs
    from benchmarks.runs.read import read_run
    from benchmarks.runs.validate import problems

    bad = 0
    for path in find_runs(_all(runs, results), results / "runs"):
        try:
            found = problems(read_run(path))
        except UserError as error:
            found = [str(error)]
        bad += bool(found)
        for line in found:
            say(f"{path.name}: {line}")
        if not found:
            say(f"{path.name}: good")
    if bad:
        raise typer.Exit(1)


@results_app.command(epilog="Example:  memformer-bench results compare before after --fail-on loss --fail-on time")
def compare(
    first: Annotated[str, typer.Argument(metavar="A", help="A run by name or path.")],
    second: Annotated[str, typer.Argument(metavar="B", help="The run that is compared with it.")],
    fail_on: Annotated[
        list[Change] | None,
        typer.Option(
            help="Exit status 1 if a loss or time got worse, a solver fails anew, rows are missing in B; or if "
            "something of that kind in A could not be compared, or nothing at all could."
        ),
    ] = None,
    ci: Annotated[bool, typer.Option("--ci", help="For CI: --fail-on loss, status and rows.")] = False,
    loss: Annotated[float, typer.Option(min=0, help="Log losses that differ by less count as the same.")] = 0.001,
    time: Annotated[float, typer.Option(min=1, help="Times that differ by a smaller factor count as the same.")] = 1.5,
    results: Results = RESULTS,
) -> None:
    """What changed from A to B: losses by paired intervals, times by ratio, statuses, rows that came and went.

    Refuses to compare runs whose laws drew different tasks.
    """
    from benchmarks.runs.compare import compare_runs

    before, after = read_runs([first, second], results)
    changes = compare_runs(before, after, loss, time)
    for line in changes.lines():
        say(line)
    kinds = [*(fail_on or []), *([Change.LOSS, Change.STATUS, Change.ROWS] if ci else [])]
    failed = [kind.value for kind in dict.fromkeys(kinds) if changes.fails(kind)]
    if failed:
        say(f"failed: {', '.join(failed)}", err=True)
        raise typer.Exit(1)


@results_app.command(epilog="Example:  memformer-bench results merge cpu-part gpu-part --name whole")
def merge(
    runs: Annotated[list[str], typer.Argument(help="Runs by name or path, two or more.")],
    name: Annotated[str, typer.Option(help="Name of the merged run.")],
    last: Annotated[bool, typer.Option("--last", help="Where runs disagree, take the one measured last.")] = False,
    results: Results = RESULTS,
) -> None:
    """Merge runs into a new one; those they are made from stay. A cell that several hold is taken once."""
    from benchmarks.runs.merge import merge_runs

    path = merge_runs(read_runs(runs, results), results / "runs", name, last)
    say(f"written to {path}")


@results_app.command(epilog="Example:  memformer-bench results prune --yes")
def prune(
    yes: Annotated[
        bool, typer.Option("--yes", help="Remove it; without this, only say what would be removed.")
    ] = False,
    results: Results = RESULTS,
) -> None:
    """Remove unfinished runs that no process is writing, and fitted parameters of other source than this."""
    from benchmarks.runs.prune import left_over, remove

    gone: list[int] = []
    kept: list[Path] = []
    for path, size, why in left_over(results):
        say(f"{path.relative_to(results)}  {size / 1e6:.1f} MB  {why}")
        if not yes or remove(path):
            gone.append(size)
        else:
            kept.append(path)
    for _ in range(TRIES if kept else 0):  # what another process takes up meanwhile, and may leave again
        kept = [path for path, _, _ in left_over(results) if path in kept and not remove(path)]
    for path in kept:
        say(f"{path.relative_to(results)} could not be removed", err=True)
    say(f"{'removed' if yes else 'would remove'} {len(gone)} ({sum(gone) / 1e6:.1f} MB)")
    if kept:
        raise typer.Exit(1)


@results_app.command(epilog="Example:  memformer-bench results export core-reference --output tables")
def export(
    runs: Runs = None,
    output: Annotated[Path, typer.Option(help="Folder that scores.parquet and timings.parquet are written to.")] = Path(
        "tables"
    ),
    results: Results = RESULTS,
) -> None:
    """Write the tables of runs to Parquet, with the run's name and time as further columns."""
    from benchmarks.runs.export import export_runs

    for path in export_runs(read_runs(_all(runs, results), results), output):
        say(f"written to {path}")


def _all(runs: list[str] | None, results: Path) -> list[str]:
    """The named runs, or all."""
    from benchmarks.runs.read import list_runs

    return runs or [path.name for path in list_runs(results / "runs")]
