"""What the learnability experiment says: computed from its table by stated rules, never typed."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from benchmarks.experiments.learnability.rates import Rate
from benchmarks.experiments.learnability.scoring import Risk
from benchmarks.experiments.learnability.settings import ROOM, Learnability
from benchmarks.reports.template import render, table
from benchmarks.statistics import mean_interval_of_few


class ClassSummary(NamedTuple):
    """One class, depth and m, over training sets.

    Attributes:
        kind, depth, tasks: which.
        loss, loss_low, loss_high: mean log loss and its interval; infinite if a set's loss is.
        excess, excess_low, excess_high: the same of log excess, of sets whose excess is positive; nan without two.
    """

    kind: str
    depth: int
    tasks: int
    loss: float
    loss_low: float
    loss_high: float
    excess: float
    excess_low: float
    excess_high: float


class Overtaking(NamedTuple):
    """From which m on a class at a depth beats a baseline of as many steps; None for never."""

    kind: str
    depth: int
    baseline: str
    tasks: int | None


def mean_and_interval(values: Sequence[float]) -> tuple[float, float, float]:
    """Mean and Student's 95 % interval; nan without two values, infinite if a value is.

    Example:
        >>> [round(x, 2) for x in mean_and_interval([0.0, 1.0, 2.0])]
        [1.0, -1.48, 3.48]
    """
    if len(values) < 2:
        return math.nan, math.nan, math.nan
    if not all(math.isfinite(value) for value in values):
        return math.inf, -math.inf, math.inf
    return mean_interval_of_few(values)


def _log(value: float) -> float:
    return math.log(value) if 0 < value < math.inf else math.inf


def summaries(risks: Sequence[Risk]) -> list[ClassSummary]:
    """One for each class, depth and m."""
    groups: dict[tuple[str, int, int], list[Risk]] = {}
    for risk in risks:
        groups.setdefault((risk.kind, risk.depth, risk.tasks), []).append(risk)
    return [
        ClassSummary(
            *key,
            *mean_and_interval([_log(risk.loss) for risk in group]),
            *mean_and_interval([_log(risk.excess) for risk in group if risk.excess > 0]),
        )
        for key, group in groups.items()
    ]


def overtakings(over: Sequence[ClassSummary], baselines: Mapping[str, Sequence[float]]) -> list[Overtaking]:
    """For each class, depth and baseline from which m on the class beats it."""
    found = []
    for kind, depth in dict.fromkeys((s.kind, s.depth) for s in over):
        own = sorted((s for s in over if (s.kind, s.depth) == (kind, depth)), key=lambda s: s.tasks, reverse=True)
        for baseline, losses in baselines.items():
            since = None
            for summary in own:
                if not summary.loss_high < math.log(losses[depth]):
                    break
                since = summary.tasks
            found.append(Overtaking(kind, depth, baseline, since))
    return found


def conclusions(
    settings: Learnability, over: Sequence[ClassSummary], rates: Sequence[Rate], overtaken: Sequence[Overtaking]
) -> str:
    """Markdown: the answers, and the tables they were computed from."""
    return render(
        ROOM,
        "conclusions.md.jinja",
        settings=settings,
        rates=[rate_sentence(rates), _rate_table(rates)],
        beaten=[beat_sentence(overtaken), _beat_table(overtaken, settings)],
        excess=[_excess_table(over, depth) for depth in settings.depths],
    )


def rate_sentence(rates: Sequence[Rate]) -> str:
    """How many of the fitted rates are of which kind, and whether any is slower than the bound's."""
    fitted = [rate for rate in rates if math.isfinite(rate.slope)]
    if not fitted:
        return "No rate could be fitted."
    counts = Counter(rate.verdict for rate in fitted)
    listed = ", ".join(f"{name}: {count}" for name, count in counts.items())
    slow = ", ".join(f"{rate.kind} at {rate.depth}" for rate in fitted if rate.verdict == "slower than m^-1/2")
    bound = f"Slower than m^-1/2: {slow}." if slow else "None is slower than m^-1/2."
    return f"Of {len(fitted)} rates of excess over a class's own floor: {listed}. {bound}"


def beat_sentence(overtaken: Sequence[Overtaking]) -> str:
    """Which classes ever beat each baseline, and at which depths."""
    words = []
    for baseline in dict.fromkeys(o.baseline for o in overtaken):
        ever: dict[str, list[str]] = {}
        for o in overtaken:
            if o.baseline == baseline and o.tasks is not None:
                ever.setdefault(o.kind, []).append(str(o.depth))
        named = "; ".join(f"{kind} at {', '.join(depths)} layers" for kind, depths in ever.items())
        words.append(f"`{baseline}` is beaten by {named or 'none of the classes at any m tried'}.")
    return " ".join(words)


def _rate_table(rates: Sequence[Rate]) -> str:
    rows = []
    for rate in rates:
        known = math.isfinite(rate.slope)
        slope = f"{rate.slope:.2f} [{rate.low:.2f}, {rate.high:.2f}]" if known else ""
        span = f"{rate.least:,} – {rate.most:,}" if known else ""
        rows.append([rate.kind, rate.depth, rate.floor, rate.parameters, slope, span, rate.verdict])
    return table(rows, ["class", "layers", "floor", "parameters", "slope", "m", "holds"])


def _beat_table(overtaken: Sequence[Overtaking], settings: Learnability) -> str:
    most = max(m for m, _ in settings.sizes)
    rows = []
    for kind in dict.fromkeys(o.kind for o in overtaken):
        for baseline in settings.baselines:
            cells = [
                f"{o.tasks:,}" if o.tasks else f"not by {most:,}"
                for o in sorted(overtaken, key=lambda o: o.depth)
                if (o.kind, o.baseline) == (kind, baseline)
            ]
            rows.append([kind, baseline, *cells])
    return table(rows, ["class", "baseline", *(f"L = {depth}" for depth in settings.depths)])


def _excess_table(over: Sequence[ClassSummary], depth: int) -> str:
    sizes = sorted({s.tasks for s in over})
    rows = []
    for kind in dict.fromkeys(s.kind for s in over):
        cells = {s.tasks: s for s in over if (s.kind, s.depth) == (kind, depth)}
        rows.append([kind, *(_cell(cells.get(m)) for m in sizes)])
    return table(rows, [f"L = {depth}", *(f"m = {m:,}" for m in sizes)])


def _cell(s: ClassSummary | None) -> str:
    if s is None:
        return ""
    if math.isnan(s.excess):
        return "not above"
    return f"{s.excess:.2f} ±{s.excess_high - s.excess:.2f}" if math.isfinite(s.excess) else "infinite"
