"""Is head slower than base? Rounds of paired ratios, and the rule.

What one pair of processes cannot see, the chance of where its two processes lie in memory, differs between pairs:
`sequential` says how many are needed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.regression.gate import sequential
from benchmarks.regression.gate.cases import SpeedCase
from benchmarks.regression.gate.rounds import BLOCKS, LEAST_BLOCKS, Due, Measured, one_round
from benchmarks.regression.gate.sequential import PINNED, UNDECIDED, UNPINNED, Rule, Sequential
from benchmarks.regression.gate.status import CaseStatus

FASTER = 1 / 1.05
"""A case is called faster if the ratios of all its pairs are below this."""


def rule_text(rule: Rule) -> str:
    """The rule in words."""
    where = " on one CPU" if rule == PINNED else ""
    return (
        f"Pairs of fresh processes, base and head the first to start in turn, each with {LEAST_BLOCKS} to {BLOCKS} "
        f"blocks base-head-head-base{where}; after every pair each case is judged by a sequential probability ratio "
        "test of no change against "
        f"{rule.effect - 1:.0%} slower, with the variance of this run, at most {sequential.CLIP:g} nats a pair. No "
        f"slower at {sequential.CLEARED:g} nats; slower at {sequential.ALARM:g}, after at least {sequential.FEWEST} "
        f"pairs, if their median ratio is {rule.least:g} or more. A case with evidence for a slowdown gets so many, "
        f"and goes on to its decision with more than {sequential.FOLLOWED:g} nats, however late it is. One that "
        f"{sequential.MOST} pairs or the time there is do not decide is undecided, which stops nothing."
    )


@dataclass
class SpeedResult:
    """One case.

    Attributes:
        case: what was timed.
        ratios: head/base of each pair of processes.
        seconds: of one call of base.
        deviation: standard deviation of the log ratio of one pair.
        status: the verdict, or why there is none.
        reason: why there is no ratio.
    """

    case: SpeedCase
    ratios: list[float] = field(default_factory=list)
    seconds: float = float("nan")
    deviation: float = float("nan")
    status: CaseStatus = "same"
    reason: str = ""


def compare_speed(
    base: Path,
    head: Path,
    cases: Sequence[SpeedCase],
    cpus: Sequence[int],
    tick: Callable[[str], None] = lambda _: None,
    slowed: Mapping[str, float] | None = None,
    until: float = float("inf"),
    plugins: Sequence[str] = (),
) -> list[SpeedResult]:
    """Pairs of processes until every case is decided, or there is no time for more.

    Args:
        base: tree of the commit compared with.
        head: tree that is judged.
        cases: what to time.
        cpus: each for both sides of a share of the cases; none: not pinned, which sees less.
        tick: told of progress.
        slowed: planted slowdowns of head by name of the case, where the gate itself is studied.
        until: `time.monotonic` past which nothing is measured but what is owed a pair (`Sequential.owed`).
        plugins: see `benchmarks.regression.gate.paired_processes.Process`.
    """
    results = [SpeedResult(case) for case in cases]
    test = Sequential(len(cases), PINNED if cpus else UNPINNED)
    for number in range(sequential.MOST):
        due = _due(results, test, number, until)
        if not due:
            break
        tick(f"speed, pair {number + 1} of at most {sequential.MOST}, {len(due)} of {len(results)} cases")
        asked = [Due(results[i].case, ends, (slowed or {}).get(results[i].case.name, 1.0)) for i, ends in due.items()]
        found = one_round(base, head, asked, cpus, plugins, number)
        for result in results:
            outcome = found.get(result.case.name)
            if isinstance(outcome, Measured):
                result.ratios.append(outcome.ratio)
                result.seconds = outcome.seconds
            elif outcome is not None:
                result.status, result.reason = outcome.status, outcome.reason
        if number + 1 >= sequential.FIRST:
            test.look(_matrix(results, number + 1))
    for result, verdict, deviation in zip(results, test.verdicts, test.deviation, strict=True):
        result.deviation = float(deviation)
        if not result.reason:
            result.status = _status(int(verdict), result.ratios)
    return results


def _due(results: Sequence[SpeedResult], test: Sequential, number: int, until: float) -> dict[int, float]:
    """Cases that a round is to measure, that which looks slowest first, and until when."""
    late, owed, found = time.monotonic() > until, test.owed(number), {}
    for i in np.argsort(-test.evidence, kind="stable").tolist():
        open_still = test.verdicts[i] == UNDECIDED and not results[i].reason and len(results[i].ratios) == number
        if open_still and (owed[i] or not late):
            found[i] = float("inf") if owed[i] else until
    return found


def _status(verdict: int, ratios: Sequence[float]) -> CaseStatus:
    if verdict == sequential.NOT_SLOWER:
        return "faster" if max(ratios) < FASTER else "same"
    return "slower" if verdict == sequential.SLOWER else "undecided"


def _matrix(results: Sequence[SpeedResult], pairs: int) -> NDArray[np.float64]:
    """`(pairs, cases)` log ratios; nan for a case that has not been in all of them."""
    nothing = [float("nan")] * pairs
    rows = [result.ratios if len(result.ratios) == pairs and not result.reason else nothing for result in results]
    return np.log(np.array(rows, dtype=float).reshape(len(results), pairs).T)
