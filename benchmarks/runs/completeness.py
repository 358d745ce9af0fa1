"""Whether a run has the rows that its suite asks for, and no others."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import pandas as pd
from pydantic import ValidationError

from benchmarks.catalogue.registry import LAWS
from benchmarks.runs.cells import Cells, Row, grouped
from benchmarks.runs.read import Run
from benchmarks.runs.tables import as_written
from benchmarks.suites.entries import SolverEntry, TaskEntry
from benchmarks.suites.meetings import settings
from benchmarks.suites.suite import Suite

PLAIN = ["law", "d", "N", "noise_std", "solver", "trained_on", "protocol", "dtype", "device", "steps"]
"""Columns that name a cell in the words of its suite, but for parameters."""

PARAMS = ["law_params", "solver_params"]

LISTED = 5
"""Problems of a kind that are shown before the rest is counted."""


def against_suite(run: Run) -> Iterator[str]:
    """What is wrong with a run by its suite, or by those of the runs that it was merged from."""
    suites: list[Suite] = []
    for meta in sources(run.meta):
        try:
            suites.append(Suite.model_validate(meta.get("suite")))
        except ValidationError as error:
            yield f"meta.json: the suite is not one: {' '.join(error.errors()[0]['msg'].split())}"
            return
        if suites[-1].content_hash != meta.get("suite_hash"):
            yield "meta.json: the suite does not have the hash that is stated"
            return
    if not suites:
        yield "meta.json: the run was merged from none"
        return
    merged = "merged_from" in run.meta
    yield from _few("scores.csv", _scores(run.scores, suites, merged))
    yield from _few("timings.csv", _timings(run.timings, suites))


def sources(meta: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Descriptions of the runs that rows come from: the run itself, or what it was merged from, however often."""
    for one in meta.get("merged_from", ()) if "merged_from" in meta else ():
        yield from sources(one)
    if "merged_from" not in meta:
        yield meta


def _few(table: str, problems: Iterator[str]) -> Iterator[str]:
    yield from (f"{table}: {problem}" for problem in islice(problems, LISTED))
    more = sum(1 for _ in problems)
    if more:
        yield f"{table}: and {more} more like these"


def _scores(table: pd.DataFrame, suites: Sequence[Suite], merged: bool) -> Iterator[str]:
    asked, needed = set[int](), [*PLAIN, *PARAMS, "draw", "seed", "metric", "num_tasks"]
    cells = Cells([pd.DataFrame(table, columns=needed)], [*PLAIN, "draw"])
    for suite in suites:
        for task, entry in _met(suite):
            steps = {step: _found(cells, suite, task, entry, step, task.draw) for step in entry.steps or suite.steps}
            metrics = {row["metric"]: None for found in steps.values() for row in found if row["metric"]}
            tasks = min(entry.tasks or suite.scores.tasks, task.tasks or suite.scores.tasks, suite.scores.tasks)
            for step, found in steps.items():
                asked |= {row["row"] for row in found}
                yield from _cell(f"{_name(task, entry)} at {step} steps", found, list(metrics), suite, tasks, merged)
    yield from _not_asked(table, asked)


def _cell(
    name: str, rows: Sequence[Row], metrics: Sequence[str], suite: Suite, tasks: int, merged: bool
) -> Iterator[str]:
    """What is wrong with the rows of one cell after one number of steps."""
    if not rows:
        yield f"{name} is missing"
    elif any(not row["metric"] for row in rows):
        if len(rows) > 1:
            yield f"{name} has failed as a whole, and has numbers all the same"
    elif merged:  # which seeds there must be is not known: some of its runs may have failed there
        for (metric,), found in grouped(rows, ["metric"]).items():
            if (len({row["seed"] for row in found} - {None}) > 1) != any(row["seed"] is None for row in found):
                yield f"{name}, {metric}, has one seed and a row of all, or several and none"
    else:
        wanted = [*suite.seeds, *([None] if len(suite.seeds) > 1 else [])]
        for metric in metrics:
            seeds = {row["seed"]: row["num_tasks"] for row in rows if row["metric"] == metric}
            for seed in wanted:
                if seed not in seeds:
                    yield f"{name}, {metric}, {'all seeds' if seed is None else f'seed {seed}'} is missing"
                elif seeds[seed] != (tasks if seed is not None else tasks * len(suite.seeds)):
                    yield f"{name}, {metric}, has {seeds[seed]} tasks, and the suite asks for {tasks} a seed"
            if set(seeds) - set(wanted):
                yield f"{name}, {metric}, has the seeds {sorted(set(seeds) - set(wanted), key=str)}, not the suite's"


def _timings(table: pd.DataFrame, suites: Sequence[Suite]) -> Iterator[str]:
    asked, needed = set[int](), [*PLAIN, *PARAMS, "batch", "threads"]
    cells = Cells([pd.DataFrame(table, columns=needed)], PLAIN)
    for suite in suites:
        if suite.timings is None:
            continue
        for task, entry in _met(suite):
            for step in entry.steps or suite.steps:
                for batch in task.batch or [suite.timings.batch]:
                    found = [
                        row["row"]
                        for row in _found(cells, suite, task, entry, step)
                        if (row["batch"], row["threads"]) == (batch, suite.threads)
                    ]
                    asked |= set(found)
                    if not found:
                        yield f"{_name(task, entry)} at {step} steps, batch {batch}, {suite.threads} threads is missing"
    yield from _not_asked(table, asked)


def _not_asked(table: pd.DataFrame, asked: set[int]) -> Iterator[str]:
    named = table[["solver", "law", "d"]].itertuples(index=False, name=None)
    for number, (solver, law, d) in enumerate(named):
        if number not in asked:
            yield f"line {number + 2}: the suite asks for no {solver} on {law} d={d}"


def _met(suite: Suite) -> Iterator[tuple[TaskEntry, SolverEntry]]:
    return ((task, entry) for task in suite.tasks for entry in suite.solvers if entry.only.holds(task))


def _name(task: TaskEntry, entry: SolverEntry) -> str:
    return f"{task.law} d={task.d} N={task.N} {entry.name} ({entry.protocol})"


def _found(
    cells: Cells,
    suite: Suite,
    task: TaskEntry,
    entry: SolverEntry,
    step: int,
    *draw: str,
) -> list[Row]:
    """The rows of a cell of a suite."""
    device, trained_on = suite.device.partition(":")[0], entry.trained_on or task.trained_on
    place = (task.law, task.d, task.N, as_written(task.noise_std), entry.name)
    rest = (entry.protocol, suite.dtype, device, step, *draw)
    labels = {"" if trained_on is None else trained_on.label, *([""] if entry.trained_on is None else [])}
    mine = [row for on in sorted(labels) for row in cells.of((*place, on, *rest))]
    law = json.loads(json.dumps(settings(LAWS, task.law, task.params), default=str))
    return [
        row
        for row in mine
        if json.loads(row["solver_params"]) == entry.params and _fits(json.loads(row["law_params"]), law)
    ]


def _fits(stated: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Whether a row's law is that of the suite; parameters that a law got or lost later have their default."""
    return all(stated[name] == value for name, value in wanted.items() if name in stated)
