"""One figure an experiment: published points and their redoing on the left, fresh tasks and floors on the right.

And one for each mixture of experts on fresh tasks.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any

from benchmarks.experiments.paper.curves import EXACT, Point, by_layers
from benchmarks.experiments.paper.entries import PaperExperiment
from benchmarks.experiments.paper.experts_fresh import FOLDS, Shift
from benchmarks.reports.style import CYCLE, MARKERS, caption, figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def experiment_figure(
    experiment: PaperExperiment, curves: dict[str, Any], redone: Sequence[Point], honest: Sequence[dict[str, Any]]
) -> Figure:
    """Draw one experiment.

    Args:
        experiment: which.
        curves: its published curves.
        redone: points of the published protocol.
        honest: rows of the suite `paper` on its law, of its solvers.
    """
    from matplotlib.ticker import MaxNLocator

    drawn, (left, *others) = figure(9.6 if honest else 5.6, 4.0, columns=2 if honest else 1, sharey=True)
    shown: list[float] = [row["log_mean"] for row in honest if row["log_mean"] > EXACT]
    for index, (curve, values) in enumerate(curves.items()):
        colour = CYCLE[index]
        left.plot(values["layers"], values["figure"], "x", color=colour, ms=7, mew=1.5, label=curve)
        mine = by_layers(redone, experiment.id, curve)
        _band(left, mine, colour)
        fresh = by_layers(redone, experiment.id, curve, "fresh")
        left.plot(list(fresh), [fmean(losses) for losses in fresh.values()], ":", color=colour, lw=1.2)
        shown += [*values["figure"], *(loss for losses in mine.values() for loss in losses)]
    for right in others:
        _fresh(right, honest)
        right.set_title("as it should be: fresh tasks, 95 % intervals")
    # What is published and what is honest fits; models that explode on fresh tasks run out at the top.
    span = max(shown) - min(shown)
    left.set_ylim(min(shown) - 0.08 * span, max(shown) + 0.15 * span)
    left.set_title("as published")
    left.set_ylabel("log of the mean squared error")
    for axes in (left, *others):
        axes.set_xlabel("layers or steps")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(axis="y", color="#eeeeee", lw=0.6)
        if axes.get_legend_handles_labels()[0]:
            axes.legend(fontsize=7, loc="best")
    drawn.suptitle(f"{experiment.id}: {experiment.title}", fontsize=10, x=0.01, ha="left")
    text = "crosses, the published figure; lines, the same redone, mean ± one standard deviation over seeds"
    end = "; dotted, the very same models on fresh tasks"
    caption(drawn, f"left: {text}{end}" if honest else f"{text}\n{end[2:]}")
    return drawn


def _fresh(axes: Axes, honest: Sequence[dict[str, Any]]) -> None:
    """Curves on fresh tasks, floors dashed."""
    labels = list(dict.fromkeys(row["label"] for row in honest))
    for index, label in enumerate(labels):
        rows = [row for row in honest if row["label"] == label]
        colour, dash = ("black", "--") if rows[0]["is_floor"] else (CYCLE[index], "-")
        _curve(axes, [row["steps"] for row in rows], rows, 0.2, color=colour, ls=dash, label=label)


def _curve(axes: Axes, x: Sequence[Any], rows: Sequence[dict[str, Any]], alpha: float, **line: Any) -> None:
    """Log means of rows, and their intervals as a band."""
    axes.plot(x, [row["log_mean"] for row in rows], **{"marker": ".", **line})
    low, high = [row["log_low"] for row in rows], [row["log_high"] for row in rows]
    axes.fill_between(x, low, high, color=line["color"], alpha=alpha, lw=0)


def _band(axes: Axes, losses: dict[int, list[float]], colour: str) -> None:
    mean = [fmean(values) for values in losses.values()]
    std = [stdev(values) if len(values) > 1 else 0.0 for values in losses.values()]
    axes.plot(list(losses), mean, "-", color=colour, lw=1.2)
    low, high = ([m + sign * s for m, s in zip(mean, std, strict=True)] for sign in (-1, 1))
    axes.fill_between(list(losses), low, high, color=colour, alpha=0.15, lw=0)


def experts_figure(shift: Shift, rows: list[dict[str, Any]]) -> Figure:
    """Log loss by the law that is tested, a panel for each number of layers."""
    layers = sorted({row["layers"] for row in rows})
    drawn, panels = figure(2.6 * len(layers) + 2.2, 3.6, columns=len(layers), sharey=True)
    for axes, depth in zip(panels, layers, strict=True):
        for index, name in enumerate(dict.fromkeys(row["method"] for row in rows if row["log_mean"] > EXACT)):
            own = [row for row in rows if (row["layers"], row["method"]) == (depth, name) and row["log_mean"] > EXACT]
            dash, marker = ":" if name == "trained there" else "-", MARKERS[index // len(CYCLE)]
            laws = [row["law"] for row in own]
            _curve(axes, laws, own, 0.15, color=CYCLE[index], ls=dash, marker=marker, ms=3, label=name)
        axes.set_title(f"{depth} layer{'s' * (depth > 1)}")
        axes.tick_params(axis="x", labelrotation=45 if len(max(shift.laws, key=len)) > 4 else 0, labelsize=8)
    panels[0].set_ylabel("log (mean loss / E[y²])")
    handles, labels = panels[0].get_legend_handles_labels()
    drawn.legend(handles, labels, loc="outside right center", fontsize=7)
    experts = ", ".join(shift.experts)
    caption(
        drawn, f"experts trained at {experts}; {FOLDS} folds of the context; 95 % intervals; exact answers left out"
    )
    return drawn
