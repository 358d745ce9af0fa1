"""What changed from one run to another: losses, times, statuses, rows, and what they were measured on."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from benchmarks.runs.cells import Cells, Row, grouped
from benchmarks.runs.pairing import refuse_other_tasks
from benchmarks.runs.ranking import solver_label
from benchmarks.runs.read import Run
from benchmarks.runs.recompute import CELL, from_seeds
from benchmarks.runs.schema import FAILURES, NAMED, SOLVER, TIMED
from benchmarks.runs.standing import ROUNDING, comparable
from benchmarks.statistics import Levels, log_ratio_interval

SHOWN = 20
"""Lines of a kind that are shown before the rest is counted."""

KINDS = {
    "loss": ("worse", "better"),
    "time": ("slower", "faster"),
    "status": ("fail now", "fail no more"),
    "rows": ("missing in B", "only in B"),
}
"""What is compared, and what a change in either direction is called."""


@dataclass
class Changes:
    """What changed from run A to run B.

    Attributes:
        heading: what was compared, and how the machines and versions differ.
        compared: number of pairs, by kind.
        worse, better: a line for each pair, with how much it changed, by kind.
        unknown: a line for each thing of A that B has nothing to compare with, by kind.
    """

    heading: list[str]
    compared: Counter[str] = field(default_factory=Counter)
    worse: dict[str, list[tuple[float, str]]] = field(default_factory=lambda: {kind: [] for kind in KINDS})
    better: dict[str, list[tuple[float, str]]] = field(default_factory=lambda: {kind: [] for kind in KINDS})
    unknown: dict[str, list[str]] = field(default_factory=lambda: {kind: [] for kind in KINDS})

    def fails(self, kind: str) -> bool:
        """Whether something of a kind got worse, could not be compared, or nothing of it could."""
        return bool(self.worse[kind] or self.unknown[kind]) or not self.compared[kind]

    def add(self, kind: str, change: float, line: str) -> None:
        """A pair that changed; worse if `change` is positive."""
        (self.worse if change > 0 else self.better)[kind].append((abs(change), line))

    def lines(self) -> Iterator[str]:
        """The whole as lines for people."""
        yield from self.heading
        for kind, (got_worse, got_better) in KINDS.items():
            worse, better = self.worse[kind], self.better[kind]
            counts = f"{len(worse)} {got_worse}, {len(better)} {got_better}"
            unknown = self.unknown[kind]
            yield f"{kind}: {self.compared[kind]} compared, {counts}" + (
                f", {len(unknown)} that cannot be compared" if unknown else ""
            )
            for changed in (worse, better, [(0.0, f"not compared: {line}") for line in unknown]):
                ordered = sorted(changed, key=lambda entry: -entry[0])
                yield from (f"  {line}" for _, line in ordered[:SHOWN])
                if len(ordered) > SHOWN:
                    yield f"  and {len(ordered) - SHOWN} more"


def compare_runs(first: Run, second: Run, least_loss: float = 0.001, least_factor: float = 1.5) -> Changes:
    """Compare run B with run A, row by row.

    Losses are compared by the paired 95 % interval of the log ratio of their means over the same tasks (and over seeds,
    where the rows' own intervals are) where both runs have per-task losses of the same seeds, which float32 holds, else
    by the log ratio alone. Nothing is corrected for the number of pairs; the same source gives the same losses to the
    last digit. A loss that is undefined in B alone is worse. A time changed if its ratio exceeds the factor and the
    quartiles do not overlap; times of different machines are not compared.

    Args:
        first: run A.
        second: run B.
        least_loss: log ratios of losses within this are no change.
        least_factor: ratios of times within this are no change.

    Raises:
        UserError: if a law drew different tasks in the two.
    """
    refuse_other_tasks([first, second])
    changes = Changes(list(_heading(first, second)))
    alone: dict[float, list[tuple[int, str]]] = {1.0: [], -1.0: []}
    for before, after in Cells([first.scores, second.scores], CELL):
        for run, rows in ((first, before), (second, after)):
            for row in rows:
                row["run"] = run
        a, b = ({(row["metric"], row["seed"]): row for row in rows} for rows in (before, after))
        changes.compared["rows"] += len(a.keys() & b.keys())
        for here, there, change in ((a, b, 1.0), (b, a, -1.0)):
            lacking = [row for key, row in here.items() if key not in there]
            alone[change] += [(row["row"], f"{_name(row)}, {row['metric']}, seed {row['seed']}") for row in lacking]
        if not before:
            continue
        _compare_statuses(before, after, changes)
        measured = [grouped([row for row in rows if row["metric"]], ["metric"]) for rows in (before, after)]
        for metric, rows in measured[0].items():
            _compare_losses(rows, measured[1].get(metric, []), least_loss, changes)
    for change, lines in alone.items():
        for _, line in sorted(lines):
            changes.add("rows", change, line)
    _compare_times(first, second, least_factor, changes)
    return changes


def _heading(first: Run, second: Run) -> Iterator[str]:
    for letter, run in (("A", first), ("B", second)):
        yield f"{letter}: {run.name}, measured at {run.meta.get('measured_at', '?')}"
    for name in ("suite_hash", "python", "packages", "blas", "cpu", "cores", "gpus", "torch_threads", "git"):
        before, after = first.meta.get(name), second.meta.get(name)
        if isinstance(before, dict) and isinstance(after, dict):
            parts = [part for part in before.keys() | after.keys() if before.get(part) != after.get(part)]
            yield from (f"  {name} {part}: {before.get(part)} -> {after.get(part)}" for part in sorted(parts))
        elif before != after:
            yield f"  {name}: {before} -> {after}"
    before, after = (
        {solver_label(row): row["solver_version"] for row in run.scores.drop_duplicates(SOLVER).to_dict("records")}
        for run in (first, second)
    )
    for solver, number in before.items():
        if after.get(solver, number) != number:
            yield f"  version of {solver}: {number} -> {after[solver]}"
    machines = [sorted(set(run.timings["machine"])) for run in (first, second)]
    if all(machines) and not set(machines[0]) & set(machines[1]):
        yield f"  no time is compared: A was measured on {' and '.join(machines[0])}, B on {' and '.join(machines[1])}"


def _name(row: Row) -> str:
    solver = solver_label(row)
    return f"{row['law']} d={row['d']} N={row['N']} {solver} ({row['protocol']}) at {row['steps']} steps"


def _compare_statuses(before: list[Row], after: list[Row], changes: Changes) -> None:
    """One cell: whether it fails, as a whole or under a seed, where it did not."""
    if not after:
        changes.unknown["status"].append(f"{_name(before[0])} is not in B")
        return
    changes.compared["status"] += 1
    a, b = (_failures(rows) for rows in (before, after))
    for mine, other, change in ((b, a, 1.0), (a, b, -1.0)):
        anew = [row for seed, row in mine.items() if seed not in other and "whole" not in other]
        if anew:
            statuses = [anew[0]["status"], next((row["status"] for row in other.values()), "ok")]
            was, now = reversed(statuses) if change > 0 else statuses
            changes.add("status", change, f"{_name(anew[0])}: {was} -> {now}: {anew[0]['reason']}")


def _failures(rows: list[Row]) -> dict[Any, Row]:
    """The rows of a cell that failed, by seed; `whole` is one that failed as a whole."""
    return {row["seed"] if row["metric"] else "whole": row for row in rows if row["status"] in FAILURES}


def _compare_losses(before: list[Row], after: list[Row], least: float, changes: Changes) -> None:
    """One solver after one number of steps in one metric: over the tasks of the seeds that both runs have."""
    name = f"{_name(before[0])}, {before[0]['metric']}"
    theirs = {row["seed"]: row for row in after}
    pairs = [(row, theirs[row["seed"]]) for row in before if row["seed"] in theirs]
    pairs = [pair for pair in pairs if pair[0]["seed"] is not None] or pairs
    lacking = [row["seed"] for row in before if row["seed"] is not None and row["seed"] not in theirs]
    odd = next((a["seed"] for a, b in pairs if a["num_tasks"] != b["num_tasks"]), None)
    if not pairs or lacking or odd is not None:
        what = f"other tasks under seed {odd}" if not lacking else f"no seed {lacking[0]}" if after else "no numbers"
        changes.unknown["loss"].append(f"{name}: B has {what}")
    if not pairs or odd is not None:
        return
    stored = all(row["run"].has_losses and row["row"] in row["run"].with_losses for pair in pairs for row in pair)
    a, b = (from_seeds([pair[side] for pair in pairs])["log_mean"] for side in (0, 1))
    if a is None or b is None:
        if (a is None) != (b is None):
            changes.compared["loss"] += 1
            sign, was, now = (1, f"{a}", "undefined") if b is None else (-1, "undefined", f"{b}")
            changes.add("loss", sign * math.inf, f"{name}: log loss {was} -> {now}")
        return
    changes.compared["loss"] += 1
    exact = ROUNDING[before[0]["dtype"]]
    losses = [[pair[side]["run"].losses(pair[side]["row"]) for pair in pairs] for side in (0, 1)] if stored else []
    held = stored and all(np.isfinite(array).all() for side in losses for array in side)
    if held:
        levels: Levels = (
            "seeds_and_tasks" if any(row["levels"] == "seeds_and_tasks" for row in before + after) else "tasks"
        )
        old, new = ([comparable(array, before[0]["dtype"]) for array in side] for side in losses)
        change, low, high = log_ratio_interval(new, old, levels)
        how = f"[{low:+.4f}, {high:+.4f}]"
    else:
        low = high = change = max(b, exact) - max(a, exact)
        why = "float32 does not hold its losses" if stored else "there are no per-task losses of the same tasks"
        how = f"without an interval, since {why}"
    if low > least or high < -least:
        changes.add("loss", change, f"{name}: log loss {change:+.4f} {how}")


def _compare_times(first: Run, second: Run, least: float, changes: Changes) -> None:
    for before, after in Cells([first.timings, second.timings], [*NAMED, *TIMED]):
        if not before:
            continue
        row, other = before[-1], after[-1] if after else None
        low, middle, high = _quartiles(row)
        if not middle > 0:  # there was no time to begin with
            continue
        if other is None or not _quartiles(other)[1] > 0:
            what = f"on {row['machine']} in B" if other is None else f"in B: {other['status']}"
            changes.unknown["time"].append(f"{_name(row)}, batch {row['batch']}, has no time {what}")
            continue
        changes.compared["time"] += 1
        other_low, other_middle, other_high = _quartiles(other)
        ratio = other_middle / middle
        if (other_low > high or other_high < low) and not 1 / least <= ratio <= least:
            times = f"{middle:.3g} s -> {other_middle:.3g} s"
            changes.add("time", math.log(ratio), f"{_name(row)}: {ratio:.2f} times the time, {times}")


def _quartiles(row: Row) -> list[float]:
    """Of the time; nan where there is none."""
    return [math.nan if row[name] is None else row[name] for name in ("warm_q25", "warm_median", "warm_q75")]
