"""The command line of memformer-bench: `run`, `list`, `show`, `leaderboard`, `fit`, `env`, and those of the rooms.

Nothing heavy is imported until a command needs it, so that `--help` answers at once.
"""

from __future__ import annotations

import json
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from benchmarks.cli.check import check
from benchmarks.cli.paper import judge
from benchmarks.cli.results import results_app
from benchmarks.cli.views import views_app
from benchmarks.errors import UserError

if TYPE_CHECKING:
    from benchmarks.harness.run import Finished
    from benchmarks.suites.suite import Suite

app = typer.Typer(
    help="Benchmark learned and classical first-order methods on random regression tasks.",
    epilog="Start with: memformer-bench run smoke",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)

app.add_typer(views_app, name="views")
app.add_typer(results_app, name="results")

Plugins = Annotated[
    list[str] | None,
    typer.Option("--plugin", help="A Python file or module that registers solvers or laws of your own; repeatable."),
]
Results = Annotated[Path, typer.Option("--results", help="Folder of results; runs are kept in its subfolder runs.")]
RESULTS = Path("results")


class Kind(StrEnum):
    """What `list` can list."""

    SUITES = "suites"
    EXPERIMENTS = "experiments"
    LAWS = "laws"
    SOLVERS = "solvers"
    METRICS = "metrics"
    RUNS = "runs"


class TableFormat(StrEnum):
    """Forms of the leaderboard."""

    TERMINAL = "terminal"
    MARKDOWN = "markdown"
    CSV = "csv"
    LATEX = "latex"


def main() -> NoReturn:
    """Entry point: exit status 0, 1 if something in a run failed, 2 for a mistake of the user's."""
    try:
        app()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(0)
    sys.exit(0)


@app.command(
    epilog="Examples:  memformer-bench run smoke  ·  memformer-bench run my_suite.toml --plugin my_solver.py",
)
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
        list[str] | None, typer.Option(help="Only this part of an experiment: paper a, transfer lfom, ...; repeatable.")
    ] = None,
) -> None:
    """Run a suite or an experiment.

    A suite: fit, score and time every solver on every law, and write the tables. An experiment does what
    `memformer-bench show ID` says, and writes tables, figures and conclusions into its folder of results.

    Exit status: 0, or 1 if a row failed (diverged, nonfinite, error, time limit); it is in the table with its reason.
    """
    from benchmarks.cli.progress import make_progress
    from benchmarks.experiments.experiment import Request, choose, find_experiment
    from benchmarks.harness.run import run_suite

    experiment = find_experiment(suite)
    options = {"plugin": plugin, "name": name, "scheduler": scheduler, "resume": resume, "refit": refit}
    experiment.refuse(option for option, given in {**options, "quick": quick, "only": only}.items() if given)
    _load_plugins(plugin)
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
            typer.echo(f"interrupted: {left}", err=True)
            raise typer.Exit(130) from None
    for path in dict.fromkeys([*written, finished.path]):
        typer.echo(f"written to {path}")
    for alarm in finished.alarms:
        typer.echo(f"alarm: {alarm}", err=True)
    for failure in finished.failures:
        typer.echo(f"failed: {failure}", err=True)
    if finished.failures:
        raise typer.Exit(1)


app.command(epilog="Example:  memformer-bench judge paper-1 --only a --only f")(judge)


@app.command("list", epilog="Example:  memformer-bench list solvers")
def list_(
    kind: Annotated[Kind | None, typer.Argument(help="What to list; all of it by default.")] = None,
    plugin: Plugins = None,
    results: Results = RESULTS,
) -> None:
    """List suites, experiments, laws, solvers, metrics and runs."""
    _load_plugins(plugin)
    from benchmarks.cli.listing import lines

    for one in Kind if kind is None else [kind]:
        typer.echo(typer.style(one, bold=True))
        for name, summary in lines(one, results / "runs"):
            typer.echo(f"  {name:<30} {summary}".rstrip())


@app.command(epilog="Example:  memformer-bench show cg")
def show(
    name: Annotated[str, typer.Argument(help="Anything that `list` shows, by id; or the path of a run.")],
    plugin: Plugins = None,
    results: Results = RESULTS,
) -> None:
    """Show what one thing is: how a solver or law is defined, what a suite or experiment does, how a run was made."""
    _load_plugins(plugin)
    from benchmarks.cli.listing import describe

    typer.echo(describe(name, results / "runs"))


@app.command(epilog="Example:  memformer-bench leaderboard --format markdown --output results/LEADERBOARD.md")
def leaderboard(
    runs: Annotated[list[str] | None, typer.Argument(help="Runs by name or path; by default the latest.")] = None,
    form: Annotated[TableFormat, typer.Option("--format", help="Form of the tables.")] = TableFormat.TERMINAL,
    output: Annotated[Path | None, typer.Option(help="File to write to instead of the terminal.")] = None,
    results: Results = RESULTS,
) -> None:
    """Rank the solvers of one or more runs, per law and dimension, within what they need to know."""
    from benchmarks.cli.listing import find_runs
    from benchmarks.reports.leaderboard import render
    from benchmarks.runs.read import read_run

    text = render([read_run(path) for path in find_runs(runs, results / "runs")], form.value)
    if output is None:
        typer.echo(text, nl=False)
        return
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UserError(f"the leaderboard cannot be written to {output}: {error.strerror}") from None
    typer.echo(f"written to {output}")


@app.command(epilog="Example:  memformer-bench fit memformer_first_order anisotropic --steps 3")
def fit(
    solver: Annotated[str, typer.Argument(help="Id of a solver that is fitted.")],
    law: Annotated[str, typer.Argument(help="Id of the law to fit it on.")] = "isotropic",
    d: Annotated[int, typer.Option(help="Covariate dimension.")] = 5,
    n: Annotated[int, typer.Option("--N", help="Context length.")] = 20,
    noise_std: Annotated[float, typer.Option(help="Standard deviation of the label noise.")] = 0.0,
    steps: Annotated[list[int] | None, typer.Option(help="Number of steps (depth); repeatable; 1 to 4.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of training tasks and initialisation.")] = 0,
    params: Annotated[str, typer.Option(help="Hyper-parameters of the solver, as a JSON object.")] = "{}",
    plugin: Plugins = None,
    results: Results = RESULTS,
) -> None:
    """Fit one solver on one law, keep its parameters, and say what it reaches on fresh tasks."""
    _load_plugins(plugin)
    from benchmarks.cli.fit import fit_and_score
    from benchmarks.suites.entries import SolverEntry, TaskEntry

    try:
        settings = json.loads(params)
    except json.JSONDecodeError as error:
        raise UserError(f"--params is not JSON: {error}") from None
    if not isinstance(settings, dict):
        raise UserError("--params must be a JSON object such as '{\"learning_rate\": 0.03}'")
    task = TaskEntry(law=law, d=d, N=n, noise_std=noise_std)
    entry = SolverEntry(name=solver, params=settings, steps=steps or [1, 2, 3, 4])
    for line in fit_and_score(task, entry, seed, results / "parameters"):
        typer.echo(line)


app.command(epilog="Example:  memformer-bench check --against origin/main --output report.md")(check)


@app.command()
def env() -> None:
    """Print versions, machine and commit: what every run keeps in its meta.json."""
    from benchmarks.runs.environment import describe

    typer.echo(json.dumps(describe(), indent=1))


def _load_plugins(plugins: list[str] | None) -> None:
    if plugins:
        from benchmarks.harness.resolve import load_plugin

        for plugin in plugins:
            load_plugin(plugin)


if __name__ == "__main__":
    main()
