"""One more ratio of each case: a pair of fresh processes on every CPU at the same time, and calls in turn.

A pair times a case in blocks base, head, head, base (every other pair the other way round), as short as one call
allows, so that whatever else the machine does falls on both alike; the block's ratio is head/base, the pair's ratio the
median over its blocks.

The clock counts CPU time, which other programs lengthen less. A case that waits in every turn, for a child or a disk,
is timed by the clock on the wall.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.regression.gate.cases import SpeedCase
from benchmarks.regression.gate.paired_processes import Pair, opened
from benchmarks.regression.gate.status import CaseStatus, of_unpaired

BLOCKS, LEAST_BLOCKS = 80, 6
TURN_SECONDS = 0.5e-3
"""A turn of a side lasts about this long, or one call."""

BLOCK_SECONDS = 0.16
"""Of the slower side, in one pair: long calls get fewer blocks."""

WAITS = 1.1
"""A case waits if each of its turns takes so many times its CPU time, and gives its CPU up by itself."""


@dataclass(frozen=True)
class Due:
    """A case that a round is to measure.

    Attributes:
        case: what is timed.
        until: it is left out once `time.monotonic` is past this.
        slowed: planted slowdown of head, where the gate itself is studied.
    """

    case: SpeedCase
    until: float = float("inf")
    slowed: float = 1.0

    @property
    def over(self) -> bool:
        """Whether there is no time for it any more."""
        return time.monotonic() > self.until


@dataclass(frozen=True)
class Measured:
    """Head/base of one pair of processes, and seconds of one call of base."""

    ratio: float
    seconds: float


@dataclass(frozen=True)
class Unmeasured:
    """Why a case has no ratio."""

    status: CaseStatus
    reason: str


Outcome = Measured | Unmeasured


def one_round(
    base: Path, head: Path, due: Sequence[Due], cpus: Sequence[int], plugins: Sequence[str], number: int
) -> dict[str, Outcome]:
    """What became of the cases that there was time for, by name.

    Args:
        base: a tree.
        head: the checkout.
        due: the cases, those first that matter most.
        cpus: each has a pair of its own, and a share of the cases; none: one pair, not pinned.
        plugins: see `benchmarks.regression.gate.paired_processes.Process`.
        number: of the round.
    """
    places = list(cpus) or [None]
    shares = [(cpu, due[place :: len(places)]) for place, cpu in enumerate(places)]
    found: dict[str, Outcome] = {}
    with ExitStack() as stack:
        lanes = [
            (stack.enter_context(opened(base, head, cpu, plugins, number)), share) for cpu, share in shares if share
        ]
        with ThreadPoolExecutor(len(lanes)) as pool:
            try:
                for lane in as_completed([pool.submit(_lane, pair, share, number) for pair, share in lanes]):
                    found |= lane.result()
            except BaseException:
                for pair, _ in lanes:  # the pool would wait for their answers
                    pair.kill()
                raise
    return found


def _lane(pair: Pair, due: Sequence[Due], number: int) -> dict[str, Outcome]:
    """One pair prepares its cases, both sides at once, and then times them in turn."""
    pair.wait()
    found: dict[str, Outcome] = {}
    for one in due:
        if not one.over:
            request = {"do": "prepare", "key": one.case.name, "case": asdict(one.case)}
            answers = pair.each(request, {**request, "slowed": one.slowed})
            if not all("seconds" in answer for answer in answers):
                found[one.case.name] = Unmeasured(*of_unpaired(*answers))
    for one in due:
        if not one.over and one.case.name not in found:
            found[one.case.name] = _timed(pair, one.case.name, head_first=bool(number % 2))
    return found


class _Failed(Exception):
    """A side that was prepared cannot do it any more."""


def _timed(pair: Pair, name: str, head_first: bool) -> Outcome:
    """Median over blocks of head/base."""
    answers: list[dict[str, Any]] = [{}, {}]

    def ask(side: int, do: str, **what: Any) -> dict[str, Any]:
        answers[side] = pair[side].ask(do, key=name, **what)
        if "seconds" not in answers[side]:
            raise _Failed
        return answers[side]

    try:
        warm = [float(ask(side, "warm")["seconds"]) for side in (0, 1)]
        longest = max(warm)
        calls = max(1, round(TURN_SECONDS / max(longest, 1e-6)))
        blocks = int(np.clip(round(BLOCK_SECONDS / max(longest, TURN_SECONDS)), LEAST_BLOCKS, BLOCKS))
        first, second = (1, 0) if head_first else (0, 1)
        turns = [[ask(side, "time", calls=calls) for side in (first, second, second, first)] for _ in range(blocks)]
    except _Failed:
        return Unmeasured(*of_unpaired(*answers))
    outer, inner = (np.array([[_read(block[place]) for place in two] for block in turns]) for two in ((0, 3), (1, 2)))
    cpu, wall = ((inner[..., clock].sum(axis=1) / outer[..., clock].sum(axis=1)) for clock in (0, 1))
    ratio = float(np.median(wall if _waits(outer) or _waits(inner) else cpu))
    return Measured(1 / ratio if head_first else ratio, warm[0])


def _read(answer: dict[str, Any]) -> tuple[float, float, float]:
    return float(answer["cpu"]), float(answer["seconds"]), float(answer["waited"])


def _waits(turns: NDArray[np.float64]) -> bool:
    """Whether the clock on the wall is to time a side: `(blocks, 2, 3)` CPU time, time, and waits of its turns."""
    cpu, wall, waited = (turns[..., place] for place in range(3))
    return bool((cpu <= 0).any() or ((wall > WAITS * cpu) & (waited > 0)).all())
