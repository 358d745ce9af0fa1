"""From what a cell measured to the rows of the score table."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.harness.cell import Cell, CellResult, Measured
from benchmarks.harness.scores.gaps import judge_gap
from benchmarks.runs.schema import PREFERRED_METRICS, TRAITS, ParametersFrom, ScoreRow, Status
from benchmarks.statistics import HELD_TAIL_LIMIT, TAIL_LIMIT, Levels, summarise, tail_limited
from benchmarks.statistics.sample import Sample
from memformer.core.solver import Fitting
from memformer.core.trace import Outcome

Losses = NDArray[np.float64]


@dataclass(frozen=True)
class Scored:
    """A finished cell.

    Attributes:
        result: without its per-task arrays.
        rows: of the score table.
        losses: per-task losses, float32, by the number of their row in `rows`, as `benchmarks.runs.read.LOSSES` has
            them.
    """

    result: CellResult
    rows: list[ScoreRow]
    losses: dict[int, NDArray[np.float32]]


def summarised(result: CellResult) -> Scored:
    """A cell's rows, with the arrays they summarise as they are stored."""
    pairs = list(score_rows(result))
    with np.errstate(over="ignore"):  # a loss beyond float32 is stored as infinite
        losses = {number: array.astype(np.float32) for number, (_, array) in enumerate(pairs) if array is not None}
    return Scored(dataclasses.replace(result, measured=[]), [row for row, _ in pairs], losses)


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
        "fingerprint": law.fingerprint_of(cell.draw),
        "solver": cell.solver_name,
        "solver_version": cell.solver.version,
        "solver_params": json.dumps(cell.solver_params, sort_keys=True),
        "trained_on": cell.trained_on,
        **{name: getattr(cell.solver, name) for name in TRAITS},
        "steps": steps,
        "protocol": cell.protocol,
        "device": cell.device.type,
        "dtype": str(cell.dtype).removeprefix("torch."),
    }


def score_rows(result: CellResult) -> Iterator[tuple[ScoreRow, Losses | None]]:
    """Rows of a cell: for each number of steps and metric, one a seed and one of all seeds pooled.

    Args:
        result: of a cell.

    Yields:
        A row, and the per-task losses it summarises, in the order of the tasks: `(tasks,)`, or where they have weights
        `(2, tasks)`, weight times loss and the weights. None for a pooled row, whose losses are those of its seeds, and
        for a cell that failed.
    """
    cell = result.cell
    shared = identity(cell, 0)
    if result.status != "ok":
        for steps in cell.steps:
            columns = {"steps": steps, "seed": None, "metric": "", "status": result.status, "reason": result.reason}
            columns |= {"shown": True, "levels": interval_levels(cell, len(cell.seeds))}
            yield _row(cell, np.zeros(len(Outcome), np.intp), {**shared, **columns}), None
        return
    for index, steps in enumerate(cell.steps):
        shared["steps"] = steps
        ended = [np.bincount(part.outcomes[index], minlength=len(Outcome)) for part in result.measured]
        for metric in result.measured[0].losses:
            samples = [Sample([part.losses[metric][index]]) for part in result.measured]
            by_seed = zip(cell.seeds, result.measured, samples, ended, strict=True)
            for seed, measured, sample, counts in by_seed:
                row = _measured_row(result, shared, index, seed, metric, {seed: measured}, sample, counts)
                yield row, sample[0] if measured.weights is None else np.stack([sample[0], measured.weights])
            if len(cell.seeds) > 1:
                pooled, counts = dict(zip(cell.seeds, result.measured, strict=True)), np.sum(ended, axis=0)
                sample = Sample.joined(samples)
                yield _measured_row(result, shared, index, None, metric, pooled, sample, counts), None


def _measured_row(
    result: CellResult,
    shared: dict[str, Any],
    index: int,
    seed: int | None,
    metric: str,
    measured: dict[int, Measured],
    sample: Sample,
    ended: NDArray[np.intp],
) -> ScoreRow:
    """The row of some seeds: their losses, and how many tasks ended how."""
    cell, reach = result.cell, result.fitted[0].reach
    status, reason = judge(ended)
    levels = interval_levels(cell, len(measured))
    weights = [part.weights for part in measured.values() if part.weights is not None]
    mean = summarise(sample, levels, weights or None)
    limit = HELD_TAIL_LIMIT if weights and reach.fixed else TAIL_LIMIT
    fresh = {number: part.fresh[metric][index] for number, part in measured.items() if part.fresh is not None}
    losses = dict(zip(measured, sample, strict=True))
    gap = judge_gap(cell, reach, shared["steps"], metric, losses, levels, fresh, sample)
    columns = {
        **shared,
        "seed": seed,
        "metric": metric,
        "shown": metric == shown_metric(result.measured[0].losses),
        "levels": levels,
        "tail_limited": tail_limited(sample, limit) if np.isfinite(mean.mean) else None,
        "reach": str(reach),
        "status": status,
        "reason": reason,
        **vars(mean),
        **vars(gap),
        "parameters": _from(result),
        **_training(result, shared["steps"], measured),
    }
    return _row(cell, ended, columns)


def interval_levels(cell: Cell, seeds: int) -> Levels:
    """What an interval over that many seeds holds random.

    The seeds count where the solver was fitted under each of them anew, at random, and where the law is a table of real
    data, of which each scores another part. What is fitted in closed form is the same solver under every seed.
    """
    anew = cell.solver.fitting is Fitting.RANDOM or not cell.law.synthetic
    return "seeds_and_tasks" if anew and seeds > 1 else "tasks"


def shown_metric(measured: Collection[str]) -> str:
    """The metric that tables show of those a cell has: the first preferred one, else the first."""
    return next((name for name in PREFERRED_METRICS if name in measured), next(iter(measured)))


def _from(result: CellResult) -> ParametersFrom:
    """Where a cell's parameters are from."""
    if not result.cell.solver.fitting.required:
        return ""
    return "shipped" if result.shipped else "fitted"


_TRAINING = {"spread": "starts_spread", "near_best": "starts_near_best", "median": "median_start", "starts": "starts"}
_TRAINING |= {"steps": "train_steps", "tasks": "train_tasks", "flops": "train_flops"}
"""Attributes of `memformer.core.solver.TrainingRecord`, and the columns they fill."""


def _training(result: CellResult, steps: int, seeds: Collection[int]) -> dict[str, float | None]:
    """What training cost and found, the mean over the seeds of a row."""
    fitted = [one for seed, one in zip(result.cell.seeds, result.fitted, strict=True) if seed in seeds]
    records = [one.training_record(steps) for one in fitted]
    found: dict[str, list[Any]] = {c: [getattr(one, name, None) for one in records] for name, c in _TRAINING.items()}
    return {column: None if None in values else float(np.mean(values)) for column, values in found.items()}


def judge(ended: NDArray[np.intp]) -> tuple[Status, str]:
    """Status of a row from how many tasks ended with each outcome: the worst of them, with how many tasks met it."""
    for outcome in (Outcome.NONFINITE, Outcome.DIVERGED, Outcome.BREAKDOWN):
        if ended[outcome]:
            return outcome.name.lower(), f"{ended[outcome]} of {ended.sum()} tasks: {outcome.sentence}"  # type: ignore[return-value]
    return "ok", ""


def _row(cell: Cell, ended: NDArray[np.intp], columns: dict[str, Any]) -> ScoreRow:
    """A row: outcome counts, and the given columns; what is nan or not given is empty."""
    counts = {outcome.name.lower(): count for outcome, count in zip(Outcome, ended.tolist(), strict=True)}
    empty = dict.fromkeys(ScoreRow.model_fields)
    given = {
        "alarm": "",
        "parameters": "",
        "reach": str(cell.solver.reach),
        "draw": cell.draw,
        "num_tasks": int(ended.sum()),
    }
    return ScoreRow.model_validate({**empty, **given, **counts, **columns})
