"""Claims that are no comparison of two losses of the run: theorems, costs, and what other experiments found."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from baselines.krylov import ConjugateGradient
from baselines.objective import excess_loss
from benchmarks.catalogue.registry import LAWS
from benchmarks.experiments.paper.verdicts import Evidence, Operations, compared, said
from benchmarks.tasks.gaussian import Isotropic
from benchmarks.tasks.law import Purpose
from memformer.core.solver import Solver
from memformer.model.config import MemformerConfig
from memformer.model.construct import conjugate_gradient
from memformer.model.forward import forward, forward_paired

ROUNDING = 1e-8
"""Relative differences below it are rounding."""

LITTLE = 1.1
"""A cost that is at most so many times as high has risen by little."""


def theorems() -> list[Evidence]:
    """Each an identity, computed."""
    return [theorem_of_conjugate_memory(), theorem_of_heads()]


def theorem_of_conjugate_memory(tasks: int = 500, depth: int = 4) -> Evidence:
    """Theorem 3.1: conjugate memory with a task's own parameters takes the steps of conjugate gradient."""
    problem = Isotropic().stream(0, Purpose.SCORE).sample(tasks)
    model, expected = conjugate_gradient(problem, depth), ConjugateGradient().solve(problem, depth).weights
    found = forward_paired(model.config, model.parameters, problem).weights
    assert found is not None
    assert expected is not None
    layers = ", ".join(str(k) for k in range(1, depth + 1))
    return Evidence(**said("conjugate_memory"), layers=layers, **_identity((found - expected).norm() / expected.norm()))


def theorem_of_heads(heads: int = 5, depth: int = 4, tasks: int = 500) -> Evidence:
    """With P = 0, linear attention and shared memory weights, heads are one head whose Q is the sum of theirs."""
    problem, generator = Isotropic().stream(0, Purpose.SCORE).sample(tasks), torch.Generator().manual_seed(0)
    several = MemformerConfig(d=problem.d, depth=depth, memory="first_order", heads=heads)
    parameters = {
        name: 0.3 * torch.randn(1, *shape, generator=generator, dtype=torch.float64)
        for name, shape in several.shapes().items()
    }
    one = {**parameters, "Q": parameters["Q"].sum(2, keepdim=True)}
    alone = MemformerConfig(d=problem.d, depth=depth, memory="first_order")
    found, expected = (forward(c, p, problem).predictions for c, p in ((several, parameters), (alone, one)))
    row = _identity((found - expected).norm() / expected.norm())
    stated = "refuted: a theorem, such heads only add up" if row["stated"] == "holds" else "undecided"
    return Evidence(**said("heads_add_up"), layers=str(depth), stated=stated, fresh=row["fresh"])


def _identity(difference: torch.Tensor) -> dict[str, Any]:
    value = difference.item()
    return {
        "stated": "holds" if value < ROUNDING else "refuted",
        "fresh": f"relative difference {value:.0e}; the rule: below {ROUNDING:g}",
    }


def overhead(operations: Operations, layers: Sequence[int] = (1, 2, 3, 4)) -> list[Evidence]:
    """What memory adds to the floating-point operations of a solve."""
    pairs = {
        "overhead": ("memformer_first_order (tasks=50000)", "linear_transformer (tasks=50000)"),
        "overhead_gdpp": ("memformer_gdpp", "linear_transformer (covariate_update=True)"),
    }
    found = []
    for what, (memory, none) in pairs.items():
        ratios = [operations(memory, k) / operations(none, k) for k in layers]
        shown = ", ".join(f"{100 * (ratio - 1):+.0f} %" for ratio in ratios)
        found.append(
            Evidence(
                **said(what),
                layers=", ".join(map(str, layers)),
                stated="holds" if max(ratios) <= LITTLE else "refuted",
                fresh=f"{shown} operations; the rule: at most {100 * (LITTLE - 1):.0f} % more everywhere",
            )
        )
    return found


def elsewhere(results: Path) -> list[Evidence]:
    """What the tables of other experiments say, those that are there."""
    found = []
    rates = results / "learnability" / "rates.csv"
    if rates.is_file():
        own: Any = pd.read_csv(rates).dropna(subset=["slope"])
        slow, sure = int((own["low"] > -0.5).sum()), int((own["high"] < -0.5).sum())
        found.append(
            Evidence(
                **said("learnability"),
                layers=", ".join(str(k) for k in sorted(set(own["depth"]))),
                stated="refuted" if slow else "holds" if sure == len(own) else "holds in part",
                fresh=f"of {len(own)} slopes {sure} lie surely below -1/2 and {slow} above; the rule: all below",
            )
        )
    stopwatch = results / "scaling" / "scaling_stopwatch.csv"
    if stopwatch.is_file():
        own = pd.read_csv(stopwatch)
        by_setting = own.groupby(["law", "d", "N", "batch"])["wins"].any()
        wins, count = int(by_setting.sum()), len(by_setting)
        found.append(
            Evidence(
                **said("stopwatch"),
                stated="holds" if wins == count else "refuted" if not wins else "holds in part",
                fresh=f"on {wins} of {count} combinations of law, d, N and batch; the rule: on all, or none",
            )
        )
    return found


SHIFTED = (0.5, 2.0, 3.0)
"""Variances at which GD++ is scored that was trained at 1."""


def shifted(trained: Sequence[Solver], seeds: Sequence[int], tasks: int = 2000) -> Evidence:
    """GD++ with memory, as the run trained it under each seed, against cg, which no change of scale touches."""
    parts = []
    for variance in SHIFTED:
        law = LAWS.create("ood_variance", variance=variance)
        problems = [law.stream(seed, Purpose.SCORE).sample(tasks) for seed in seeds]
        for k in (2, 3, 4):
            own, other = [], []
            for solver, problem in zip(trained, problems, strict=True):
                for losses, method in ((own, solver), (other, ConjugateGradient())):
                    weights = method.solve(problem, k).weights
                    assert weights is not None
                    losses.append(excess_loss(problem, weights[-1]).numpy())
            parts.append(compared(f"{k} (variance {variance:g})", own, other, "seeds_and_tasks"))
    variances = ", ".join(f"{variance:g}" for variance in SHIFTED)
    return Evidence(**said("shifted", variances=variances), parts=parts, layers="2, 3, 4")
