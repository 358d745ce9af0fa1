"""`memformer-bench site`. Nothing heavy is imported for `--help`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from benchmarks.cli.options import RESULTS, Results, read_runs, say


def site(
    runs: Annotated[list[str] | None, typer.Argument(help="Runs by name or path; by default the latest.")] = None,
    output: Annotated[Path, typer.Option(help="Folder of the site; one that is there is replaced.")] = Path(
        "build/site"
    ),
    results: Results = RESULTS,
) -> None:
    """Make a site of runs, studies and the paper's verdicts: open index.html, or put the folder on any server.

    Nothing in it is fetched from elsewhere. Studies and verdicts are those in the folder of results.
    """
    from benchmarks.site.build import site as every_file
    from benchmarks.site.build import write_site

    files = every_file(read_runs(runs, results), results)
    write_site(files, output)
    say(f"written: {output / 'index.html'} and {len(files) - 1} other files")
