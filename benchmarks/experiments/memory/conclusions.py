"""What the experiment `memory` says: computed from its table by stated rules, never typed."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import product
from statistics import median

from benchmarks.experiments.memory.settings import ROOM, MemorySettings
from benchmarks.experiments.memory.training import Curve
from benchmarks.reports.template import render, table


@dataclass(frozen=True)
class Summary:
    """One memory at one depth from one start, over seeds.

    Attributes:
        start, preconditioner, memory, depth: which.
        steps, steps_low, steps_high: median, least and most steps to come within the tolerance; infinite for never.
        gap, gap_low, gap_high: median, least and largest gap after the last step.
        last: the last step.
    """

    start: str
    preconditioner: str
    memory: str
    depth: int
    steps: float
    steps_low: float
    steps_high: float
    gap: float
    gap_low: float
    gap_high: float
    last: int


def steps_needed(gaps: dict[int, float], within: float) -> float:
    """The first budget at which the gap is at most `within`; infinite if there is none.

    Example:
        >>> steps_needed({0: 1.0, 10: 0.2, 100: 0.01}, 0.05), steps_needed({0: 1.0}, 0.05)
        (100, inf)
    """
    return min((step for step, gap in gaps.items() if gap <= within), default=math.inf)


def summaries(curves: Iterable[Curve], within: float) -> list[Summary]:
    """One for each start, preconditioner, memory and depth, in the order of the curves."""
    groups: dict[tuple[str, str, str, int], list[Curve]] = {}
    for curve in curves:
        groups.setdefault((curve.start, curve.preconditioner, curve.memory, curve.depth), []).append(curve)
    found = []
    for key, group in groups.items():
        steps = [steps_needed(curve.gaps, within) for curve in group]
        last = max(group[0].gaps)
        gaps = [curve.gaps[last] for curve in group]
        spread = (median(steps), min(steps), max(steps), median(gaps), min(gaps), max(gaps))
        found.append(Summary(*key, *spread, last))
    return found


def least_memory(found: Sequence[Summary], ladder: Sequence[str], within: float) -> dict[int, str | None]:
    """For each depth the first rung that reaches the floor from one of the starts, None if none does."""
    least: dict[int, str | None] = {}
    for depth in sorted({summary.depth for summary in found}):
        reaching = {s.memory for s in found if s.depth == depth and s.gap <= within}
        least[depth] = next((rung for rung in ladder if rung in reaching), None)
    return least


def conclusions(settings: MemorySettings, found: Sequence[Summary]) -> str:
    """Markdown: the answers, and the tables they were computed from."""
    ladder, kinds = settings.ladder(), settings.preconditioners
    reach = {kind: [s for s in found if s.preconditioner == kind] for kind in kinds}
    by_start = {
        f"Start: {start.name}; {kind} Q.": [s for s in reach[kind] if s.start == start.name]
        for start, kind in product(settings.starts, kinds)
    }
    plain = {title: [s for s in own if s.memory == ladder[0]] for title, own in by_start.items()}
    return render(
        ROOM,
        "conclusions.md.jinja",
        settings=settings,
        reach=[
            (kind, reach_sentence(least_memory(own, ladder, settings.within), ladder), _reach_table(own))
            for kind, own in reach.items()
        ],
        speed=[(title, speed_sentence(own, ladder), _steps_table(own)) for title, own in by_start.items() if own],
        depth=[(title, depth_sentence(own)) for title, own in plain.items() if own],
    )


def reach_sentence(least: dict[int, str | None], ladder: Sequence[str]) -> str:
    """What memory is for, as far as reach goes."""
    reached = {depth: rung for depth, rung in least.items() if rung is not None}
    nobody = [depth for depth in least if depth not in reached]
    words = []
    for rung in ladder:
        depths = [depth for depth, least_rung in reached.items() if least_rung == rung]
        if depths:
            words.append(f"the least that reaches the floor at {_layers(depths)} is {_named(rung)}")
    if nobody:
        words.append(f"at {_layers(nobody)} none of {', '.join(ladder)} reaches it")
    only = reached and set(reached.values()) == {ladder[0]}
    verdict = " Memory extends no model's reach here." if only and not nobody else ""
    return "; ".join(words) + "." + verdict


def speed_sentence(own: Sequence[Summary], ladder: Sequence[str]) -> str:
    """How many times more steps a model without memory needs than the fastest rung with memory."""
    words = []
    for depth in sorted({s.depth for s in own}):
        steps = {s.memory: s.steps for s in own if s.depth == depth and s.memory in ladder}
        plain = steps.pop(ladder[0], math.inf)
        fastest = min(steps, key=lambda memory: steps[memory], default="")
        best = steps.get(fastest, math.inf)
        if best == math.inf:
            outcome = "nothing gets there" if plain == math.inf else f"only without memory ({plain:g} steps)"
        elif plain == math.inf:
            outcome = f"only with memory ({best:g} steps, {fastest})"
        elif max(plain, best) == 0:
            outcome = "the start is there already"
        else:
            outcome = f"{plain:g} steps without and {best:g} with memory ({fastest})"
        words.append(f"at {_layers([depth])} {outcome}")
    return "; ".join(words).capitalize() + "."


def depth_sentence(plain: Sequence[Summary]) -> str:
    """Steps by depth without memory, and the gap where the tolerance is not met."""
    words = []
    for s in sorted(plain, key=lambda s: s.depth):
        if s.steps == math.inf:
            words.append(f"{_layers([s.depth])}: not within {s.last} steps, gap {s.gap:+.2f}")
        else:
            words.append(f"{_layers([s.depth])}: {s.steps:g} steps")
    return "; ".join(words).capitalize() + "."


def _layers(depths: Sequence[int]) -> str:
    """Example: `1, 2 and 3 layers`."""
    numbers = [str(depth) for depth in depths]
    joined = numbers[0] if len(numbers) == 1 else f"{', '.join(numbers[:-1])} and {numbers[-1]}"
    return f"{joined} layer{'' if list(depths) == [1] else 's'}"


def _named(rung: str) -> str:
    return rung if rung.startswith(("no ", "all ")) else f"memory {rung!r}"


def _reach_table(own: Sequence[Summary]) -> str:
    """Memories by depths: the least gap after the last step over starts."""
    return _by_depth("gap after the last step", own, lambda some: f"{min(s.gap for s in some):+.3f}")


def _steps_table(own: Sequence[Summary]) -> str:
    """Memories by depths: median steps, least and most where seeds differ."""
    return _by_depth("steps", own, lambda some: _cell(some[-1]))


def _by_depth(title: str, own: Sequence[Summary], cell: Callable[[Sequence[Summary]], str]) -> str:
    depths, rows = sorted({s.depth for s in own}), []
    for memory in dict.fromkeys(s.memory for s in own):
        groups = [[s for s in own if (s.memory, s.depth) == (memory, depth)] for depth in depths]
        rows.append([memory, *(cell(group) if group else "" for group in groups)])
    return table(rows, [title, *(f"L = {depth}" for depth in depths)])


def _cell(s: Summary) -> str:
    middle, low, high = (f"> {s.last}" if n == math.inf else f"{n:g}" for n in (s.steps, s.steps_low, s.steps_high))
    return middle if low == high else f"{middle} ({low} – {high})"
