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

from baselines.exact_law import gaussian_tasks
from baselines.lfom_optimal import LfomOptimal
from baselines.wishart import GaussianTasks
from benchmarks import api
from benchmarks.reports.template import render
from benchmarks.reports.write import Report
from benchmarks.tasks.law import Law, Purpose
from benchmarks.validation.plots import plot_history, plot_polynomial, plot_preconditioners
from benchmarks.validation.training_search import FRESH_SEED, scored
from memformer.core.problem import SPREAD
from memformer.model.config import MemformerConfig
from memformer.model.forward import first_layers
from memformer.model.inspect import polynomial_table, polynomials, preconditioner_table, step_sizes
from memformer.solvers.memformer import Memformer
from memformer.training.recipe import Recipe
from memformer.training.train import train

TASKS = 50_000
WHITE_TASKS = 200_000
JUDGED = 200_000


def step_table(table: Tensor) -> pd.DataFrame:
    """Step sizes `c[l, j]` of one model as a table: a row a layer, a column a past gradient."""
    rows = [[float(c) if j <= i else None for j, c in enumerate(row)] for i, row in enumerate(table.tolist())]
    return pd.DataFrame(rows, columns=[f"gradient {j + 1}" for j in range(len(rows))]).rename(
        lambda i: f"layer {i + 1}"
    )


def loss_table(law: Law, solver: Memformer, tasks: int = JUDGED) -> pd.DataFrame:
    """Exact log loss of the polynomial nearest to the model of each depth, and how far the model is above the floor.

    A model with full Q is no polynomial. Its log ratio to the floor is that on the same fresh tasks, spread over rare
    ones.

    Args:
        law: which whitening makes isotropic.
        solver: with full Q and P = 0, fitted.
        tasks: fresh ones.

    Returns:
        A row a depth: `layers`, `floor`, `polynomial`, `model above the floor`.
    """
    stream, assumed = law.stream(0, Purpose.TRUTH), law.second_moment.double()
    exact, parameters = gaussian_tasks(stream, preconditioned=True), solver.parameters
    assert exact is not None
    assert parameters is not None
    rows = []
    for k in sorted(parameters["depths"].tolist()):
        best, fresh = LfomOptimal(preconditioned=True).fit(stream, [k]), law.stream(FRESH_SEED, Purpose.SCORE)
        own = first_layers(*solver.model(fresh.sample(1), k), k)
        learned = polynomials(step_sizes(*own, assumed))[0, -1].tolist()
        model, floor = (losses.mean() for losses in scored([solver, best], fresh.spread(SPREAD), k, tasks))
        logs = exact.log_floor(k), math.log(exact.risk(learned)), (model / floor).log().item()
        rows.append(dict(zip(("layers", "floor", "polynomial", "model above the floor"), (k, *logs), strict=True)))
    return pd.DataFrame(rows)


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
    known = {"depths": torch.tensor(depths), "made_for": torch.tensor([law.d, law.N])}
    tables = {
        "Log losses": loss_table(law, Memformer(memory="first_order", parameters=known | trained.parameters)),
        "Preconditioners against -N/(N+1+d) times the inverse second moment": preconditioner_table(
            config, deepest, second_moment, law.N
        ),
        "Polynomial against the optimal one": polynomial_table(config, deepest, optimal, second_moment),
        "Step sizes, in whitened coordinates": step_table(step_sizes(config, deepest, second_moment)[0]),
    }
    text = render(
        "benchmarks.validation",
        "what_training_found.md.jinja",
        law=law,
        depth=depth,
        tasks=TASKS,
        seed=seed,
        judged=JUDGED,
        # Whole numbers stay whole and gaps stay empty.
        tables={title: table.astype(object).where(table.notna(), "") for title, table in tables.items()},
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
