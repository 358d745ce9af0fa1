"""How figures look, and how they are written: one colour-blind-safe palette, direct labels, SVG and PNG."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import isotonic_regression

from benchmarks.errors import UserError, install

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = {
    "nothing": "#0072B2",
    "L": "#56B4E9",
    "mu, L": "#009E73",
    "law": "#D55E00",
    "direct": "#444444",
}
"""What a solver needs to know, as a colour (Okabe and Ito's palette, safe for colour-blind readers)."""

LEARNED = "#CC79A7"
"""The colour of what is learned from tasks, where learned methods are told apart from others that know the law."""


class Cycle(tuple[str, ...]):
    """Begins again after its last item: there may be any number of solvers.

    Example:
        >>> Cycle(("a", "b"))[2]
        'a'
    """

    def __getitem__(self, index: int) -> str:  # type: ignore[override]
        return super().__getitem__(index % len(self))


CYCLE = Cycle(("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8C6D31"))
DASHES = Cycle(("-", "--", ":"))
MARKERS = Cycle(("o", "s", "^"))
NEEDS = {"nothing": "told nothing", "L": "told L", "mu, L": "told mu, L", "law": "knows the law", "direct": "direct"}


def figure(
    width: float, height: float, columns: int = 1, rows: int = 1, **options: object
) -> tuple[Figure, list[Axes]]:
    """An empty figure of so many inches, drawn without a display; its panels row by row.

    Raises:
        UserError: if matplotlib is not installed.
    """
    try:
        import matplotlib.style
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure as EmptyFigure
    except ImportError:
        raise UserError(f"figures need matplotlib; install it with: {install('matplotlib')}") from None
    matplotlib.style.use(Path(__file__).with_name("figures.mplstyle"))
    drawn = EmptyFigure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(drawn)
    axes = drawn.subplots(rows, columns, squeeze=False, **options)  # type: ignore[arg-type]
    return drawn, list(axes.flat)


def save(drawn: Figure, path: Path, png: bool = True) -> list[Path]:
    """Write a figure as SVG, and as PNG (200 dots an inch) if wanted; the same figure gives the same files.

    Args:
        drawn: the figure.
        path: of the files, without `.svg`.
        png: whether PNG is wanted.
    """
    from matplotlib.mathtext import MathTextParser
    from matplotlib.text import Text

    for text in drawn.findobj(lambda one: isinstance(one, Text) and "$" in one.get_text()):
        try:
            MathTextParser("agg").parse(text.get_text())  # type: ignore[attr-defined]
        except ValueError:  # a name with dollars in it
            text.set_parse_math(False)  # type: ignore[attr-defined]
    path.parent.mkdir(parents=True, exist_ok=True)
    drawn.savefig(f"{path}.svg", metadata={"Date": None})
    if png:
        drawn.savefig(f"{path}.png", dpi=200, metadata={"Software": None})
    return [Path(f"{path}.{kind}") for kind in ("svg", "png")[: 1 + png]]


def spread(places: Sequence[float], gap: float) -> list[float]:
    """Places of labels moved apart to at least `gap`, in their order, as little as possible in squares.

    Example:
        >>> spread([0.0, 0.0, 5.0], 1.0)
        [-0.5, 0.5, 5.0]
    """
    order = np.argsort(places, kind="stable")
    offsets = gap * np.arange(len(order))
    moved = np.empty(len(order))
    moved[order] = isotonic_regression(np.asarray(places, float)[order] - offsets).x + offsets
    return moved.tolist()


def label_ends(axes: Axes, labels: Sequence[tuple[str, float, str]], x: float | Sequence[float], height: float) -> None:
    """Direct labels to the right of a plot, moved apart, each with a thin line to where its curve ends.

    Args:
        axes: linear in y, limits set.
        labels: text, y of the curve's end, colour.
        x: of the curves' ends, one for all or one for each.
        height: of the axes in inches.
    """
    low, high = axes.get_ylim()
    gap = 0.16 * (high - low) / height
    places = spread([y for _, y, _ in labels], gap)
    # Labels that were pushed out of the axes come back in, and push the others.
    for index in sorted(range(len(places)), key=lambda index: -places[index]):
        places[index] = min(places[index], high)
        high = places[index] - gap
    low, high = axes.get_ylim()
    ends = [x] * len(labels) if isinstance(x, float | int) else x
    for (text, y, colour), end, place in zip(labels, ends, places, strict=True):
        axes.annotate(
            text,
            xy=(end, y),
            xytext=(1.06, (place - low) / (high - low)),
            textcoords="axes fraction",
            color=colour,
            fontsize=7.5,
            va="center",
            annotation_clip=False,
            arrowprops={
                "arrowstyle": "-",
                "color": colour,
                "lw": 0.6,
                "alpha": 0.7,
                "shrinkA": 0,
                "shrinkB": 0,
                "relpos": (0, 0.5),
            },
        )


def caption(drawn: Figure, text: str) -> None:
    """Small print under a figure: what the reader must know to read it right."""
    drawn.supxlabel(text, fontsize=7.5, color="#444444", x=0.01, ha="left")


def short_names(labels: Sequence[str]) -> list[str]:
    """Labels of solvers with those of their hyper-parameters alone in which solvers of the same name differ.

    Example:
        >>> short_names(["lfom (iterations=100)", "cg", "ridge (method=qr, d=5)", "ridge (method=cholesky, d=5)"])
        ['lfom', 'cg', 'ridge (method=qr)', 'ridge (method=cholesky)']
    """
    parts = [label.removesuffix(")").partition(" (") for label in labels]
    known = [(name, re.split(r", (?=\w+=)", given)) for name, _, given in parts]
    shared = {name: set.intersection(*(set(own) for other, own in known if other == name)) for name, _ in known}
    kept = [(name, ", ".join(one for one in own if one not in shared[name])) for name, own in known]
    return [f"{name} ({own})" if own else name for name, own in kept]
