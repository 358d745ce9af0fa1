"""`memformer-bench views ...`: each view of a run as CSV, SVG and PNG. Nothing heavy is imported for `--help`."""

import inspect
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from benchmarks.cli.options import RESULTS, Results, read_runs, say
from benchmarks.errors import UserError

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from benchmarks.reports.comparison import Setting
    from benchmarks.runs.read import Run

    Part = tuple[str, pd.DataFrame | None, Figure | None]

views_app = typer.Typer(
    help="Views of a run beside the leaderboard: tables (CSV) and figures (SVG, PNG), one of each a law and d.",
    epilog="Example:  memformer-bench views pairwise core-reference --law isotropic --steps 3 --output figures",
    no_args_is_help=True,
)


RunName = Annotated[str | None, typer.Argument(metavar="[RUN]", help="A run by name or path; by default the latest.")]
Output = Annotated[Path, typer.Option("--output", help="Folder that is written to.")]
Classic = Annotated[str, typer.Option("--classic", help="Solver whose mean losses are the targets.")]
FIGURES, CLASSIC = Path("figures"), "heavy_ball_tuned"


def _settings(
    run: RunName = None,
    results: Results = RESULTS,
    law: Annotated[str | None, typer.Option(help="Only this law.")] = None,
    d: Annotated[int | None, typer.Option(min=1, help="Only this dimension.")] = None,
    solver: Annotated[list[str] | None, typer.Option(help="Only this solver; repeatable.")] = None,
    metric: Annotated[str | None, typer.Option(help="Loss to compare; by default the expected test loss.")] = None,
    classic: str | None = None,
) -> Iterator["Setting"]:
    """The settings that the options choose; the solver whose losses are the targets is always among the solvers."""
    from benchmarks.reports.comparison import settings
    from benchmarks.reports.escape import plain

    wanted = [*(solver or [])]
    if wanted and classic and classic not in wanted:
        wanted.append(classic)
    for setting in settings(_latest(run, results), law, d, wanted, metric):
        for label, why in setting.left_out.items():
            say(plain(f"left out: {label}: {why} ({setting.title})"), err=True)
        yield setting


def _view(make: Callable[..., Iterator["Part"]]) -> None:
    """Add a command that writes what `make` yields of each setting: name of the files, table, figure.

    It takes the options of `make`, and what `_settings` and `_write` need.
    """
    _, *own = inspect.signature(make).parameters.values()
    run, *shared, _ = inspect.signature(_settings).parameters.values()

    def command(output: Output = FIGURES, **options: Any) -> None:
        given = {one.name: options.pop(one.name) for one in own}
        for setting in _settings(**options, classic=given.get("classic")):
            for part in make(setting, **given):
                _write(output, *part)

    parameters = [run, *own, inspect.signature(command).parameters["output"], *shared]
    command.__annotations__ = {one.name: one.annotation for one in parameters}
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    views_app.command(make.__name__, help=make.__doc__)(command)


@_view
def pairwise(
    setting: "Setting",
    steps: Annotated[
        list[int] | None, typer.Option(help="Number of steps; repeatable; by default all that two solvers have.")
    ] = None,
) -> Iterator["Part"]:
    """Fixed budgets: intervals and ties, every pair with Holm's correction, critical-difference diagram."""
    from benchmarks.reports.critical_difference import critical_difference_figure
    from benchmarks.reports.escape import plain
    from benchmarks.reports.pairwise import pairwise as view
    from benchmarks.reports.pairwise import standing, standing_figure

    for budget in steps or setting.steps:
        if len(setting.at(budget)) < 2:
            why = f"fewer than two solvers were scored after {budget} steps on {setting.title}"
            if steps:
                raise UserError(why)
            say(plain(f"left out: {why}"), err=True)
            continue
        pairs = view(setting, budget)
        table = standing(setting, budget, pairs)
        name = f"{setting.slug}_k{budget}"
        yield f"pairwise_{name}", pairs, None
        yield f"standing_{name}", table, standing_figure(setting, table)
        yield f"ranks_{name}", None, critical_difference_figure(setting, table)


@_view
def targets(setting: "Setting", classic: Classic = CLASSIC) -> Iterator["Part"]:
    """Steps and warm time to the losses that a tuned classic reaches after 1, 2, ... steps."""
    from benchmarks.reports.targets import targets as view
    from benchmarks.reports.targets import targets_figure

    table = view(setting, classic)
    yield f"targets_{setting.slug}", table, targets_figure(setting, table)


@_view
def ecdf(setting: "Setting", classic: Classic = CLASSIC) -> Iterator["Part"]:
    """Share of (task, target) pairs solved after so many steps."""
    from benchmarks.reports.ecdf import ecdf as view
    from benchmarks.reports.ecdf import ecdf_figure

    table = view(setting, classic)
    yield f"ecdf_{setting.slug}", table, ecdf_figure(setting, table)


@_view
def profile(
    setting: "Setting",
    classic: Classic = CLASSIC,
    cost: Annotated[Literal["steps", "seconds"], typer.Option(help="What is counted.")] = "steps",
) -> Iterator["Part"]:
    """Performance profiles, with the pairwise speed-ups next to them."""
    from benchmarks.reports.profile import profile as view
    from benchmarks.reports.profile import profile_figure, speedups

    curves, pairs = view(setting, classic, cost), speedups(setting, classic, cost)
    name = f"{cost}_{setting.slug}"
    yield f"profile_{name}", curves, profile_figure(setting, curves, pairs)
    yield f"speedups_{name}", pairs, None


@_view
def pareto(setting: "Setting") -> Iterator["Part"]:
    """Loss against warm wall-clock time, with the Pareto front."""
    from benchmarks.reports.pareto import pareto as view
    from benchmarks.reports.pareto import pareto_figure

    table = view(setting)
    yield f"pareto_{setting.slug}", table, pareto_figure(setting, table)


@views_app.command()
def curves(
    run: RunName = None,
    law: Annotated[list[str] | None, typer.Option(help="Only this law; repeatable, as are the next two.")] = None,
    d: Annotated[list[int] | None, typer.Option("--d", help="Only this dimension.")] = None,
    solver: Annotated[
        list[str] | None, typer.Option(help="Only this solver; by default the best and all learned.")
    ] = None,
    output: Output = FIGURES,
    results: Results = RESULTS,
) -> None:
    """Loss against steps with floors dashed, from the tables alone: the committed run can be drawn as well."""
    from benchmarks.reports.loss_curves import curves_figure, loss_curves
    from benchmarks.runs.ranking import choose, rank

    ranked = choose(rank([_latest(run, results)]), law=law, d=d, solver=solver)
    for slug, title, table in loss_curves(ranked, solver or ()):
        _write(output, f"curves_{slug}", table, curves_figure(title, table))


@views_app.command()
def scaling(
    run: RunName = None,
    steps: Annotated[int, typer.Option(min=1, help="Steps at which iterative methods are drawn.")] = 8,
    output: Output = FIGURES,
    results: Results = RESULTS,
) -> None:
    """Growth with d, N, batch and steps: exponents beside the expected ones; where a learned method is the fastest."""
    from benchmarks.experiments.scaling.report import report
    from benchmarks.reports.escape import plain

    made = report(_latest(run, results), steps)
    _say(made.write(output, png=True))
    say(plain(made.texts["scaling.md"].splitlines()[-1]))


@views_app.command(epilog="First:  memformer-bench run transfer")
def transfer(
    table: Annotated[Path, typer.Argument(help="CSV of `run transfer`: train_law, test_law, log_gap.")],
    output: Output = FIGURES,
) -> None:
    """Train-law by test-law matrix of the log gap, as a heat map."""
    from benchmarks.experiments.transfer.matrix import read_transfer, transfer_figures

    for name, (part, drawn) in transfer_figures(read_transfer(str(table))).items():
        _write(output, name, part, drawn)


@views_app.command(epilog="First:  memformer-bench run real")
def real(
    run: RunName = None,
    output: Output = FIGURES,
    results: Results = RESULTS,
) -> None:
    """A run on real data: a page of what it says (real.md), its table (real.csv) and its figure (real.svg)."""
    from benchmarks.experiments.real.report import report

    _say(report(_latest(run, results)).write(output))


def _latest(name: str | None, results: Path) -> "Run":
    """The run of that name, or the latest, if figures can be drawn of it."""
    from benchmarks.reports.style import figure

    figure(1.0, 1.0)  # what is missing is said before anything is written
    return read_runs([name] if name else None, results)[0]


def _write(folder: Path, name: str, table: "pd.DataFrame | None", figure: "Figure | None") -> None:
    from benchmarks.reports.write import Report

    tables, figures = {} if table is None else {name: table}, {} if figure is None else {name: figure}
    _say(Report(tables, figures, form="%.6g").write(folder, png=True))


def _say(written: list[Path]) -> None:
    say(f"written: {', '.join(map(str, written))}")
