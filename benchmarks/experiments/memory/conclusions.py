"""What the experiment `memory` says: computed from its tables by stated rules, never typed."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby, product
from statistics import median

from benchmarks.experiments.memory.settings import ROOM, MemorySettings
from benchmarks.experiments.memory.theory import Floor, floors
from benchmarks.experiments.memory.training import Curve
from benchmarks.reports.template import render, table


@dataclass(frozen=True)
class Summary:
    """One memory at one depth from one start, over seeds.

    Attributes:
        start, tasks, memory, depth: which.
        steps, steps_low, steps_high: median, least and most steps to come within the tolerance; infinite for never.
        gap, gap_low, gap_high: median, least and largest gap after the last budget.
        last: the last budget.
    """

    start: str
    tasks: str
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
    """One for each start, law, memory and depth, in the order of the curves."""
    groups: dict[tuple[str, str, str, int], list[Curve]] = {}
    for curve in curves:
        groups.setdefault((curve.start, curve.tasks, curve.memory, curve.depth), []).append(curve)
    found = []
    for key, group in groups.items():
        steps = [steps_needed(curve.gaps, within) for curve in group]
        gaps = [curve.last for curve in group]
        spread = (median(steps), min(steps), max(steps), median(gaps), min(gaps), max(gaps))
        found.append(Summary(*key, *spread, max(group[0].gaps)))
    return found


def least_memory(found: Sequence[Summary], ladder: Sequence[str], within: float) -> dict[int, str | None]:
    """For each depth the first rung that reaches the floor from one of the starts, None if none does."""
    least: dict[int, str | None] = {}
    for depth in sorted({summary.depth for summary in found}):
        reaching = {s.memory for s in found if s.depth == depth and s.gap <= within}
        least[depth] = next((rung for rung in ladder if rung in reaching), None)
    return least


def conclusions(settings: MemorySettings, theory: Sequence[Floor], curves: Sequence[Curve]) -> str:
    """Markdown: the answers, and the tables they were computed from."""
    found, ladder = summaries((curve for curve in curves if not curve.noisy), settings.within), settings.ladder()
    names = list(dict.fromkeys(s.tasks for s in found))
    reach = {name: [s for s in found if s.tasks == name] for name in names}
    by_start = {
        f"{name}; start: {start.name}.": [s for s in reach[name] if s.start == start.name]
        for name, start in product(names, settings.starts)
    }
    return render(
        ROOM,
        "conclusions.md.jinja",
        settings=settings,
        theory=[theory_sentence(theory), _theory_table(theory, _floor_cell), _theory_table(theory, _gain_cell)],
        noisy=noisy_passages(settings, [curve for curve in curves if curve.noisy]),
        reach=[
            (name, reach_sentence(least_memory(own, ladder, settings.within), ladder), _reach_table(own))
            for name, own in reach.items()
        ],
        speed=[(title, speed_sentence(own, ladder), _steps_table(own)) for title, own in by_start.items() if own],
        errors=error_sentence(curves),
    )


def theory_sentence(theory: Sequence[Floor]) -> str:
    """Of each law, from which depth on the best method needs memory, and what it gains."""
    words = []
    for name, group in groupby(theory, key=lambda floor: floor.tasks):
        own = list(group)
        needing = [floor for floor in own if floor.real < floor.depth]
        if needing:
            most = max(needing, key=lambda floor: floor.gain)
            where = ", ".join(str(floor.depth) for floor in needing)
            words.append(f"{name}: complex roots at {where}, where memory gains up to {most.gain:.4f} ({most.depth})")
        else:
            words.append(f"{name}: all roots are real up to {own[-1].depth}, so no memory is needed")
    return "".join(f"* {word}.\n" for word in words)


def noisy_passages(settings: MemorySettings, curves: Sequence[Curve]) -> list[str]:
    """Of each law with noise that is trained on: what memory gained, and a table of exact losses."""
    found = []
    for tasks in settings.tasks:
        own = [curve for curve in curves if curve.tasks == tasks.name]
        if not own:
            continue
        theory = {floor.depth: floor for floor in floors(settings, tasks)}
        found += [noisy_sentence(own, theory), _noisy_table(own, theory)]
    return found


def noisy_sentence(curves: Sequence[Curve], theory: dict[int, Floor]) -> str:
    """Which trained models with memory are better than any without can be, and how near the gain is to theory's."""
    words = []
    for depth in sorted({curve.depth for curve in curves}):
        floor = theory[depth]
        own = {
            memory: [curve.last for curve in curves if (curve.memory, curve.depth) == (memory, depth)]
            for memory in dict.fromkeys(curve.memory for curve in curves)
        }
        plain = median(own.pop("no memory"))
        best = min(own, key=lambda memory: median(own[memory]), default="")
        if not best:
            continue
        beyond = sum(gap < floor.gain for gap in own[best])
        gain = plain - median(own[best])
        words.append(
            f"at {_layers([depth])} memory ({best}) gains {gain:.4f} on what was trained without it, where "
            f"the best there is gains {floor.gain:.4f} on the best without, and "
            f"{beyond} of {len(own[best])} models with it are better than any model without can be"
        )
    return "; ".join(words).capitalize() + "."


def error_sentence(curves: Sequence[Curve]) -> str:
    """How well gaps within the tolerance are known that are not exact."""
    errors: dict[int, float] = {}
    for curve in curves:
        if curve.error > 0 and curve.last < 1:
            errors[curve.depth] = max(errors.get(curve.depth, 0.0), curve.error)
    listed = ", ".join(f"{error:.4f} at {_layers([depth])}" for depth, error in sorted(errors.items()))
    return f"Largest standard errors of last gaps below 1: {listed}." if listed else "No gap has an error."


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
        else:
            outcome = f"{plain:g} steps without and {best:g} with memory ({fastest})"
        words.append(f"at {_layers([depth])} {outcome}")
    return "; ".join(words).capitalize() + "."


def _layers(depths: Sequence[int]) -> str:
    """Example: `1, 2 and 3 layers`."""
    numbers = [str(depth) for depth in depths]
    joined = numbers[0] if len(numbers) == 1 else f"{', '.join(numbers[:-1])} and {numbers[-1]}"
    return f"{joined} layer{'' if list(depths) == [1] else 's'}"


def _named(rung: str) -> str:
    return rung if rung.startswith(("no ", "all ")) else f"memory {rung!r}"


def _theory_table(theory: Sequence[Floor], cell: Callable[[Floor], str]) -> str:
    """Laws by depths."""
    rows = [[name, *map(cell, own)] for name, own in groupby(theory, key=lambda floor: floor.tasks)]
    return table(rows, ["law", *(f"L = {depth}" for depth in sorted({floor.depth for floor in theory}))])


def _floor_cell(floor: Floor) -> str:
    return f"{floor.log_floor:.4f}" if floor.exact else f"{floor.log_floor:.3f} ±{floor.error:.3f}"


def _gain_cell(floor: Floor) -> str:
    return "real" if floor.real == floor.depth else f"{floor.real} real, {floor.gain:.4f}"


def _noisy_table(curves: Sequence[Curve], theory: dict[int, Floor]) -> str:
    """Exact log losses of trained models, by depth, beside those of theory."""
    depths = sorted({curve.depth for curve in curves})
    rows = [["theory: floor", *(f"{theory[k].log_floor:.4f}" for k in depths)]]
    rows += [["theory: best without memory", *(f"{theory[k].without:.4f}" for k in depths)]]
    for memory in dict.fromkeys(curve.memory for curve in curves):
        row = [f"trained: {memory}"]
        for k in depths:
            own = [theory[k].log_floor + c.last for c in curves if (c.memory, c.depth) == (memory, k)]
            row.append(f"{median(own):.4f} ({min(own):.4f} – {max(own):.4f})")
        rows.append(row)
    return table(rows, ["log loss", *(f"L = {depth}" for depth in depths)])


def _reach_table(own: Sequence[Summary]) -> str:
    """Memories by depths: the least gap after the last budget over starts."""
    return _by_depth("gap after the last step", own, lambda some: f"{min(s.gap for s in some):+.4f}")


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
