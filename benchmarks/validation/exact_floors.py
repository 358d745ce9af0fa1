"""Exact floors, and where the best method needs memory: whether its residual polynomial has real roots only.

A method whose residual polynomial has real roots alone is gradient descent with as many step sizes, a Memformer
without memory. Where the best method's polynomial has complex roots, memory lowers the loss, and the table says by how
much.

Run it: `python -m benchmarks.validation.exact_floors [--output results/studies]`. Seconds.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import torch
from typer import run

from baselines.lfom_optimal import exact_parameters
from baselines.residual_roots import best_real_roots, count_real_roots
from baselines.wishart import GaussianTasks
from benchmarks.reports.template import render
from benchmarks.reports.write import Report

SIZES = ((20, 5), (40, 10), (12, 6), (10, 5), (5, 5), (3, 5))
NOISE = (0, 0.25, 1, 4)
DEPTHS = range(1, 11)
GAIN_DEPTHS = range(1, 9)
STARTS = 10
"""Searches of the best real roots; each starts near the absolute values of the complex ones."""


def by_law(value: Callable[[GaussianTasks, int], float]) -> pd.DataFrame:
    """A value for each law, a row, and each number of steps, a column."""
    laws = {(N, d, noise): GaussianTasks(N, d, noise_var=noise) for N, d in SIZES for noise in NOISE}
    rows = [[*key, *(value(law, k) for k in DEPTHS)] for key, law in laws.items()]
    return pd.DataFrame(rows, columns=["N", "d", "noise_var", *map(str, DEPTHS)])


def gains(counts: pd.DataFrame) -> pd.DataFrame:
    """What memory buys: a row for each law and number of steps whose best method has complex roots."""
    rows = []
    for N, d, noise, *real in counts.itertuples(index=False):
        law = GaussianTasks(int(N), int(d), noise_var=noise)
        for k, count in zip(DEPTHS, real, strict=True):
            if count < k <= max(GAIN_DEPTHS):
                excess = float(law.scale) * best_real_roots(exact_parameters(law, k), k, STARTS)
                without = math.log(float(law.floor(k)) + excess)
                gain = {"without memory": without, "memory gains": without - law.log_floor(k)}
                step = {"one more step gains": law.log_floor(k) - law.log_floor(k + 1)}
                rows.append({"N": N, "d": d, "noise_var": noise, "k": k, "floor": law.log_floor(k), **gain, **step})
    return pd.DataFrame(rows)


def main(output: Path = Path("results/studies")) -> None:
    """Compute and write `exact_floors.md`."""
    torch.set_num_threads(1)
    counts = by_law(count_real_roots)
    found = [by_law(GaussianTasks.log_floor), counts, gains(counts)]
    tables = [table.astype(object).to_markdown(index=False, floatfmt=".4f") for table in found]
    text = render("benchmarks.validation", "exact_floors.md.jinja", tables=tables, starts=STARTS)
    Report(texts={"exact_floors.md": text}).write(output)
    print(text)


if __name__ == "__main__":
    run(main)
