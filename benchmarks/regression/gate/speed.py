"""Is head slower than base? Paired ratios from alternating calls on one CPU, two looks, and the rule.

A pair of fresh processes times a case in blocks base, head, head, base, as short as one call allows, so that whatever
else the machine does falls on both alike; the block's ratio is head/base, the pair's ratio the median over its blocks.
What a pair cannot see, the chance of where its two processes lie in memory, differs between pairs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

from benchmarks.regression.gate.cases import SpeedCase
from benchmarks.regression.gate.paired_processes import Pair, started
from benchmarks.regression.gate.status import CaseStatus, of_unpaired

BLOCKS, LEAST_BLOCKS = 60, 16
TURN_SECONDS = 0.5e-3
"""A turn of a side lasts about this long, or one call."""

FIRST_PAIRS, SECOND_PAIRS = 2, 6

SUSPICION = 1.05
"""First look: a case with any pair's ratio above this is looked at again."""

SLOWER, AT_LEAST = 1.05, 1.03
"""Second look, fresh pairs only: slower if their median ratio is above the first and every one above the second."""

RULE = (
    f"First look: {FIRST_PAIRS} pairs of fresh processes, each with {LEAST_BLOCKS} to {BLOCKS} blocks "
    f"base-head-head-base on one CPU; a case goes to the second look if the median ratio of either exceeds "
    f"{SUSPICION:g}. Second look: {SECOND_PAIRS} fresh pairs; the case is slower if the median of their ratios exceeds "
    f"{SLOWER:g} and their smallest, the lower end of a distribution-free {100 * (1 - 2 * 0.5**SECOND_PAIRS):.1f} % "
    f"interval, exceeds {AT_LEAST:g}."
)


@dataclass
class SpeedResult:
    """One case.

    Attributes:
        case: what was timed.
        first, second: ratio head/base of each pair of processes in the two looks.
        seconds: of one call of base.
        status: the verdict, or why there is none.
        reason: why there is no ratio.
    """

    case: SpeedCase
    first: list[float] = field(default_factory=list)
    second: list[float] = field(default_factory=list)
    seconds: float = float("nan")
    status: CaseStatus = "same"
    reason: str = ""

    @property
    def ratios(self) -> list[float]:
        """Of the last look."""
        return self.second or self.first

    def judge(self) -> None:
        """Apply the rule."""
        if self.reason or not self.second:
            return
        ratios = np.array(self.second)
        if np.median(ratios) > SLOWER and ratios.min() > AT_LEAST:
            self.status = "slower"


def suspicious(ratios: Sequence[float]) -> bool:
    """Whether the first look calls for a second."""
    return max(ratios, default=1.0) > SUSPICION


def compare_speed(
    base: Path,
    head: Path,
    cases: Sequence[SpeedCase],
    cpu: int | None,
    tick: Callable[[str], None] = lambda _: None,
    slowed: Mapping[str, float] | None = None,
) -> list[SpeedResult]:
    """Both looks.

    Args:
        base: tree of the commit compared with.
        head: tree that is judged.
        cases: what to time.
        cpu: the one CPU that both sides share; None: not pinned, and not to be trusted.
        tick: told of progress.
        slowed: planted slowdowns of head by name of the case, where the gate itself is studied.
    """
    results = [SpeedResult(case) for case in cases]
    for number in range(FIRST_PAIRS):
        tick(f"speed, first look, pair {number + 1} of {FIRST_PAIRS}")
        look(base, head, results, "first", cpu, slowed or {})
    again = [result for result in results if suspicious(result.first)]
    for number in range(SECOND_PAIRS if again else 0):
        tick(f"speed, second look at {len(again)} of {len(results)}, pair {number + 1} of {SECOND_PAIRS}")
        look(base, head, again, "second", cpu, slowed or {})
    for result in results:
        result.judge()
        if not result.reason and not result.second and max(result.first) < 1 / SUSPICION:
            result.status = "faster"
    return results


def look(
    base: Path,
    head: Path,
    results: Sequence[SpeedResult],
    which: Literal["first", "second"],
    cpu: int | None,
    slowed: Mapping[str, float],
) -> None:
    """One pair of processes times all cases, and each result gets one more ratio."""
    with started(base, head, cpu) as pair:
        for result in results:
            if not result.reason:
                ratio = _ratio(pair, result, slowed.get(result.case.name, 1.0))
                if ratio is not None:
                    getattr(result, which).append(ratio)


def _ratio(pair: Pair, result: SpeedResult, slowed: float) -> float | None:
    """Median over blocks of head/base; None, and a reason, where one side cannot do it."""
    name, request = result.case.name, asdict(result.case)
    base = pair.base.ask("prepare", key=name, case=request)
    head = pair.head.ask("prepare", key=name, case=request, slowed=slowed)
    if "seconds" not in base or "seconds" not in head:
        result.status, result.reason = of_unpaired(base, head)
        return None
    result.seconds = float(base["seconds"])
    calls = max(1, round(TURN_SECONDS / max(result.seconds, 1e-6)))
    # Long calls get fewer blocks.
    turns = BLOCKS * 4 * TURN_SECONDS / max(result.seconds, TURN_SECONDS)
    blocks = int(np.clip(round(turns), LEAST_BLOCKS, BLOCKS))
    ratios = []
    for _ in range(blocks):
        a, b, c, d = (side.ask("time", key=name, calls=calls)["seconds"] for side in (*pair, *reversed(pair)))
        ratios.append((b + c) / (a + d))
    return float(np.median(ratios))
