"""What the other side of a claim costs: floating-point operations of a solve, and training steps that a model needs."""

from __future__ import annotations

import dataclasses
import json
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.experiments.memory.conclusions import steps_needed
from benchmarks.experiments.paper.verdicts import MARGIN, Operations, Training
from benchmarks.harness.resolve import build_law, build_solver
from benchmarks.harness.timings.cost import count_work
from benchmarks.reports.comparison import Setting
from benchmarks.runs.ranking import solver_label
from benchmarks.runs.read import Run
from benchmarks.suites.entries import SolverEntry, TaskEntry
from benchmarks.tasks.law import Purpose

_LEAST = {"tasks": 50, "iterations": 1, "num_tasks": 50}
"""Budgets of a fit whose numbers nobody reads."""


def operations_of(run: Run, setting: Setting) -> Operations:
    """Counts the floating-point operations a task of a solver of the run, by label and steps."""
    what = setting.identity
    names = ("law", "d", "N", "noise_std")
    law = build_law(TaskEntry(**{name: what[name] for name in names}, params=json.loads(what["law_params"])))
    rows = {solver_label(row): row for row in run.scores.to_dict("records")}

    @cache
    def operations(label: str, steps: int) -> float:
        row = rows[label]
        solver = build_solver(SolverEntry(name=row["solver"], params=json.loads(row["solver_params"])))
        known = {field.name for field in dataclasses.fields(solver)}  # pyright: ignore[reportArgumentType]
        least = {name: value for name, value in _LEAST.items() if name in known}
        fitted = dataclasses.replace(solver, **least).fit(law.stream(0, Purpose.TRAIN), [steps], 0)  # pyright: ignore
        return count_work(lambda problem: fitted.solve(problem, steps), law.stream(0, Purpose.SCORE).sample(4)).flops

    return operations


def training_speed(wanted: Training, layers: list[int], gaps: Path) -> str:
    """How many times fewer training steps a memory takes than none to come within the margin of its floor.

    Args:
        wanted: which memory.
        layers: numbers of them.
        gaps: the table of the experiment `memory`; its random start counts, if it has one.

    Returns:
        A part of a sentence; empty without the table, or where memory is not faster at every depth.
    """
    if not gaps.is_file():
        return ""
    table: Any = pd.read_csv(gaps)
    starts = list(dict.fromkeys(table["start"]))
    start = next((name for name in starts if name.startswith("random")), starts[0])
    budgets = {name: int(name.removeprefix("gap_")) for name in table.columns if name.startswith("gap_")}
    table = table[(table["start"] == start) & (table["preconditioner"] == wanted.preconditioner)]

    def needed(memory: str, depth: int) -> float:
        rows = table[(table["memory"] == memory) & (table["depth"] == depth)].to_dict("records")
        found = [steps_needed({step: row[name] for name, step in budgets.items()}, MARGIN) for row in rows]
        return float(pd.Series(found, dtype=float).median())

    pairs = [(needed("no memory", depth), needed(wanted.memory, depth)) for depth in layers]
    if not all(with_memory < without for without, with_memory in pairs):
        return ""
    ratios = [without / with_memory for without, with_memory in pairs]
    never = any(without == float("inf") for without, _ in pairs)
    if min(ratios) == float("inf"):
        return "and it alone trains to within the margin of the floor"
    ends = [f"{min(ratios):.2g}"] if never else [f"{min(ratios):.2g}", f"{max(ratios):.2g}"]
    return f"{'at least ' * never}{' to '.join(dict.fromkeys(ends))} times faster to train"
