"""`memformer-bench judge`. Nothing heavy is imported for `--help`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from benchmarks.cli.options import RESULTS, Results, say


def judge(
    run: Annotated[str, typer.Argument(help="A run of the suite `paper`.")],
    only: Annotated[list[str] | None, typer.Option(help="Only this experiment (a, b, ...); repeatable.")] = None,
    redone: Annotated[Path, typer.Option(help="The redone curves.")] = Path("results/paper/published_protocol.csv"),
    output: Annotated[
        Path | None,
        typer.Option(help="Folder that is written to; by default results/paper, or paper-b of --only b."),
    ] = None,
    results: Results = RESULTS,
    jobs: Annotated[int | None, typer.Option(min=1, help="Processes; by default a core each.")] = None,
) -> None:
    """Judge the paper's claims again, from curves that `run paper` left and a run of its suite.

    Writes figures, VERDICTS.md, report.html and tables. What `experts.csv` beside the curves says is taken as well.
    """
    from benchmarks.cli.listing import find_runs
    from benchmarks.cli.progress import make_progress
    from benchmarks.experiments.experiment import Request
    from benchmarks.experiments.paper.command import redo_and_judge
    from benchmarks.harness.run import Finished

    given = Finished(find_runs([run], results / "runs")[0], [], [])
    with make_progress() as progress:
        request = Request(results, False, only or (), jobs, progress, lambda *_: given)
        folder = output or request.folder("paper")
        redo_and_judge(request, folder, redone)
    say(f"written to {folder}")
