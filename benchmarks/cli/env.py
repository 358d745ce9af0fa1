"""`memformer-bench env`. Nothing heavy is imported for `--help`."""

from __future__ import annotations

import json

import typer


def env() -> None:
    """Print versions, machine and commit: what every run keeps in its meta.json."""
    from benchmarks.runs.environment import describe

    typer.echo(json.dumps(describe(), indent=1))
