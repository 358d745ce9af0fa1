"""What the search for trained Memformers finds: its starts, their spread, the best, the median, and how good it is.

Each class trains each depth by itself, from random starts, under several seeds. A seed is a whole search, with starts
and training tasks of its own. The best start by validation tasks is scored on fresh tasks:

* the mean expected loss on plain tasks, which are as good as drawn once for all rows;
* with P = 0, the log ratio to `lfom_optimal` on the same tasks spread over rare ones, which shows 0.001.

Run it: `python -m benchmarks.validation.training_search [--classes gdpp] [--seeds 0 1 2] [--output results/studies]`.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor

from baselines.lfom_optimal import LfomOptimal
from baselines.objective import excess_loss
from benchmarks import api
from benchmarks.reports.template import render
from benchmarks.tasks.law import Law, Purpose
from memformer.core.problem import TaskSource
from memformer.core.solver import Solver
from memformer.model.config import Memory, Preconditioner
from memformer.solvers.memformer import Memformer

AT_A_TIME = 20_000
WIDTH = 2.1
"""How far scored tasks are spread for the ratio to the floor."""

FRESH_SEED = 10_000

DEPTHS = {"gdpp": (2, 3, 4), "P = 0": (1, 2, 3, 4, 6, 10)}

TARGETS = {"none": {2: -2.84, 3: -7.25, 4: -10.5}, "first_order": {2: -2.86, 3: -7.35, 4: -13.3}}
"""Log losses of GD++ that a search should reach, a little above the best known."""


@dataclass(frozen=True)
class Case:
    """A class of models on the anisotropic law."""

    memory: Memory
    preconditioner: Preconditioner = "full"
    covariate_update: bool = False

    @property
    def kind(self) -> str:
        """Whether P is free."""
        return "gdpp" if self.covariate_update else "P = 0"

    @property
    def name(self) -> str:
        """For the table."""
        return f"{self.memory}, " + ("GD++" if self.covariate_update else f"{self.preconditioner} Q, P = 0")

    def solver(self, starts: int | None) -> Memformer:
        """Not fitted yet."""
        return Memformer(**vars(self), starts=starts)


def cases(kind: str) -> list[Case]:
    """All classes with P free, or with P = 0."""
    memories: tuple[Memory, ...] = ("none", "conjugate", "first_order")
    if kind == "gdpp":
        return [Case(memory, covariate_update=True) for memory in memories]
    return [Case(memory, Q) for Q in ("full", "scalar") for memory in memories]


def scored(solvers: Sequence[Solver], source: TaskSource, depth: int, tasks: int) -> list[Tensor]:
    """Expected loss of each of the next tasks, times its weight, `(tasks,)` for each solver."""
    found: list[list[Tensor]] = [[] for _ in solvers]
    for start in range(0, tasks, AT_A_TIME):
        problem = source.sample(min(AT_A_TIME, tasks - start))
        weight = 1.0 if problem.weights is None else problem.weights
        for losses, solver in zip(found, solvers, strict=True):
            weights = solver.solve(problem, depth).weights
            assert weights is not None
            losses.append(weight * excess_loss(problem, weights[-1]))
    return [torch.cat(losses) for losses in found]


def row(
    case: Case, law: Law, floor: Solver, depth: int, seed: int, starts: int | None, tasks: int
) -> dict[str, object]:
    """One search."""
    began = time.process_time()
    fitted = case.solver(starts).fit(law.stream(seed, Purpose.TRAIN), [depth], seed)
    seconds = time.process_time() - began
    search = fitted.search(depth)
    assert search is not None
    plain = scored([fitted], law.stream(FRESH_SEED, Purpose.SCORE), depth, tasks)[0]
    ratio, target = None, None
    if case.covariate_update:
        target = TARGETS.get(case.memory, {}).get(depth)
    else:
        own, best = scored([fitted, floor], law.stream(FRESH_SEED, Purpose.SCORE).spread(WIDTH), depth, tasks)
        ratio = (own.mean() / best.mean()).log().item()
    return {
        "class": case.name,
        "layers": depth,
        "seed": seed,
        "starts": search.starts,
        "spread": search.spread,
        "share within 0.05": search.near_best,
        "best, validation": search.best,
        "median start": search.median,
        "log mean, fresh": plain.mean().log().item(),
        "log median, fresh": plain.median().log().item(),
        "at most": target,
        "above the floor": ratio,
        "seconds": seconds,
    }


def rows(case: Case, depths: Sequence[int], seeds: Sequence[int], starts: int | None, tasks: int) -> Iterator[dict]:
    """All searches of a class."""
    law = api.law("anisotropic")
    solver = LfomOptimal(preconditioned=case.preconditioner == "full")
    floor = solver.fit(law.stream(0, Purpose.TRUTH), [max(depths)])
    case.solver(starts).prepare(torch.float64, torch.device("cpu"))
    for depth in depths:
        for seed in seeds:
            yield row(case, law, floor, depth, seed, starts, tasks)


def report(table: pd.DataFrame, tasks: int) -> str:
    """The study as Markdown."""
    shown = table.astype(object).where(table.notna(), "")
    rows = shown.to_markdown(floatfmt=".3f", index=False)
    return render("benchmarks.validation", "training_search.md.jinja", tasks=f"{tasks:,}", rows=rows)


def main() -> None:
    """Search, score and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--classes", choices=list(DEPTHS), nargs="+", default=list(DEPTHS))
    parser.add_argument("--memories", nargs="+", default=["none", "conjugate", "first_order"])
    parser.add_argument("--depths", type=int, nargs="+")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--starts", type=int, help="in place of the recipe's")
    parser.add_argument("--tasks", type=int, default=200_000)
    parser.add_argument("--output", type=Path, help="a folder for training_search.csv and .md")
    options = parser.parse_args()
    torch.set_num_threads(1)
    found: list[dict] = []
    for kind in options.classes:
        for case in cases(kind):
            if case.memory not in options.memories:
                continue
            for one in rows(case, options.depths or DEPTHS[kind], options.seeds, options.starts, options.tasks):
                found.append(one)
                print("  ".join(f"{v:.3f}" if isinstance(v, float) else str(v) for v in one.values()), flush=True)
    table = pd.DataFrame(found)
    if options.output:
        options.output.mkdir(parents=True, exist_ok=True)
        table.to_csv(options.output / "training_search.csv", index=False)
        (options.output / "training_search.md").write_text(report(table, options.tasks))


if __name__ == "__main__":
    main()
