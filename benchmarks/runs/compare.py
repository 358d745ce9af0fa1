"""What changed from one run to another: losses, times, statuses, rows, and what they were measured on."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from benchmarks.runs.pairing import keyed, refuse_other_tasks
from benchmarks.runs.ranking import ROUNDING, solver_label
from benchmarks.runs.read import LOSSES, Run
from benchmarks.runs.schema import FAILURES, NAMED, SCORED, SOLVER, TIMED
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

Row = dict[Any, Any]


@dataclass
class Changes:
    """What changed from run A to run B.

    Attributes:
        heading: what was compared, and how the machines and versions differ.
        compared: number of pairs, by kind.
        worse, better: a line for each pair, with how much it changed, by kind.
    """

    heading: list[str]
    compared: Counter[str] = field(default_factory=Counter)
    worse: dict[str, list[tuple[float, str]]] = field(default_factory=lambda: {kind: [] for kind in KINDS})
    better: dict[str, list[tuple[float, str]]] = field(default_factory=lambda: {kind: [] for kind in KINDS})

    def add(self, kind: str, change: float, line: str) -> None:
        """A pair that changed; worse if `change` is positive."""
        (self.worse if change > 0 else self.better)[kind].append((abs(change), line))

    def lines(self) -> Iterator[str]:
        """The whole as lines for people."""
        yield from self.heading
        for kind, (got_worse, got_better) in KINDS.items():
            worse, better = self.worse[kind], self.better[kind]
            counts = f"{len(worse)} {got_worse}, {len(better)} {got_better}"
            yield f"{kind}: {self.compared[kind]} compared, {counts}"
            for changed in (worse, better):
                ordered = sorted(changed, key=lambda entry: -entry[0])
                yield from (f"  {line}" for _, line in ordered[:SHOWN])
                if len(ordered) > SHOWN:
                    yield f"  and {len(ordered) - SHOWN} more"


def compare_runs(first: Run, second: Run, least_loss: float = 0.001, least_factor: float = 1.5) -> Changes:
    """Compare run B with run A, row by row.

    Losses are compared by the paired 95 % interval of the log ratio of their means over the same tasks (and over seeds,
    where the rows' own intervals are) where both runs have per-task losses of the same seeds, else by the log ratio
    alone. Nothing is corrected for the number of pairs; the same source gives the same losses to the last digit. A time
    changed if its ratio exceeds the factor and the quartiles do not overlap; times of different machines are not
    compared.

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
    a, b = (keyed(run.scores, SCORED) for run in (first, second))
    for here, there, change in ((a, b, 1.0), (b, a, -1.0)):
        for row in (row for key, row in here.items() if key not in there):
            changes.add("rows", change, f"{_name(row)}, {row['metric']}, seed {row['seed']}")
    both = [(row, b[key]) for key, row in a.items() if key in b]
    changes.compared["rows"] = len(both)
    _compare_statuses([pair for pair in both if pair[0]["seed"] is None], changes)
    arrays = all((run.path / LOSSES).is_file() for run in (first, second))
    groups: dict[tuple[object, ...], list[tuple[Row, Row]]] = {}
    for pair in both:
        groups.setdefault(tuple(pair[0][name] for name in (*NAMED, "metric", "draw")), []).append(pair)
    for pairs in groups.values():
        _compare_losses(pairs, (first, second) if arrays else None, least_loss, changes)
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


def _compare_statuses(pairs: list[tuple[Row, Row]], changes: Changes) -> None:
    changes.compared["status"] = len(pairs)
    for a, b in pairs:
        failed = (a["status"] in FAILURES, b["status"] in FAILURES)
        if failed[0] != failed[1]:
            line = f"{_name(a)}: {a['status']} -> {b['status']}: {b['reason'] or a['reason']}"
            changes.add("status", 1.0 if failed[1] else -1.0, line)


def _compare_losses(pairs: list[tuple[Row, Row]], runs: tuple[Run, Run] | None, least: float, changes: Changes) -> None:
    """One solver after one number of steps in one metric: paired over the tasks of all seeds, or the pooled rows."""
    seeded = [pair for pair in pairs if pair[0]["seed"] is not None]
    a, b = next((pair for pair in pairs if pair[0]["seed"] is None), pairs[0])
    if not (math.isfinite(a["log_mean"]) and math.isfinite(b["log_mean"])):
        return
    changes.compared["loss"] += 1
    same = all(x["num_tasks"] == y["num_tasks"] for x, y in seeded)
    if runs is not None and seeded and same:
        exact = math.exp(ROUNDING[a["dtype"]])
        losses = [
            [np.maximum(run.losses(pair[side]["row"]).astype(np.float64), exact) for pair in seeded]
            for side, run in enumerate(runs)
        ]
        levels: Levels = "seeds_and_tasks" if "seeds_and_tasks" in (a["levels"], b["levels"]) else "tasks"
        change, low, high = log_ratio_interval(losses[1], losses[0], levels)
        how = f"[{low:+.4f}, {high:+.4f}]"
    else:
        exact = ROUNDING[a["dtype"]]
        change = max(b["log_mean"], exact) - max(a["log_mean"], exact)
        low = high = change
        how = "without an interval, since there are no per-task losses of the same tasks"
    if low > least or high < -least:
        changes.add("loss", change, f"{_name(a)}, {a['metric']}: log loss {change:+.4f} {how}")


def _compare_times(first: Run, second: Run, least: float, changes: Changes) -> None:
    a, b = (keyed(run.timings, TIMED) for run in (first, second))
    for key, row in a.items():
        other = b.get(key)
        if other is None or not (row["warm_median"] > 0 and other["warm_median"] > 0):
            continue
        changes.compared["time"] += 1
        ratio = other["warm_median"] / row["warm_median"]
        apart = other["warm_q25"] > row["warm_q75"] or other["warm_q75"] < row["warm_q25"]
        if apart and not 1 / least <= ratio <= least:
            times = f"{row['warm_median']:.3g} s -> {other['warm_median']:.3g} s"
            changes.add("time", math.log(ratio), f"{_name(row)}: {ratio:.2f} times the time, {times}")
