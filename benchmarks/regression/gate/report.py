"""The verdict as a short Markdown page for a pull request."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median

from benchmarks.regression.gate import losses, status
from benchmarks.regression.gate.losses import LossResult
from benchmarks.regression.gate.sequential import PINNED
from benchmarks.regression.gate.speed import SpeedResult, rule_text
from benchmarks.regression.gate.status import FAILS, MOST_UNCOMPARED, NOT_COUNTED, UNCOMPARED
from benchmarks.reports import escape
from benchmarks.reports.template import render

Result = SpeedResult | LossResult

_NAMED = ("faster", "new", "unpaired", "undecided")

LISTED = 5
"""So many cases that could not be compared for one reason are named; more are counted."""


@dataclass(frozen=True)
class Verdict:
    """A finished check.

    Attributes:
        base, head: what was compared, in words.
        machine: what on, in words.
        seconds: it took.
        speed, losses: the results; empty if that half was left out.
        uncovered: solvers of base that head has no case of.
        notes: sentences about the machine, and about lines that accept nothing.
        rule: of speed, in words.
        untouched: cases of speed and of losses that were not measured, for nothing that they run differs.
    """

    base: str
    head: str
    machine: str
    seconds: float
    speed: Sequence[SpeedResult]
    losses: Sequence[LossResult]
    uncovered: Sequence[str] = ()
    notes: Sequence[str] = ()
    rule: str = field(default_factory=lambda: rule_text(PINNED))
    untouched: tuple[int, int] = (0, 0)

    @property
    def failures(self) -> list[str]:
        """What stops the change, a sentence each; cases that could not be compared for one reason share one."""
        found = [f"{_what(r)}: {r.status}{_because(r)}" for r in self._results if r.status in FAILS and _compared(r)]
        apart: dict[str, list[str]] = {}
        for result in self._results:
            if result.status in FAILS and not _compared(result):
                apart.setdefault(f"{result.status}{_because(result)}", []).append(_what(result))
        for why, what in apart.items():
            found.append(f"{', '.join(what) if len(what) <= LISTED else f'{len(what)} cases'}: {why}")
        return found + [f"solver {name}: gone, head has no case of it" for name in self.uncovered]

    @property
    def unjudged(self) -> list[str]:
        """Why there is no verdict, a sentence for each half; empty if there is one."""
        if not self._results and not any(self.untouched):
            return ["there was nothing to compare"]
        halves = zip(self._halves, self.untouched, strict=True)
        return [f"{name}: {why}" for (name, half), alike in halves if half and (why := _why_unjudged(half, alike))]

    @property
    def passed(self) -> bool:
        """Whether enough was compared and nothing stops the change."""
        return not self.failures and not self.unjudged

    def counts(self) -> str:
        """How many cases were compared, in words."""
        words = []
        for (name, half), untouched in zip(self._halves, self.untouched, strict=True):
            compared, counted, new = _count(half)
            if half or untouched:
                more = f" and {new} new" if new else ""
                words.append(
                    f"{name} {compared} of {counted}{more}" + (f", {untouched} untouched" if untouched else "")
                )
        return f"Cases compared: {'; '.join(words)}." if words else ""

    @property
    def _halves(self) -> list[tuple[str, Sequence[Result]]]:
        return [("speed", self.speed), ("losses", self.losses)]

    @property
    def _results(self) -> list[Result]:
        return [*self.speed, *self.losses]


def _count(results: Sequence[Result]) -> tuple[int, int, int]:
    """Cases that were compared, that count, and that do not."""
    cases = {result.case.name: result for result in results}.values()
    new = sum(result.status in NOT_COUNTED for result in cases)
    return sum(map(_compared, cases)), len(cases) - new, new


def _compared(result: Result) -> bool:
    return result.status not in NOT_COUNTED + UNCOMPARED


def _why_unjudged(results: Sequence[Result], untouched: int) -> str:
    """Why so few comparisons are no verdict; empty if they are enough. What is untouched is as good as compared."""
    compared, counted, _ = _count(results)
    if not compared + untouched:
        return "nothing was compared"
    if counted - compared > MOST_UNCOMPARED * (counted + untouched):
        return f"{counted - compared} of {counted} cases could not be compared, more than {MOST_UNCOMPARED:.0%}"
    return ""


def _what(result: Result) -> str:
    """The case, in words."""
    if isinstance(result, SpeedResult):
        return result.case.name
    return f"loss of {result.case.name}" + (f" after {result.steps} steps" if _compared(result) else "")


def _because(result: Result) -> str:
    if result.reason:
        return f", {result.reason}"
    if isinstance(result, SpeedResult):
        return f", {_times(result)} as long"
    return ""


def _times(result: SpeedResult) -> str:
    """Median ratio and the range over pairs of processes."""
    if not result.ratios:
        return ""
    return f"{median(result.ratios):.3f} ({min(result.ratios):.3f} to {max(result.ratios):.3f})"


def _much(result: Result) -> str:
    """By how much something that is accepted is slower or worse."""
    if isinstance(result, SpeedResult):
        return f", {_times(result)} as long"
    return "" if math.isnan(result.log_ratio) else f", {100 * math.expm1(result.log_ratio):.2g} % worse"


def markdown(verdict: Verdict) -> str:
    """The page."""
    results = verdict._results
    named = {kind: ", ".join(_what(r) for r in results if r.status == kind) for kind in _NAMED}
    return render(
        "benchmarks.regression.gate",
        "verdict.md.jinja",
        verdict=verdict,
        named=named,
        losses=Counter(result.status for result in verdict.losses),
        held=sum(not math.isnan(result.against_table) for result in verdict.losses),
        accepted=[f"{_what(r)}{_much(r)}: {r.reason}" for r in results if r.status == "accepted"],
        rules={"cases": status.RULE, "speed": verdict.rule, "losses": losses.RULE},
        speed_rows=[
            (
                result.case.name,
                "" if math.isnan(result.seconds) else f"{1e3 * result.seconds:.3g}",
                _times(result),
                len(result.ratios),
                "" if math.isnan(result.deviation) else f"{100 * result.deviation:.1f}",
                result.status,
                escape.markdown(result.reason),
            )
            for result in verdict.speed
        ],
        loss_rows=[
            (
                result.case.name,
                result.steps,
                *map(_signed, (result.log_ratio, result.low, result.high, result.against_table)),
                result.status,
                escape.markdown(result.reason),
            )
            for result in verdict.losses
            if result.status != "same"
        ],
    )


def _signed(value: float) -> str:
    return "" if math.isnan(value) else f"{value:+.4f}"
