"""How far above the floor that theory gives trained Memformers end, on fresh tasks.

Every variant trains its depths 1 to 4 as one batch, and is scored on tasks it has not seen, as is the best linear
first-order method with fixed coefficients (`lfom_optimal`), the floor for models with P = 0.

Run it: `python -m benchmarks.validation.memformer_quality [--tasks 200000] [--seed 0] [--output TABLE.md]`.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
from tabulate import tabulate
from torch import Tensor
from typer import Option, run

from baselines.lfom_optimal import LfomOptimal
from baselines.objective import excess_loss
from benchmarks import api
from benchmarks.tasks.law import Law, Purpose
from memformer.core.solver import Solver
from memformer.solvers.memformer import Memformer

DEPTHS = [1, 2, 3, 4]
AT_A_TIME = 20_000

TASKS = 100_000
"""Training tasks of a model with P = 0: few tasks carry the mean loss of four layers."""

WITHIN = (0.03, 0.03, 0.03, 0.08)
"""How far above its floor, in log loss, a model with P = 0 may end at each depth."""

GDPP = (0.14, -2.29, -4.05, -5.97)
"""Log losses that GD++ must reach: those of 2,500 Adam steps on fresh batches of 1,000 tasks."""


@dataclass(frozen=True)
class Case:
    """A variant on a law."""

    law: str
    solver: Memformer

    @property
    def name(self) -> str:
        """For the table."""
        Q = f"{self.solver.preconditioner} Q"
        P = "GD++" if self.solver.covariate_update else "P = 0"
        return f"{self.law}, {self.solver.memory}, {Q}, {P}"


def cases() -> list[Case]:
    """All variants with P = 0 where a floor is known, and GD++."""
    memories = ("none", "conjugate", "first_order")
    full = [Case(law, Memformer(memory=m, tasks=TASKS)) for law in ("isotropic", "anisotropic") for m in memories]
    scalar = [Case("anisotropic", Memformer(memory=m, preconditioner="scalar", tasks=TASKS)) for m in memories]
    free = [Case("anisotropic", Memformer(memory=m, covariate_update=True)) for m in memories]
    return full + scalar + free


def excess_losses(solver: Solver, law: Law, k: int, tasks: int) -> Tensor:
    """Expected loss of each of `tasks` fresh tasks, `(tasks,)`."""
    stream, found = law.stream(seed=10_000, purpose=Purpose.SCORE), []
    for start in range(0, tasks, AT_A_TIME):
        problem = stream.sample(min(AT_A_TIME, tasks - start))
        weights = solver.solve(problem, k).weights
        assert weights is not None
        found.append(excess_loss(problem, weights[-1]))
    return torch.cat(found)


def rows(case: Case, tasks: int, seed: int) -> Iterator[dict[str, object]]:
    """Train, score, and say how it went: a row for each depth."""
    law = api.law(case.law)
    began = time.perf_counter()
    fitted = case.solver.fit(law.stream(seed, Purpose.TRAIN), DEPTHS, seed)
    seconds = (time.perf_counter() - began) / len(DEPTHS)
    preconditioned = case.law == "anisotropic" and case.solver.preconditioner == "full"
    floor = LfomOptimal(preconditioned=preconditioned).fit(law.stream(seed, Purpose.TRUTH), DEPTHS)
    for i, k in enumerate(DEPTHS):
        losses = excess_losses(fitted, law, k, tasks)
        best = excess_losses(floor, law, k, tasks).mean().log().item()
        mean, error = losses.mean(), losses.std() / math.sqrt(tasks)
        limit = GDPP[i] if case.solver.covariate_update else best + WITHIN[i]
        log = mean.log().item()
        yield {
            "variant": case.name,
            "layers": k,
            "log mean": log,
            "±": (error / mean).item(),
            "log median": losses.median().log().item(),
            "floor, P = 0": best,
            "at most": limit,
            "met": log <= limit + 0.005,
            "seconds a depth": seconds,
        }


def main(
    tasks: int = 200_000,
    seed: int = 0,
    output: Annotated[Path | None, Option(help="a Markdown file to write the table to")] = None,
) -> None:
    """Train, score and print all cases."""
    torch.set_num_threads(1)
    found: list[dict[str, object]] = []
    for case in cases():
        for row in rows(case, tasks, seed):
            values = (f"{value:.3f}" if isinstance(value, float) else str(value) for value in row.values())
            print("  ".join(values), flush=True)
            found.append(row)
    table = tabulate([list(row.values()) for row in found], list(found[0]), tablefmt="github", floatfmt=".3f")
    title = f"N = 20, d = 5, float64, expected loss on {tasks:,} fresh tasks, seed {seed}, one thread"
    good = sum(bool(row["met"]) for row in found)
    text = f"# Trained Memformers against their floors\n\n{title}.\n\n{table}\n\n{good} of {len(found)} rows are met.\n"
    if output:
        output.write_text(text)
    print(text)


if __name__ == "__main__":
    run(main)
