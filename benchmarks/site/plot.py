"""Plots as SVG that is part of a page: readable without JavaScript, coloured by the page's style, every point named.

A page sets the type and the colours, in the dark too, and places names beside the curves, or under them where it is
narrow; so what is computed here is where things are, in units of a drawing that scales.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.reports.style import spread
from benchmarks.site.curves import Curve, Point
from benchmarks.site.numbers import minus, significant

WIDTH, LEAST_HEIGHT = 420, 380
LEFT, RIGHT, TOP, BOTTOM = 44, 24, 10, 44
LINE = 17
"""Units between two names beside a plot."""

STEPS_AXIS, TIME_AXIS = "steps, or layers", "warm time of a solve, µs a task (logarithmic)"


@dataclass(frozen=True)
class Axis:
    """Places of values between two ends of a drawing, linear or logarithmic."""

    low: float
    high: float
    start: float
    end: float
    logarithmic: bool = False

    def place(self, value: float) -> float:
        """Where a value is, to a tenth of a unit."""
        low, high, here = (math.log(v) if self.logarithmic else v for v in (self.low, self.high, value))
        share = (here - low) / (high - low) if high > low else 0.5
        return round(self.start + share * (self.end - self.start), 1)

    def ticks(self, most: int = 7) -> list[float]:
        """Round values along it, `most` at most.

        Example:
            >>> Axis(-3.2, 1.1, 0, 1).ticks(5), Axis(3, 80, 0, 1, True).ticks()
            ([-3.0, -2.0, -1.0, 0.0, 1.0], [5.0, 10.0, 20.0, 50.0])
        """
        if self.logarithmic:
            decades = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
            for leads in (range(1, 10), (1, 2, 5), (1,)):
                found = [float(f"{lead}e{n}") for n in decades for lead in leads]
                found = [tick for tick in found if self.low <= tick <= self.high]
                if len(found) <= most:
                    break
            return found[:: math.ceil(len(found) / most) or 1]
        span = (self.high - self.low) or 1.0
        unit = 10.0 ** math.floor(math.log10(span / most))
        step = next(unit * lead for lead in (1, 2, 5, 10) if span / (unit * lead) <= most)
        return [round(n * step, 10) for n in range(math.ceil(self.low / step), math.floor(self.high / step) + 1)]


@dataclass(frozen=True)
class Drawn:
    """A curve in a drawing: `line` and `band` as lists of points, `dots` as x, y and words, `leader` to its name."""

    curve: Curve
    line: str
    band: str
    dots: Sequence[tuple[float, float, str]]
    leader: str
    top: float


@dataclass(frozen=True)
class Plot:
    """A drawing.

    Attributes:
        title, x_title: in words.
        height: of the drawing, whose width is `WIDTH`.
        x_ticks, y_ticks: places and texts.
        curves: from the bottom up: those without a name, floors, the others, what is learned.
        names: the named ones from top to bottom; `top` is where the name goes, as a percentage of the height.
    """

    title: str
    x_title: str
    height: int
    x_ticks: Sequence[tuple[float, str]]
    y_ticks: Sequence[tuple[float, str]]
    curves: Sequence[Drawn]
    names: Sequence[Drawn]
    width: int = WIDTH
    left: int = LEFT
    right: int = WIDTH - RIGHT
    top: int = TOP

    @property
    def bottom(self) -> int:
        """Where the x axis lies."""
        return self.height - BOTTOM


def against_steps(title: str, curves: Sequence[Curve]) -> Plot | None:
    """Log loss against steps; None where nothing has a loss above rounding."""
    steps = sorted({point.steps for curve in curves for point in curve.points})
    if not steps:
        return None
    wide = steps[0] > 0 and steps[-1] > 16 * steps[0]
    edge = 1.06 if wide else 0.04 * (steps[-1] - steps[0]) or 0.5
    low, high = (steps[0] / edge, steps[-1] * edge) if wide else (steps[0] - edge, steps[-1] + edge)
    axis = Axis(low, high, LEFT, WIDTH - RIGHT, wide)
    shown: list[tuple[float, str]] = []
    for place, step in ((axis.place(step), step) for step in steps):
        if not shown or place - shown[-1][0] >= 24:
            shown.append((place, str(step)))
    return _plot(title, STEPS_AXIS, axis, shown, [(curve, [p.steps for p in curve.points]) for curve in curves])


def against_time(title: str, curves: Sequence[Curve], steps: int) -> Plot | None:
    """Log loss against warm time, a floor being the one after `steps` steps; None where nothing named was timed."""
    timed = [(c, [p for p in c.points if p.microseconds > 0]) for c in curves if c.kind != "floor"]
    times = [p.microseconds for c, points in timed for p in points if c.named]
    if not times:
        return None
    axis = Axis(min(times) / 1.15, max(times) * 1.15, LEFT, WIDTH - RIGHT, True)
    lines: list[tuple[Curve, list[float]]] = [
        (Curve(c.key, c.name, c.kind, c.named, points), [p.microseconds for p in points])
        for c, points in timed
        if points
    ]
    for curve in curves:
        here = [p for p in curve.points if p.steps == steps and curve.kind == "floor"]
        if here:
            ends = [axis.low, axis.high]
            lines.append((Curve("", curve.name, "floor", True, here * 2), ends))
    ticks = [(axis.place(tick), significant(tick)) for tick in axis.ticks()]
    return _plot(title, TIME_AXIS, axis, ticks, lines)


def _plot(
    title: str,
    x_title: str,
    x_axis: Axis,
    x_ticks: Sequence[tuple[float, str]],
    lines: Sequence[tuple[Curve, Sequence[float]]],
) -> Plot:
    named = [curve for curve, _ in lines if curve.named]
    height = max(LEAST_HEIGHT, LINE * len(named) + TOP + 20)
    low, high = _range([point for curve in named for point in curve.points])
    y_axis = Axis(low, high, height - BOTTOM, TOP)
    drawn = {id(curve): _drawn(curve, x, x_axis, y_axis) for curve, x in lines}
    ends = [min(max(drawn[id(curve)].dots[-1][1], TOP), height - BOTTOM) for curve in named]
    places = _inside(spread(ends, LINE), LINE / 2, height - LINE / 2) if named else []
    labelled = []
    for curve, place in zip(named, places, strict=True):
        one = drawn[id(curve)]
        x, y = one.dots[-1][0], min(max(one.dots[-1][1], TOP), height - BOTTOM)
        leader = f"{x},{y} {WIDTH - RIGHT},{y} {WIDTH},{place:.1f}"
        labelled.append(Drawn(curve, one.line, one.band, one.dots, leader, round(100 * place / height, 2)))
    others = [drawn[id(curve)] for curve, _ in lines if not curve.named]
    y_ticks = [(y_axis.place(tick), minus(f"{tick:g}")) for tick in y_axis.ticks()]
    floors = [one for one in labelled if one.curve.kind == "floor"]
    solvers = sorted(
        (one for one in reversed(labelled) if one not in floors), key=lambda one: one.curve.kind == "learned"
    )
    names = sorted(labelled, key=lambda one: one.top)
    return Plot(title, x_title, height, x_ticks, y_ticks, [*others, *floors, *solvers], names)


def _range(points: Sequence[Point]) -> tuple[float, float]:
    """Heights that are shown: all, but for those beyond Tukey's upper fence, which would press the others together."""
    values = np.array([point.y for point in points] or [0.0, 1.0])
    low, quarter, three = (float(np.quantile(values, share)) for share in (0, 0.25, 0.75))
    high = min(float(values.max()), three + 1.5 * (three - quarter) + 1)
    edge = 0.04 * (high - low) or 0.5
    return low - edge, high + edge


def _drawn(curve: Curve, x: Sequence[float], x_axis: Axis, y_axis: Axis) -> Drawn:
    across = [x_axis.place(value) for value in x]
    dots = [(a, y_axis.place(p.y), p.words) for a, p in zip(across, curve.points, strict=True)]
    known = [(a, p) for a, p in zip(across, curve.points, strict=True) if p.low == p.low and p.high == p.high]
    edge = [(a, p.low) for a, p in known] + [(a, p.high) for a, p in reversed(known)]
    band = " ".join(f"{a},{y_axis.place(y)}" for a, y in edge) if len(known) > 1 else ""
    return Drawn(curve, " ".join(f"{a},{y}" for a, y, _ in dots), band, dots, "", 0.0)


def _inside(places: Sequence[float], low: float, high: float) -> list[float]:
    """Places a line apart moved as little as is needed to lie between two ends.

    Example:
        >>> _inside([-3.0, 14.0, 90.0], 0.0, 80.0)
        [0.0, 17.0, 80.0]
    """
    order = sorted(range(len(places)), key=lambda index: places[index])
    moved = list(places)
    least = low
    for index in order:
        moved[index] = max(moved[index], least)
        least = moved[index] + LINE
    most = high
    for index in reversed(order):
        moved[index] = min(moved[index], most)
        most = moved[index] - LINE
    return moved
