"""What the search for trained Memformers finds: its starts, their spread, the best, the median, and how good it is.

Each class trains each depth by itself, from random starts, under several seeds. A seed is a whole search, with starts
and training tasks of its own. The best start by validation tasks is scored on fresh tasks, the same for all rows:

* the mean expected loss on plain tasks; its relative standard error is 1 to 3 % at 2 layers, and means little from 3
  layers on, where tasks too rare for any plain draw carry the mean over the law;
* the weighted mean on as many tasks spread over rare ones, whose standard error is 0.5 % at 2 layers;
* with P = 0, the log ratio to `lfom_optimal` on these spread tasks, which shows 0.001.

Run it: `python -m benchmarks.validation.training_search [--classes gdpp] [--d 5] [--seeds 0 1] [--output FOLDER]`.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import torch
from torch import Tensor

from baselines.lfom_optimal import LfomOptimal
from baselines.objective import excess_loss
from benchmarks import api
from benchmarks.harness.workers.pool import map_ordered
from benchmarks.reports.template import render
from benchmarks.statistics import mean_interval_of_few
from benchmarks.tasks.law import Law, Purpose
from memformer.core.problem import SPREAD, TaskSource
from memformer.core.solver import Solver
from memformer.model.config import Memory, Preconditioner
from memformer.solvers.memformer import Memformer

AT_A_TIME = 20_000
FRESH_SEED = 10_000


class Setting(NamedTuple):
    """A size of the anisotropic law: tasks a training step; by class which depths are searched from how many starts."""

    d: int
    N: int
    batch: int
    depths: dict[str, tuple[int, ...]]
    starts: dict[str, tuple[int, ...]]
    seeds: tuple[int, ...]


SETTINGS = {
    5: Setting(
        5, 20, 1_000, {"gdpp": (2, 3, 4), "P = 0": (1, 2, 3, 4, 6, 10)}, {"gdpp": (9, 18), "P = 0": (3,)}, (0, 1, 2)
    ),
    20: Setting(20, 40, 250, {"gdpp": (2, 3), "P = 0": (1, 2, 3, 4)}, {"gdpp": (9,), "P = 0": (3,)}, (0,)),
}
"""By d. Twice the recipe's starts of GD++ say whether its claims still hold when the search is doubled. At d = 20 a
step of GD++ takes 60 times as long for each task, hence a quarter of the tasks."""

KEYS = ["d", "layers", "starts", "seed"]
PLAIN = "none, GD++"

TARGETS = {"none": {2: -2.84, 3: -7.25, 4: -10.5}, "first_order": {2: -2.86, 3: -7.35, 4: -13.3}}
"""Log losses of GD++ at d = 5 that a search should reach, a little above the best known."""


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

    def solver(self, starts: int, batch: int) -> Memformer:
        """Not fitted yet."""
        return Memformer(**vars(self), starts=starts, batch=batch)


Work = tuple[Case, Setting, Sequence[int], Sequence[int], int, int]
"""Searches of one class, size and number of starts: what `rows` takes."""


def cases(kind: str) -> list[Case]:
    """All classes with P free, or with P = 0."""
    if kind == "gdpp":
        return [Case("none", covariate_update=True), Case("first_order", covariate_update=True)]
    memories: tuple[Memory, ...] = ("none", "conjugate", "first_order")
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


def row(case: Case, law: Law, floor: Solver, depth: int, seed: int, unfitted: Memformer, tasks: int) -> dict[str, Any]:
    """One search."""
    began = time.process_time()
    fitted = unfitted.fit(law.stream(seed, Purpose.TRAIN), [depth], seed)
    seconds = time.process_time() - began
    search = fitted.search(depth)
    assert search is not None
    plain = scored([fitted], law.stream(FRESH_SEED, Purpose.SCORE), depth, tasks)[0]
    own, best = scored([fitted, floor], law.stream(FRESH_SEED, Purpose.SCORE).spread(SPREAD), depth, tasks)
    ratio = None if case.covariate_update else (own.mean() / best.mean()).log().item()
    target = TARGETS.get(case.memory, {}).get(depth) if case.covariate_update and law.d == 5 else None
    return {
        "d": law.d,
        "class": case.name,
        "layers": depth,
        "seed": seed,
        "starts": search.starts,
        "spread": search.spread,
        "share within 0.05": search.near_best,
        "best, validation": search.best,
        "median start": search.median,
        "log mean, fresh": plain.mean().log().item(),
        "s.e., fresh": _relative_error(plain),
        "log mean, spread": own.mean().log().item(),
        "s.e., spread": _relative_error(own),
        "log median, fresh": plain.median().log().item(),
        "at most": target,
        "above the floor": ratio,
        "seconds": seconds,
    }


def _relative_error(losses: Tensor) -> float:
    """Standard error of the mean as a share of it, which is about that of its logarithm."""
    return (losses.std() / losses.mean()).item() / len(losses) ** 0.5


def rows(
    case: Case, setting: Setting, depths: Sequence[int], seeds: Sequence[int], starts: int, tasks: int
) -> Iterator[dict]:
    """All searches of a class."""
    law, unfitted = api.law("anisotropic", d=setting.d, N=setting.N), case.solver(starts, setting.batch)
    solver = LfomOptimal(preconditioned=case.preconditioner == "full")
    floor = solver.fit(law.stream(0, Purpose.TRUTH), [max(depths)])
    unfitted.prepare(torch.float64, torch.device("cpu"))
    for depth in depths:
        for seed in seeds:
            yield row(case, law, floor, depth, seed, unfitted, tasks)


def _searches(work: Work) -> list[dict[str, Any]]:
    return list(rows(*work))


def _cost(case: Case, setting: Setting, depths: Sequence[int], seeds: Sequence[int], starts: int, _: int) -> float:
    """Roughly."""
    return sum(depth**2 for depth in depths) * starts * len(seeds) * setting.d * (1 + 4 * case.covariate_update)


def report(table: pd.DataFrame, tasks: int) -> str:
    """The study as Markdown."""
    shown = table.astype(object).where(table.notna(), "")
    rows, claims = shown.to_markdown(floatfmt=".3f", index=False), gains(table)
    return render(
        "benchmarks.validation",
        "training_search.md.jinja",
        tasks=f"{tasks:,}",
        rows=rows,
        claims=claims.to_markdown(floatfmt=".3f", index=False) if len(claims) else "",
        moved=moved(claims) if len(claims) else [],
    )


def gains(table: pd.DataFrame) -> pd.DataFrame:
    """What memory gains GD++ with equal search: log ratios of fresh losses, paired by seed and task, at each search."""
    found = []
    values = table[table["class"].str.endswith("GD++")].pivot_table("log mean, fresh", KEYS, "class").reset_index()
    for name in [name for name in values if PLAIN in values and name not in (*KEYS, PLAIN)]:
        for _, own in values.groupby(KEYS[:-1]):
            differences = (own[name] - own[PLAIN]).dropna()
            if len(differences) > 1:
                gain = mean_interval_of_few(differences)
                verdict = "lower" if gain.high < 0 else "higher" if gain.low > 0 else "undecided"
                said = {"memory": name, "mean": gain.estimate, "low": gain.low, "high": gain.high, "verdict": verdict}
                found.append(own[KEYS[:-1]].iloc[0].to_dict() | said)
    return pd.DataFrame(found)


def moved(claims: pd.DataFrame) -> list[str]:
    """Claims whose verdict is another one when the search is doubled."""
    verdicts = claims.groupby(["layers", "memory"], as_index=False)["verdict"].agg(
        lambda own: " -> ".join(dict.fromkeys(own))
    )
    said = zip(verdicts["memory"], verdicts["layers"], verdicts["verdict"], strict=True)
    return [f"{memory} at {layers} layers: {verdict}" for memory, layers, verdict in said if "->" in verdict]


def main() -> None:
    """Search, score and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--classes", choices=["gdpp", "P = 0"], nargs="+", default=["gdpp", "P = 0"])
    parser.add_argument("--d", type=int, choices=list(SETTINGS), nargs="+", default=list(SETTINGS))
    parser.add_argument("--memories", nargs="+", default=["none", "conjugate", "first_order"])
    parser.add_argument("--depths", type=int, nargs="+")
    parser.add_argument("--seeds", type=int, nargs="+", help="in place of the setting's")
    parser.add_argument("--starts", type=int, help="in place of the recipe's")
    parser.add_argument("--tasks", type=int, default=200_000)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes")
    parser.add_argument("--output", type=Path, help="a folder for training_search.csv and .md")
    options = parser.parse_args()
    work: list[Work] = [
        (case, SETTINGS[d], [depth], options.seeds or SETTINGS[d].seeds, starts, options.tasks)
        for d, kind in product(options.d, options.classes)
        for case, starts in product(cases(kind), [options.starts] if options.starts else SETTINGS[d].starts[kind])
        if case.memory in options.memories
        for depth in options.depths or SETTINGS[d].depths[kind]
    ]
    # The longest work first; every search has one thread, however many are at it.
    order = sorted(range(len(work)), key=lambda i: -_cost(*work[i]))
    found = map_ordered(_searches, [work[i] for i in order], options.jobs, lambda _: print(end=".", flush=True))
    print()
    in_order = (rows for _, rows in sorted(zip(order, found, strict=True), key=lambda pair: pair[0]))
    found = [one for rows in in_order for one in rows]
    for one in found:
        print("  ".join(f"{v:.3f}" if isinstance(v, float) else str(v) for v in one.values()))
    table = pd.DataFrame(found)
    if options.output:
        options.output.mkdir(parents=True, exist_ok=True)
        table.to_csv(options.output / "training_search.csv", index=False)
        (options.output / "training_search.md").write_text(report(table, options.tasks))


if __name__ == "__main__":
    main()
