"""What training found: learned preconditioners, step sizes and polynomials beside those of theory.

A Memformer with first-order memory and full Q trains on the anisotropic law. Its Q is compared with the best of a
single layer, `-N/(N+1+d) Sigma^-1`; the polynomial it has become with that of `lfom_optimal`.

Run it: `python -m benchmarks.validation.what_training_found [--depth 3] [--output results/studies]`.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor

from baselines.wishart import GaussianTasks
from benchmarks import api
from benchmarks.tasks.law import Purpose
from benchmarks.validation.plots import plot_history, plot_polynomial, plot_preconditioners
from memformer.model.config import MemformerConfig
from memformer.model.inspect import polynomial_table, preconditioner_table, step_sizes
from memformer.training.recipe import Recipe
from memformer.training.train import train

TASKS = 50_000
WHITE_TASKS = 200_000


def step_table(table: Tensor) -> pd.DataFrame:
    """Step sizes `c[l, j]` of one model as a table: a row a layer, a column a past gradient."""
    rows = [[float(c) if j <= i else None for j, c in enumerate(row)] for i, row in enumerate(table.tolist())]
    return pd.DataFrame(rows, columns=[f"gradient {j + 1}" for j in range(len(rows))]).rename(
        lambda i: f"layer {i + 1}"
    )


def as_markdown(table: pd.DataFrame, index: bool) -> str:
    """A table whose whole numbers stay whole and whose gaps stay empty."""
    return table.astype(object).where(table.notna(), "").to_markdown(floatfmt=".4f", index=index)


def main() -> None:
    """Train, compare, write tables and pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--depth", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=Path("results/studies"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    depth, law, white = options.depth, api.law("anisotropic"), api.law("isotropic")
    exact = GaussianTasks(law.N, law.d)  # the anisotropic law in whitened coordinates
    config = MemformerConfig(d=law.d, depth=depth, memory="first_order")
    depths = list(range(1, depth + 1))
    source = law.stream(options.seed, Purpose.TRAIN)
    trained = train(config, [source], depths, [options.seed], Recipe(tasks=TASKS))
    deepest = {name: tensor[-1:] for name, tensor in trained.parameters.items()}

    optimal = torch.tensor([float(c) for c in exact.coefficients(depth)], dtype=torch.float64)
    second_moment = law.second_moment.double()
    polynomial = polynomial_table(config, deepest, optimal, second_moment)
    tables = {
        "Preconditioners against -N/(N+1+d) times the inverse second moment": preconditioner_table(
            config, deepest, second_moment, law.N
        ),
        "Polynomial against the optimal one": polynomial,
        "Step sizes, in whitened coordinates": step_table(step_sizes(config, deepest, second_moment)[0]),
    }
    losses = ", ".join(f"{loss.log().item():.3f}" for loss in trained.loss)
    text = "# What training found\n\nFirst-order memory, full Q, anisotropic law, "
    text += f"N = {law.N}, d = {law.d}, {depth} layers, "
    text += f"{TASKS:,} training tasks, seed {options.seed}; log validation losses of 1 to {depth} layers: {losses}.\n"
    for title, table in tables.items():
        text += f"\n## {title}\n\n{as_markdown(table, index=title.startswith('Step'))}\n"
    risk = math.log(exact.risk(polynomial["learned"].tolist()))
    text += (
        f"\nThe learned polynomial has the exact log loss {risk:.4f}, the optimal one {exact.log_floor(depth):.4f}.\n"
    )
    text += "\nIn units of the closed form, `relative` is 1 for the best single layer.\n"
    options.output.mkdir(parents=True, exist_ok=True)
    (options.output / "what_training_found.md").write_text(text)
    print(text)

    floors = [exact.log_floor(k) for k in depths]
    spectrum = torch.linalg.eigvalsh(white.stream(options.seed, Purpose.SCORE).sample(WHITE_TASKS).moments.H)
    figures = {
        "history": plot_history(trained.history, [f"{k} layer{'s' * (k > 1)}" for k in depths], floors),
        "preconditioners": plot_preconditioners(config, deepest, second_moment, law.N),
        "polynomial": plot_polynomial(config, deepest, spectrum, optimal, second_moment),
    }
    for name, figure in figures.items():
        figure.savefig(options.output / f"what_training_found-{name}.png", dpi=110)


if __name__ == "__main__":
    main()
