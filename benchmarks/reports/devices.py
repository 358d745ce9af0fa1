"""Where times were taken: the line that every board has."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pandas as pd

from benchmarks.reports import escape
from benchmarks.runs.read import Run

DEVICES = ("cpu", "cuda", "mps")


def devices(runs: Sequence[Run]) -> str:
    """Where times were taken, and where nobody has."""
    timings = pd.concat([run.timings for run in runs])
    said = []
    for device in DEVICES:
        own = timings.loc[timings["device"] == device, "machine"].unique()
        said.append(f"{device}: {escape.plain(', '.join(own)) if len(own) else 'not measured'}")
    return "; ".join([*said, *(f"taken on a busy machine: {busy}" for run in runs for busy in _busy(run))])


def _busy(run: Run) -> Iterator[str]:
    """The load after the timings of a run, if its machine had more to do than it has cores: times are then too long."""
    load, cores = (run.meta.get("conditions") or {}).get("after_timings", {}).get("load"), run.meta.get("cores")
    if isinstance(load, int | float) and isinstance(cores, int) and load > cores + 0.5:
        yield f"load {load:.1f} on {cores} cores"
