"""From what a cell measured to the rows of the score table."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.harness.cell import Cell, CellResult, Measured
from benchmarks.schema import ScoreRow, Status
from benchmarks.statistics import Summary, summarise
from memformer.solver import Outcome

Losses = NDArray[np.float64]

_NOTHING = Summary(*[float("nan")] * 6)


def identity(cell: Cell, steps: int) -> dict[str, Any]:
    """The identity columns of a cell after a number of steps."""
    law = cell.law
    return {
        "law": cell.law_name,
        "law_version": law.metadata.version,
        "d": law.d,
        "N": law.N,
        "noise_std": law.noise_std,
        "law_params": json.dumps(law.parameters, sort_keys=True),
        "fingerprint": law.fingerprint,
        "solver": cell.solver_name,
        "solver_version": cell.solver.version,
        "solver_params": json.dumps(cell.solver_params, sort_keys=True),
        "needs": str(cell.solver.needs),
        "steps": steps,
        "protocol": "held_out",
        "device": cell.device.type,
        "dtype": str(cell.dtype).removeprefix("torch."),
    }


def score_rows(result: CellResult) -> Iterator[tuple[ScoreRow, Losses | None]]:
    """Rows of a cell: for each number of steps and metric, one a seed and one of all seeds pooled.

    Yields:
        A row, and the per-task losses it summarises, `(tasks,)` in the order of the tasks; None for a pooled
        row, whose losses are those of its seeds, and for a cell that failed.
    """
    cell = result.cell
    if result.status != "ok":
        for steps in cell.steps:
            yield _row(cell, steps, None, "", _NOTHING, np.zeros(0, np.int8), result.status, result.reason), None
        return
    for index, steps in enumerate(cell.steps):
        for metric in result.measured[0].losses:
            for seed, measured in zip(cell.seeds, result.measured, strict=True):
                yield _measured_row(cell, steps, index, seed, metric, [measured]), measured.losses[metric][index]
            if len(cell.seeds) > 1:
                yield _measured_row(cell, steps, index, None, metric, result.measured), None


def _measured_row(
    cell: Cell, steps: int, index: int, seed: int | None, metric: str, measured: list[Measured]
) -> ScoreRow:
    summary = summarise([part.losses[metric][index] for part in measured])
    outcomes = np.concatenate([part.outcomes[index] for part in measured])
    status, reason = judge(outcomes)
    return _row(cell, steps, seed, metric, summary, outcomes, status, reason)


def judge(outcomes: np.ndarray) -> tuple[Status, str]:
    """Status of a row from its tasks' outcomes: the worst of them, with how many tasks met it."""
    for outcome in (Outcome.NONFINITE, Outcome.DIVERGED, Outcome.BREAKDOWN):
        count = int((outcomes == int(outcome)).sum())
        if count:
            return outcome.name.lower(), f"{count} of {len(outcomes)} tasks: {outcome.sentence}"  # type: ignore[return-value]
    return "ok", ""


def _row(
    cell: Cell,
    steps: int,
    seed: int | None,
    metric: str,
    summary: Summary,
    outcomes: np.ndarray,
    status: Status,
    reason: str,
) -> ScoreRow:
    counts = {outcome.name.lower(): int((outcomes == int(outcome)).sum()) for outcome in Outcome}
    numbers = {name: None if np.isnan(value) else value for name, value in vars(summary).items()}
    columns = {"seed": seed, "metric": metric, "num_tasks": len(outcomes), "status": status, "reason": reason}
    return ScoreRow.model_validate({**identity(cell, steps), **columns, **numbers, **counts})
