"""Train-law by test-law matrix: what a learned solver loses on a law that it was not fitted on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from benchmarks.errors import UserError
from benchmarks.reports.style import figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLUMNS = ("train_law", "test_law", "log_gap")
"""What a table must have; `solver`, `d`, `steps`, `log_low`, `log_high`, `tasks`, `protocol`, `reference` are shown if
they are there."""


def read_transfer(path: str) -> pd.DataFrame:
    """Read a table of `memformer-bench run transfer`.

    Raises:
        UserError: if it is not there or lacks a column.
    """
    try:
        table = pd.read_csv(path)
    except (OSError, ValueError) as error:
        raise UserError(f"{path} is not a table of transfers: {' '.join(str(error).split())}") from None
    missing = [name for name in COLUMNS if name not in table]
    if missing:
        raise UserError(f"{path} has no column {missing[0]!r}; 'memformer-bench run transfer' writes such a table")
    return table


def transfer_matrix(table: pd.DataFrame) -> pd.DataFrame:
    """Log gap with a row for each training law and a column for each test law, in the order of the table.

    Raises:
        UserError: if two rows are of the same two laws.

    Example:
        >>> table = pd.DataFrame({"train_law": ["a", "a"], "test_law": ["a", "b"], "log_gap": [0.0, 1.5]})
        >>> transfer_matrix(table).loc["a", "b"].item()
        1.5
    """
    twice = table.duplicated(["train_law", "test_law"])
    if twice.any():
        row = table[twice].iloc[0]
        raise UserError(
            f"{row['train_law']} to {row['test_law']} is there twice; give tables of several d or runs one by one"
        )
    matrix = table.pivot(index="train_law", columns="test_law", values="log_gap")
    return matrix.loc[list(dict.fromkeys(table["train_law"])), list(dict.fromkeys(table["test_law"]))]


def transfer_figures(table: pd.DataFrame) -> dict[str, tuple[pd.DataFrame, Figure]]:
    """The part of a table and its heat map for each solver and number of steps, by name of file."""
    key = [name for name in ("solver", "steps") if name in table]
    found = {}
    for values, part in table.groupby(key, sort=False) if key else [((), table)]:
        name = "_".join(["transfer", *map(str, values if isinstance(values, tuple) else (values,))])
        found[name] = part, transfer_figure(part)
    return found


def transfer_figure(table: pd.DataFrame) -> Figure:
    """Heat map of one solver and number of steps; white is no loss, framed cells are the law it was fitted on."""
    from matplotlib.patches import Rectangle

    matrix = transfer_matrix(table)
    values = matrix.to_numpy(float)
    rows, columns = values.shape
    drawn, (axes,) = figure(0.62 * columns + 3.2, 0.34 * rows + 2.1)
    finite = np.abs(values[np.isfinite(values)])
    # The colours stop at the 90 % quantile, so that one disaster does not bleach all other cells.
    largest = max(float(np.quantile(finite, 0.9)) if finite.size else 1.0, 0.1)
    image = axes.imshow(values, cmap="PuOr_r", vmin=-largest, vmax=largest, aspect="auto")
    for (i, j), value in np.ndenumerate(values):
        dark = np.isfinite(value) and abs(value) > 0.65 * largest
        text = f"{round(value, 2) + 0.0:.2f}" if abs(value) < 10 else f"{value:.1f}"
        shown = text if np.isfinite(value) else "–"
        axes.text(j, i, shown, ha="center", va="center", fontsize=7.5, color="white" if dark else "black")
        if matrix.index[i] == matrix.columns[j]:
            axes.add_patch(Rectangle((j - 0.48, i - 0.46), 0.96, 0.92, fill=False, edgecolor="black", lw=1.0))
    axes.set_xticks(range(columns), list(matrix.columns), rotation=35, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(rows), list(matrix.index))
    axes.tick_params(length=0)
    axes.spines[["left", "bottom"]].set_visible(False)
    axes.set_xlabel("scored on")
    axes.set_ylabel("fitted on")
    bar = drawn.colorbar(image, ax=axes, shrink=0.85, pad=0.02, extend="both" if finite.size else "neither")
    reference = str(table["reference"].iloc[0]) if "reference" in table else "the solver fitted on the test law"
    bar.set_label(f"log of mean loss / that of {reference}", fontsize=8)
    bar.outline.set_visible(False)  # type: ignore[operator]
    axes.set_title(_title(table.to_dict("records")[0]))
    return drawn


def _title(row: dict[Any, Any]) -> str:
    forms = {"solver": "{}", "d": "d = {}", "protocol": "{}", "steps": "{} steps", "tasks": "{:,} tasks"}
    return ", ".join(form.format(row[name]) for name, form in forms.items() if name in row).replace(
        " 1 steps", " 1 step"
    )
