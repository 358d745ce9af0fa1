"""Is head slower than base? Pairs of fresh processes, paired ratios from alternating calls on one CPU, and the rule.

Every CPU there is has a pair of its own at the same time, and a share of the cases.

A pair of fresh processes times a case in blocks base, head, head, base (every other pair the other way round), as short
as one call allows, so that whatever else the machine does falls on both alike; the block's ratio is head/base, the
pair's ratio the median over its blocks. What a pair cannot see, the chance of where its two processes lie in memory,
differs between pairs: `sequential` says how many are needed.

The clock counts CPU time, which other programs lengthen less. A case that waits in every turn, for a child or a disk,
is timed by the clock on the wall.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.regression.gate import sequential
from benchmarks.regression.gate.cases import SpeedCase
from benchmarks.regression.gate.paired_processes import Pair, started
from benchmarks.regression.gate.sequential import PINNED, UNDECIDED, UNPINNED, Rule, Sequential
from benchmarks.regression.gate.status import CaseStatus, of_unpaired

BLOCKS, LEAST_BLOCKS = 80, 6
TURN_SECONDS = 0.5e-3
"""A turn of a side lasts about this long, or one call."""

BLOCK_SECONDS = 0.16
"""Of base, in one pair: long calls get fewer blocks."""

WAITS = 1.1
"""A case waits if each of its turns takes so many times its CPU time."""

FASTER = 1 / 1.05
"""A case is called faster if the ratios of all its pairs are below this."""


def rule_text(rule: Rule) -> str:
    """The rule in words."""
    where = " on one CPU" if rule == PINNED else ""
    return (
        f"Pairs of fresh processes, each with {LEAST_BLOCKS} to {BLOCKS} blocks base-head-head-base{where}; after "
        "every pair each case is judged by a sequential probability ratio test of no change against "
        f"{rule.effect - 1:.0%} slower, with the variance of this run, at most {sequential.CLIP:g} nats a pair. No "
        f"slower at {sequential.CLEARED:g} nats; slower at {sequential.ALARM:g}, after at least {sequential.FEWEST} "
        f"pairs, if their median ratio is {rule.least:g} or more. A case that {sequential.MOST} pairs or the time "
        "there is do not decide is undecided, which stops nothing."
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
        until: no pair after the first two is begun when `time.monotonic` is past this.
        plugins: see `benchmarks.regression.gate.paired_processes.Process`.
    """
    results = [SpeedResult(case) for case in cases]
    test = Sequential(len(cases), PINNED if cpus else UNPINNED)
    for number in range(sequential.MOST):
        due = [i for i, result in enumerate(results) if test.verdicts[i] == UNDECIDED and not result.reason]
        ends = until if number >= sequential.FIRST else float("inf")
        if not due or time.monotonic() > ends:
            break
        tick(f"speed, pair {number + 1} of at most {sequential.MOST}, {len(due)} of {len(results)} cases")
        due.sort(key=lambda i: -test.evidence[i])  # where time ends, it was spent on what looks slowest
        one = _Round(base, head, plugins, number, slowed or {}, ends)
        one.run([results[i] for i in due], cpus or [None])
        if number + 1 >= sequential.FIRST:
            test.look(_matrix(results, number + 1))
    for result, verdict, deviation in zip(results, test.verdicts, test.deviation, strict=True):
        result.deviation = float(deviation)
        if not result.reason:
            result.status = _status(int(verdict), result.ratios)
    return results


def _status(verdict: int, ratios: Sequence[float]) -> CaseStatus:
    if verdict == sequential.NOT_SLOWER:
        return "faster" if max(ratios) < FASTER else "same"
    return "slower" if verdict == sequential.SLOWER else "undecided"


def _matrix(results: Sequence[SpeedResult], pairs: int) -> NDArray[np.float64]:
    """`(pairs, cases)` log ratios; nan for a case that has not been in all of them."""
    nothing = [float("nan")] * pairs
    rows = [result.ratios if len(result.ratios) == pairs and not result.reason else nothing for result in results]
    return np.log(np.array(rows, dtype=float).reshape(len(results), pairs).T)


@dataclass(frozen=True)
class _Round:
    """A ratio more of each case: a pair of processes on each CPU at the same time, with its share of the cases."""

    base: Path
    head: Path
    plugins: Sequence[str]
    number: int
    slowed: Mapping[str, float]
    until: float
    stop: threading.Event = field(default_factory=threading.Event)

    def run(self, results: Sequence[SpeedResult], cpus: Sequence[int | None]) -> None:
        shares = [(cpu, results[place :: len(cpus)]) for place, cpu in enumerate(cpus)]
        with ThreadPoolExecutor(len(cpus)) as pool:
            lanes = [pool.submit(self._lane, cpu, share) for cpu, share in shares if share]
            try:
                for lane in as_completed(lanes):
                    lane.result()
            except BaseException:
                self.stop.set()  # the pool waits for the other lanes
                raise

    def _lane(self, cpu: int | None, results: Sequence[SpeedResult]) -> None:
        """One pair prepares its cases, and then times them."""
        with started(self.base, self.head, cpu, self.plugins, pair=self.number) as pair:
            for result in results:
                if self.stop.is_set():
                    return
                name, request = result.case.name, {"do": "prepare", "case": asdict(result.case)}
                asked = {"key": name, **request}, {"key": name, "slowed": self.slowed.get(name, 1.0), **request}
                answers = pair.each(*asked)
                if not all("seconds" in answer for answer in answers):
                    result.status, result.reason = of_unpaired(*answers)
            for result in results:
                if self.stop.is_set() or time.monotonic() > self.until:
                    return
                if not result.reason:
                    result.ratios.append(_ratio(pair, result, head_first=bool(self.number % 2)))


def _ratio(pair: Pair, result: SpeedResult, head_first: bool) -> float:
    """Median over blocks of head/base."""
    name = result.case.name
    result.seconds, _ = (float(side.ask("warm", key=name)["seconds"]) for side in pair)
    calls = max(1, round(TURN_SECONDS / max(result.seconds, 1e-6)))
    blocks = int(np.clip(round(BLOCK_SECONDS / max(result.seconds, TURN_SECONDS)), LEAST_BLOCKS, BLOCKS))
    first, second = reversed(pair) if head_first else pair
    turns = [
        [side.ask("time", key=name, calls=calls) for side in (first, second, second, first)] for _ in range(blocks)
    ]
    outer, inner = (np.array([[(turn[i]["cpu"], turn[i]["seconds"]) for turn in turns] for i in two]) for two in _TURNS)
    waits = any((side[..., 1] > WAITS * side[..., 0]).all() for side in (outer, inner))
    ratio = float(np.median((inner.sum(axis=0) / outer.sum(axis=0))[:, int(waits)]))
    return 1 / ratio if head_first else ratio


_TURNS = ((0, 3), (1, 2))
"""Of a block: those of the side that begins it, and of the other."""
