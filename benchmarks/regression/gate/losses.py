"""Is head's test loss worse than base's? Paired intervals on the same tasks, and the committed table.

Both sides draw the same tasks and fit with the same seeds: code that computes the same has equal losses, task by task.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks.regression.gate.cases import LossCase
from benchmarks.regression.gate.paired_processes import started
from benchmarks.regression.gate.status import CaseStatus, of_unpaired
from benchmarks.statistics import compare

TOLERANCE = 0.003
"""A loss is worse if the lower end of the paired 95 % interval of log(head/base) is above this."""

EQUAL = 1e-9
"""Log ratios below this are rounding."""

NOISE_FLOOR = 1e-12
"""Losses below this, in units of y squared, are rounding (direct methods without label noise)."""

TABLE = Path("results/runs/core-reference/scores.csv")

TABLE_SEEDS = 3
"""The table's rows pool the first three seeds."""

RULE = (
    "Losses: expected test loss after 1, 2 and 3 steps on the same tasks on both sides, of what is trained after 1 and "
    f"3 and a short training; worse if the paired 95 % interval of log(head/base) lies above {TOLERANCE:g} (over seeds "
    "and tasks where a fit is random), or if base is finite and head is not. Solvers without a random fit are also "
    "compared with base's committed reference table, on the table's own tasks: worse if the log ratio of head to it "
    f"exceeds {TOLERANCE:g}."
)

Array = NDArray[np.float64]


@dataclass(frozen=True)
class LossResult:
    """A solver on a law after a number of steps.

    Attributes:
        case, steps: what.
        log_ratio, low, high: of head to base, with its paired 95 % interval.
        against_table: log ratio of head to the committed table; nan where the table has no such row.
        status: `worse` also if it is so against the table only.
        reason: why there are no numbers, or what is worse.
    """

    case: LossCase
    steps: int
    log_ratio: float = float("nan")
    low: float = float("nan")
    high: float = float("nan")
    against_table: float = float("nan")
    status: CaseStatus = "same"
    reason: str = ""


def compare_losses(
    base: Path,
    head: Path,
    cases: Sequence[LossCase],
    tick: Callable[[str], None] = lambda _: None,
    plugins: Sequence[str] = (),
) -> list[LossResult]:
    """Every case on both sides, judged."""
    table = read_table(base / TABLE)
    results: list[LossResult] = []
    with started(base, head, None, plugins) as pair, TemporaryDirectory() as folder:
        files = [Path(folder, f"{side}.npy") for side in ("base", "head")]
        for number, case in enumerate(cases, 1):
            tick(f"losses, {number} of {len(cases)}: {case.name}")
            asked = [{"do": "losses", "case": asdict(case), "file": str(file)} for file in files]
            answers = pair.each(*asked)
            if all("fingerprint" in answer for answer in answers):
                arrays = [np.load(file) for file in files]
                results += judge(case, arrays[0], arrays[1], answers[1], table)
            else:
                status, reason = of_unpaired(*answers)
                results.append(LossResult(case, case.steps[0], status=status, reason=reason))
    return results


def judge(
    case: LossCase, base: Array, head: Array, about: dict[str, Any], table: pd.DataFrame | None = None
) -> list[LossResult]:
    """Apply the rule.

    Args:
        case: what was computed.
        base: losses `(seeds, steps, tasks)`.
        head: likewise.
        about: head's answer: `fingerprint` of the law, and `random_fit`, whether another seed fits another solver.
        table: the committed one, as `read_table` gives it.
    """
    found = []
    for index, steps in enumerate(case.steps):
        a, b = (np.maximum(side[:, index], NOISE_FLOOR) for side in (head, base))
        committed = _against_table(case, steps, a, about, table)
        found.append(_verdict(case, steps, a, b, committed, bool(about["random_fit"])))
    return found


def _verdict(case: LossCase, steps: int, head: Array, base: Array, committed: float, random_fit: bool) -> LossResult:
    finite = [bool(np.isfinite(side).all()) for side in (head, base)]
    if not finite[0]:
        lost = int((~np.isfinite(head)).sum())
        if finite[1]:
            return LossResult(case, steps, status="worse", reason=f"{lost} tasks have no finite loss any more")
        return LossResult(case, steps, reason="no finite loss on either side")
    if not finite[1]:
        return LossResult(case, steps, status="better", reason="finite now")
    ratio = float(np.log(head.mean() / base.mean()))
    low = high = ratio
    if not np.allclose(head, base, rtol=EQUAL, atol=0):
        result = compare(list(head), list(base), "seeds_and_tasks" if random_fit and len(head) > 1 else "tasks")
        low, high = result.log_ratio_low, result.log_ratio_high
    if low > TOLERANCE:
        return LossResult(case, steps, ratio, low, high, committed, "worse", "worse than base")
    if committed > TOLERANCE:
        return LossResult(case, steps, ratio, low, high, committed, "worse", "worse than the committed table")
    status = "better" if high < -TOLERANCE else "same" if abs(ratio) <= EQUAL else "changed"
    return LossResult(case, steps, ratio, low, high, committed, status)


def read_table(path: Path) -> pd.DataFrame | None:
    """Rows of the committed table that a deterministic solver can be held to; None if there is no table."""
    if not path.is_file():
        return None
    table = pd.read_csv(path)
    kept = (table["metric"] == "expected_test_loss") & (table["protocol"] == "held_out") & (table["status"] == "ok")
    kept &= table["seed"].isna() & (table["dtype"] == "float64") & (table["solver_params"] == "{}")
    return table.loc[kept]


def _against_table(case: LossCase, steps: int, head: Array, about: dict[str, Any], table: pd.DataFrame | None) -> float:
    """Log ratio of head's mean loss to the committed one on the same tasks; nan where there is none."""
    if table is None or about["random_fit"]:
        return float("nan")
    pooled = head[:TABLE_SEEDS]
    wanted = {"solver": case.solver, "law": case.law, "noise_std": 0, "fingerprint": about["fingerprint"]}
    wanted |= {"num_tasks": pooled.size, "steps": steps, **{name: case.law_params[name] for name in ("d", "N")}}
    rows = table.loc[(table[list(wanted)] == pd.Series(wanted)).all(axis=1)]
    more = {key: value for key, value in case.law_params.items() if key not in ("d", "N")}
    rows = rows.loc[[more.items() <= json.loads(text).items() for text in rows["law_params"]]]
    if len(rows) != 1:
        return float("nan")
    return float(np.log(pooled.mean() / max(float(rows["mean"].to_numpy()[0]), NOISE_FLOOR)))
