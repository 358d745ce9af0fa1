"""`memformer-bench list`, `show` and `env`. Nothing heavy is imported for `--help`."""

from __future__ import annotations

import json
from typing import Annotated, Literal, get_args

import typer

from benchmarks.cli.options import RESULTS, Plugins, Results, load_plugins, say

Kind = Literal["suites", "experiments", "laws", "solvers", "metrics", "runs"]


def list_(
    kind: Annotated[Kind | None, typer.Argument(help="What to list; all of it by default.")] = None,
    plugin: Plugins = None,
    results: Results = RESULTS,
) -> None:
    """List suites, experiments, laws, solvers, metrics and runs."""
    load_plugins(plugin)
    from benchmarks.cli.listing import lines

    for one in get_args(Kind) if kind is None else [kind]:
        typer.secho(one, bold=True)
        for name, summary in lines(one, results / "runs"):
            say(f"  {name:<30} {summary}".rstrip())


def show(
    name: Annotated[str, typer.Argument(help="Anything that `list` shows, by id; or the path of a run.")],
    plugin: Plugins = None,
    results: Results = RESULTS,
) -> None:
    """Show what one thing is: how a solver or law is defined, what a suite or experiment does, how a run was made."""
    load_plugins(plugin)
    from benchmarks.cli.listing import describe

    say(describe(name, results / "runs"))


def env() -> None:
    """Print versions, machine and commit: what every run keeps in its meta.json."""
    from benchmarks.runs.environment import describe

    say(json.dumps(describe(), indent=1))
