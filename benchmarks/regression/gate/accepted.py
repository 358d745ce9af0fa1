"""Slowdowns and losses that a change says it means: lines of its commit messages, or of the pull request.

    Slower: solve cg 10 % (it checks its input now)
    Worse: heavy_ball* on isotropic 2 % (the step the paper has)

A line names a case as the report does, `*` standing for anything, the most that is accepted, and why.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from statistics import median

from benchmarks.regression.gate.losses import LossResult
from benchmarks.regression.gate.speed import SpeedResult
from benchmarks.runs.git import git

_BEGINS = re.compile(r"\s*(slower|worse)\s*:", re.IGNORECASE)
_LINE = re.compile(r"\s*(slower|worse)\s*:\s*(\S.*?)\s+(\d+(?:\.\d+)?)\s*%\s*\((.*\S.*)\)\s*", re.IGNORECASE)

LONGEST, MOST = 300, 100
"""Letters of a line that are read, and lines: a pull request's text is a stranger's."""


@dataclass(frozen=True)
class Line:
    """What one line accepts.

    Attributes:
        kind: `slower` or `worse`.
        what: name of a case, or a pattern.
        percent: the most that is accepted.
        why: in the words of who wrote it.
    """

    kind: str
    what: str
    percent: float
    why: str

    def covers(self, kind: str, name: str, log_ratio: float) -> bool:
        """Whether it accepts that a case is slower or worse by this much."""
        most = math.log1p(self.percent / 100) + 1e-9
        return self.kind == kind and fnmatchcase(name, self.what) and log_ratio <= most

    def __str__(self) -> str:
        return f"{self.kind.capitalize()}: {self.what} {self.percent:g} % ({self.why})"


def read_lines(text: str) -> tuple[list[Line], list[str]]:
    """The lines of a text that accept something, and a sentence for each that tries to and cannot be read."""
    found, refused = [], []
    for line in dict.fromkeys(line for line in text.splitlines() if _BEGINS.match(line)):
        read = _LINE.fullmatch(line[:LONGEST])
        if len(found) + len(refused) == MOST:
            refused.append(f"more than {MOST} lines accept something; the rest is not read")
            break
        if read is None:
            refused.append(f"{line.strip()[:LONGEST]!r} accepts nothing: a line is 'Slower: CASE 10 % (why)', or Worse")
        else:
            found.append(Line(read[1].lower(), read[2], float(read[3]), read[4].strip()))
    return found, refused


def messages(root: Path, base: str) -> str:
    """What the commits say that the checkout has and base has not."""
    return git(root, "log", "--format=%B", f"{base}..HEAD").decode(errors="replace")


def accept(
    lines: Sequence[Line], speed: Sequence[SpeedResult], losses: Sequence[LossResult]
) -> tuple[list[SpeedResult], list[LossResult], list[str]]:
    """The results with what is accepted marked so, and a sentence for each line that accepted nothing."""
    used: set[Line] = set()

    def by(kind: str, name: str, log_ratio: float) -> str | None:
        line = next((line for line in lines if line.covers(kind, name, log_ratio)), None)
        if line is None:
            return None
        used.add(line)
        return str(line)

    timed = []
    for one in speed:
        why = by("slower", one.case.name, math.log(median(one.ratios))) if one.status == "slower" else None
        timed.append(one if why is None else replace(one, status="accepted", reason=why))
    scored = []
    for one in losses:
        most = max((x for x in (one.log_ratio, one.against_table) if math.isfinite(x)), default=math.inf)
        why = by("worse", one.case.name, most) if one.status == "worse" else None
        scored.append(one if why is None else replace(one, status="accepted", reason=why))
    idle = [f"'{line}' accepts nothing: no such case is {line.kind}, or by more" for line in lines if line not in used]
    return timed, scored, idle
