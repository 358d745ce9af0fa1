"""The verdict as a short Markdown page for a pull request."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from tabulate import tabulate

from benchmarks.regression.gate import losses, speed, status
from benchmarks.regression.gate.losses import LossResult
from benchmarks.regression.gate.speed import SpeedResult
from benchmarks.regression.gate.status import FAILS, MOST_UNCOMPARED, NOT_COUNTED, UNCOMPARED

Result = SpeedResult | LossResult

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
    """

    base: str
    head: str
    machine: str
    seconds: float
    speed: Sequence[SpeedResult]
    losses: Sequence[LossResult]
    uncovered: Sequence[str] = ()

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
        if not self._results:
            return ["there was nothing to compare"]
        return [f"{name}: {why}" for name, half in self._halves if half and (why := _why_unjudged(half))]

    @property
    def passed(self) -> bool:
        """Whether enough was compared and nothing stops the change."""
        return not self.failures and not self.unjudged

    def counts(self) -> str:
        """How many cases were compared, in words."""
        words = []
        for name, half in self._halves:
            compared, counted, new = _count(half)
            if half:
                words.append(f"{name} {compared} of {counted}" + (f" and {new} new" if new else ""))
        return f"Cases compared: {', '.join(words)}." if words else ""

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


def _why_unjudged(results: Sequence[Result]) -> str:
    """Why so few comparisons are no verdict; empty if they are enough."""
    compared, counted, _ = _count(results)
    if not compared:
        return "nothing was compared"
    if counted - compared > MOST_UNCOMPARED * counted:
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
    ordered = sorted(result.ratios)
    middle = len(ordered) // 2
    median = ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2
    return f"{median:.3f} ({ordered[0]:.3f} to {ordered[-1]:.3f})"


def markdown(verdict: Verdict) -> str:
    """The page."""
    failures = verdict.failures
    title = "**Passed.**"
    if verdict.unjudged:
        title = f"**Not judged**: {'; '.join(verdict.unjudged)}."
    elif failures:
        title = f"**Stopped**: {len(failures)} of the checks fail."
    lines = [
        "# Speed and loss against the base",
        "",
        f"{title} Base {verdict.base}, head {verdict.head}; {verdict.machine}; {verdict.seconds:.0f} s.",
        "",
        *[f"- {failure}" for failure in failures],
        *([""] if failures else []),
    ]
    lines += [*_notes(verdict), status.RULE, ""]
    if verdict.speed:
        lines += ["## Speed", "", speed.RULE, "", *_folded("every case", _speed_table(verdict.speed)), ""]
    if verdict.losses:
        lines += ["## Loss", "", losses.RULE, "", *_folded("what is not the same", _loss_table(verdict.losses)), ""]
    return "\n".join(lines)


def _notes(verdict: Verdict) -> list[str]:
    """What is worth saying beside the verdict."""
    found = [verdict.counts()]
    for kind, words in (
        ("faster", "Faster"),
        ("new", "Not in base, so not counted"),
        ("unpaired", "Not compared"),
    ):
        names = [_what(result) for result in (*verdict.speed, *verdict.losses) if result.status == kind]
        if names:
            found.append(f"{words}: {', '.join(names)}.")
    if verdict.losses:
        counts = {kind: sum(r.status == kind for r in verdict.losses) for kind in ("same", "changed", "better")}
        held = sum(not math.isnan(result.against_table) for result in verdict.losses)
        found.append(
            f"Losses: {counts['same']} of {len(verdict.losses)} the same task by task, {counts['changed']} changed "
            f"within the tolerance, {counts['better']} better; {held} held to the committed table."
        )
    return [line for part in found if part for line in (part, "")]


def _folded(title: str, table: str) -> list[str]:
    return ["<details>", f"<summary>{title}</summary>", "", table or "nothing", "", "</details>"]


def _speed_table(results: Sequence[SpeedResult]) -> str:
    rows = [
        (
            result.case.name,
            "" if math.isnan(result.seconds) else f"{1e3 * result.seconds:.3g}",
            _times(result),
            len(result.first) + len(result.second),
            result.status,
            result.reason,
        )
        for result in results
    ]
    headers = ("case", "base, ms", "head/base: median (range over pairs)", "pairs", "verdict", "reason")
    return tabulate(rows, headers=headers, tablefmt="pipe", disable_numparse=True)


def _loss_table(results: Sequence[LossResult]) -> str:
    rows = [
        (
            result.case.name,
            result.steps,
            *("" if math.isnan(value) else f"{value:+.4f}" for value in (result.log_ratio, result.low, result.high)),
            "" if math.isnan(result.against_table) else f"{result.against_table:+.4f}",
            result.status,
            result.reason,
        )
        for result in results
        if result.status != "same"
    ]
    headers = ("solver and law", "steps", "log(head/base)", "from", "to", "log(head/table)", "verdict", "reason")
    return tabulate(rows, headers=headers, tablefmt="pipe", disable_numparse=True) if rows else ""
