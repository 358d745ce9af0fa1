"""`memformer-bench run`. Nothing heavy is imported for `--help`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchmarks.cli.options import RESULTS, Plugins, Results, load_plugins, say

if TYPE_CHECKING:
    from benchmarks.harness.run import Finished
    from benchmarks.suites.suite import Suite


def run(
    suite: Annotated[str, typer.Argument(help="Id of a suite or an experiment, or a TOML file.")] = "core",
    plugin: Plugins = None,
    results: Results = RESULTS,
    name: Annotated[str | None, typer.Option(help="Name of the run; by default suite, time and hash.")] = None,
    jobs: Annotated[
        int | None, typer.Option(min=1, help="Processes of the scores pass; by default a core each in a long run.")
    ] = None,
    scheduler: Annotated[
        str | None, typer.Option(help="Address of a Dask scheduler for the scores pass, tcp://host:8786 say.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with an interrupted run of this suite.")] = False,
    refit: Annotated[bool, typer.Option("--refit", help="Fit learned solvers anew instead of finding them.")] = False,
    quick: Annotated[bool, typer.Option("--quick", help="The short form, about a minute, of what has one.")] = False,
    only: Annotated[
        list[str] | None, typer.Option(help="Only this part of an experiment, into a folder paper-a, ...; repeatable.")
    ] = None,
) -> None:
    """Run a suite or an experiment.

    A suite: fit, score and time every solver on every law, and write the tables. An experiment does what
    `memformer-bench show ID` says, and writes tables, figures and conclusions into its folder of results.

    Exit status: 0, or 1 if a row failed (diverged, nonfinite, error, time or memory limit); the table says why.
    """
    from benchmarks.cli.progress import make_progress
    from benchmarks.experiments.experiment import Request, choose, find_experiment
    from benchmarks.harness.run import run_suite

    experiment = find_experiment(suite)
    options = {"plugin": plugin, "name": name, "scheduler": scheduler, "resume": resume, "refit": refit}
    experiment.refuse(option for option, given in {**options, "quick": quick, "only": only}.items() if given)
    load_plugins(plugin)
    if only:
        choose(f"the {experiment.kind} {experiment.id}", only, experiment.choices())
    parameters = None if refit else results / "parameters"
    command = ["memformer-bench", *sys.argv[1:]]
    written: list[Path] = []
    with make_progress() as progress:

        def execute(loaded: Suite, processes: int | None) -> Finished:
            done = run_suite(
                loaded, results / "runs", parameters, command, progress, name, processes, scheduler, resume
            )
            written.append(done.path)
            return done

        try:
            finished = experiment.carry_out(Request(results, quick, only or (), jobs, progress, execute))
        except KeyboardInterrupt:
            if written:
                left = f"the run is in {written[-1]}; there is no report of it"
            elif "resume" in experiment.options:
                left = "finished cells are kept; the same command with --resume goes on"
            else:
                left = "nothing was written"
            say(f"interrupted: {left}", err=True)
            raise typer.Exit(130) from None
    for path in dict.fromkeys([*written, finished.path]):
        say(f"written to {path}")
    for reason in finished.left_out:
        say(f"left out: {reason}", err=True)
    for alarm in finished.alarms:
        say(f"alarm: {alarm}", err=True)
    for failure in finished.failures:
        say(f"failed: {failure}", err=True)
    if finished.failures:
        raise typer.Exit(1)
