"""The verdict as a short Markdown page for a pull request."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from tabulate import tabulate

from benchmarks.regression.gate import losses, speed
from benchmarks.regression.gate.losses import LossResult
from benchmarks.regression.gate.speed import SpeedResult

FAILS = ("slower", "worse", "broken")
"""Statuses that stop a change."""


@dataclass(frozen=True)
class Verdict:
    """A finished check.

    Attributes:
        base, head: what was compared, in words.
        machine: what on, in words.
        seconds: it took.
        speed, losses: the results; empty if that half was left out.
    """

    base: str
    head: str
    machine: str
    seconds: float
    speed: Sequence[SpeedResult]
    losses: Sequence[LossResult]

    @property
    def failures(self) -> list[str]:
        """What stops the change, a sentence each."""
        slow = [f"{r.case.name}: {r.status}{_because(r)}" for r in self.speed if r.status in FAILS]
        worse = [
            f"loss of {r.case.name} after {r.steps} steps: {r.status}{_because(r)}"
            for r in self.losses
            if r.status in FAILS
        ]
        return slow + worse


def _because(result: SpeedResult | LossResult) -> str:
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
    title = f"**Stopped**: {len(failures)} of the checks fail." if failures else "**Passed.**"
    lines = [
        "# Speed and loss against the base",
        "",
        f"{title} Base {verdict.base}, head {verdict.head}; {verdict.machine}; {verdict.seconds:.0f} s.",
        "",
        *[f"- {failure}" for failure in failures],
        *([""] if failures else []),
    ]
    lines += _notes(verdict)
    if verdict.speed:
        lines += ["## Speed", "", speed.RULE, "", *_folded("every case", _speed_table(verdict.speed)), ""]
    if verdict.losses:
        lines += ["## Loss", "", losses.RULE, "", *_folded("what is not the same", _loss_table(verdict.losses)), ""]
    return "\n".join(lines)


def _notes(verdict: Verdict) -> list[str]:
    """What is worth saying beside the verdict."""
    found = []
    for status, words in (
        ("faster", "Faster"),
        ("new", "Not in base, so not judged"),
        ("gone", "Not in head any more"),
    ):
        names = [result.case.name for result in verdict.speed if result.status == status]
        if names:
            found.append(f"{words}: {', '.join(names)}.")
    if verdict.losses:
        counts = {status: sum(r.status == status for r in verdict.losses) for status in ("same", "changed", "better")}
        held = sum(not math.isnan(result.against_table) for result in verdict.losses)
        found.append(
            f"Losses: {counts['same']} of {len(verdict.losses)} the same task by task, {counts['changed']} changed "
            f"within the tolerance, {counts['better']} better; {held} held to the committed table."
        )
    return [*found, ""] if found else []


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
