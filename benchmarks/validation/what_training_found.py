"""What training found: learned preconditioners, step sizes and polynomials beside those of theory.

A Memformer with first-order memory and full Q trains on the anisotropic law. Its Q is compared with the best of a
single layer, `-N/(N+1+d) Sigma^-1`; the polynomial it has become with that of `lfom_optimal`.

Run it: `python -m benchmarks.validation.what_training_found [--depth 3] [--output results/studies]`.
"""

from __future__ import annotations

import math
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor
from typer import run

from baselines.wishart import GaussianTasks
from benchmarks import api
from benchmarks.reports.template import render
from benchmarks.reports.write import Report
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


def main(depth: int = 3, seed: int = 0, output: Path = Path("results/studies")) -> None:
    """Train, compare, write tables and pictures."""
    torch.set_num_threads(1)
    law, white = api.law("anisotropic"), api.law("isotropic")
    exact = GaussianTasks(law.N, law.d)  # the anisotropic law in whitened coordinates
    config = MemformerConfig(d=law.d, depth=depth, memory="first_order")
    depths = list(range(1, depth + 1))
    trained = train(config, [law.stream(seed, Purpose.TRAIN)], depths, [seed], Recipe(tasks=TASKS))
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
    text = render(
        "benchmarks.validation",
        "what_training_found.md.jinja",
        law=law,
        depth=depth,
        tasks=TASKS,
        seed=seed,
        losses=", ".join(f"{loss.log().item():.3f}" for loss in trained.loss),
        # Whole numbers stay whole and gaps stay empty.
        tables={title: table.astype(object).where(table.notna(), "") for title, table in tables.items()},
        risk=math.log(exact.risk(polynomial["learned"].tolist())),
        floor=exact.log_floor(depth),
    )
    Report(texts={"what_training_found.md": text}).write(output)
    print(text)

    floors = [exact.log_floor(k) for k in depths]
    spectrum = torch.linalg.eigvalsh(white.stream(seed, Purpose.SCORE).sample(WHITE_TASKS).moments.H)
    figures = {
        "history": plot_history(trained.history, [f"{k} layer{'s' * (k > 1)}" for k in depths], floors),
        "preconditioners": plot_preconditioners(config, deepest, second_moment, law.N),
        "polynomial": plot_polynomial(config, deepest, spectrum, optimal, second_moment),
    }
    for name, figure in figures.items():
        figure.savefig(output / f"what_training_found-{name}.png", dpi=110)


if __name__ == "__main__":
    run(main)
