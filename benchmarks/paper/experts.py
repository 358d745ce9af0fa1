"""Mixtures of experts under variance shift (experiment h) as they should be: one rotation, gates from contexts alone.

Experts with full Q and first-order memory are trained at three variances and joined; their gates, or gates and memory
weights, are fitted to contexts of scored tasks, no query label read. Beside them: one expert as it is, an expert
trained at the very variance, and conjugate gradient, which no change of scale touches.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from joblib import Parallel, delayed
from numpy.typing import NDArray
from torch import Tensor

import benchmarks.laws  # noqa: F401 - registers the laws
from baselines.krylov import ConjugateGradient, PreconditionedCG
from baselines.objective import excess_loss
from benchmarks.harness.limits import pinned_threads
from benchmarks.paper.verdicts import verdict
from benchmarks.registry import LAWS
from benchmarks.statistics import compare, summarise
from benchmarks.tasks.law import Law, Purpose
from benchmarks.views.style import CYCLE, caption, figure
from memformer.config import MemformerConfig
from memformer.experts import adapt, assemble, train_experts
from memformer.problem import Problem

if TYPE_CHECKING:
    from matplotlib.figure import Figure

EXPERTS, VARIANCES = (1.0, 2.0, 3.0), (0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5)
LAYERS, SEEDS = (1, 2, 3, 4), (0, 1, 2)
TASKS, FOLDS, PER_TASK = 3000, 5, 500

REFERENCE = "expert trained at 2"

CLAIMS = {
    "equal gates": "Joined with equal gates, experts handle variances they were not trained at",
    "gates from contexts (A)": "... with gates fitted to contexts",
    "gates and memory from contexts (B)": "... with gates and memory weights fitted to contexts",
    "gates of each task": "... with gates fitted to each task's own context",
}
"""Methods that are judged: said to have a lower loss than the one expert trained at variance 2."""

Losses = NDArray[np.float64]


def law_at(variance: float) -> Law:
    """The law at a variance; all share one rotation."""
    return LAWS.create("ood_variance", variance=variance)


def answers(depth: int, seed: int, tasks: int = TASKS) -> Iterator[tuple[float, str, Losses]]:
    """Per-task losses of every method at every variance, in units of E[y^2]."""
    config = MemformerConfig(d=5, depth=depth, memory="first_order")
    sources = [law_at(variance).stream(seed, Purpose.TRAIN) for variance in VARIANCES]
    trained = train_experts(config, sources, seed)
    alone = {
        variance: {
            name: _head(tensor, i, name, config) for name, tensor in trained.parameters.items() if name != "gates"
        }
        for i, variance in enumerate(VARIANCES)
    }
    joined = {name: torch.cat([alone[v][name] for v in EXPERTS]) for name in alone[EXPERTS[0]]}
    mixture = assemble(config, joined)
    for variance in VARIANCES:
        law = law_at(variance)
        problem = law.stream(seed, Purpose.SCORE).sample(tasks)
        context = problem.blinded()
        found = {
            REFERENCE: assemble(config, alone[2.0]),
            "expert trained there": assemble(config, alone[variance]),
            "equal gates": mixture,
            "gates from contexts (A)": adapt(mixture, context, folds=FOLDS),
            "gates and memory from contexts (B)": adapt(mixture, context, "gates_and_memory", folds=FOLDS),
        }
        for name, one in found.items():
            yield variance, name, _losses(one(problem).weights, problem, law)
        few = problem.first(PER_TASK)
        own = adapt(mixture, few.blinded(), folds=FOLDS, per_task=True)
        yield variance, "gates of each task", _losses(own(few).weights, few, law)
        pcg = PreconditionedCG().fit(law.stream(seed, Purpose.TRAIN), [depth])
        for name, solver in (("cg", ConjugateGradient()), ("pcg", pcg)):
            yield variance, name, _losses(solver.solve(problem, depth).weights, problem, law)


def _head(tensor: Tensor, i: int, name: str, config: MemformerConfig) -> Tensor:
    """Expert i of a mixture, as a model of its own, `(1, ...)`."""
    heads = 2 if name in ("Q", "P") else tensor.ndim - len(config.gamma_shape) - 1
    own = tensor.narrow(heads, i, 1)
    return own if name in ("Q", "P") else own.squeeze(heads)


def _losses(weights: Tensor | None, problem: Problem, law: Law) -> Losses:
    assert weights is not None
    return (excess_loss(problem, weights[-1]) / (law.d * law.variance**2)).numpy()  # pyright: ignore[reportAttributeAccessIssue]


def table(jobs: int, tasks: int = TASKS, layers: Sequence[int] = LAYERS) -> list[dict[str, Any]]:
    """One row a number of layers, variance and method: log loss in units of E[y^2], and its ratio to one expert's."""
    work = [(depth, seed) for depth in layers for seed in SEEDS]
    results: Any = Parallel(n_jobs=jobs)(delayed(_answers)(depth, seed, tasks) for depth, seed in work)
    rows = []
    for depth in layers:
        found: dict[tuple[float, str], list[Losses]] = {}
        for (own_depth, _), answered in zip(work, results, strict=True):
            for variance, name, losses in answered if own_depth == depth else ():
                found.setdefault((variance, name), []).append(losses)
        for (variance, name), losses in found.items():
            summary = summarise(losses, "seeds_and_tasks")
            one = [other[: len(own)] for other, own in zip(found[variance, REFERENCE], losses, strict=True)]
            ratio = compare(losses, one, "seeds_and_tasks")
            rows.append(
                {"layers": depth, "variance": variance, "method": name, "log_mean": summary.log_mean}
                | {"log_low": summary.log_low, "log_high": summary.log_high, "ratio": ratio.log_ratio}
                | {"ratio_low": ratio.log_ratio_low, "ratio_high": ratio.log_ratio_high}
            )
    return rows


def _answers(depth: int, seed: int, tasks: int) -> list[tuple[float, str, Losses]]:
    with pinned_threads(1):
        return list(answers(depth, seed, tasks))


def experts_figure(rows: list[dict[str, Any]]) -> Figure:
    """Log loss against the variance that is tested, a panel for each number of layers."""
    layers = sorted({row["layers"] for row in rows})
    drawn, panels = figure(2.6 * len(layers) + 2.2, 3.6, columns=len(layers), sharey=True)
    for axes, depth in zip(panels, layers, strict=True):
        for index, name in enumerate(dict.fromkeys(row["method"] for row in rows)):
            own = [row for row in rows if (row["layers"], row["method"]) == (depth, name)]
            x = [row["variance"] for row in own]
            dash = ":" if name.startswith("expert trained there") else "-"
            axes.plot(
                x, [row["log_mean"] for row in own], dash, color=CYCLE[index % len(CYCLE)], label=name, marker="."
            )
            low, high = [row["log_low"] for row in own], [row["log_high"] for row in own]
            axes.fill_between(x, low, high, color=CYCLE[index % len(CYCLE)], alpha=0.15, lw=0)
        axes.set_title(f"{depth} layer{'s' * (depth > 1)}")
        axes.set_xlabel("variance of the tasks")
    panels[0].set_ylabel("log (mean loss / E[y²])")
    handles, labels = panels[0].get_legend_handles_labels()
    drawn.legend(handles, labels, loc="outside right center", fontsize=7)
    caption(
        drawn, f"experts trained at variances 1, 2, 3 under one rotation; {FOLDS} folds of the context; 95 % intervals"
    )
    return drawn


def judge_experts(rows: list[dict[str, Any]]) -> list[dict[str, str]]:
    """Rows of the verdict table: each method against the expert trained at 2, at variances nobody was trained at."""
    unseen = [variance for variance in VARIANCES if variance not in EXPERTS]
    judged = []
    for method, text in CLAIMS.items():
        own = [row for row in rows if row["method"] == method and row["variance"] in unseen]
        holds, refuted = all(row["ratio_high"] < 0 for row in own), any(row["ratio_low"] > 0 for row in own)
        worst = max(own, key=lambda row: row["ratio_high"])
        fresh = f"at worst {worst['ratio']:+.2f} [{worst['ratio_low']:+.2f}, {worst['ratio_high']:+.2f}]"
        layers = ", ".join(str(k) for k in sorted({row["layers"] for row in own}))
        row = {"claim": text, "experiment": "h-var", "layers": layers, "published": ""}
        judged.append({**row, "fresh": fresh, "verdict": verdict(seen=False, holds=holds, refuted=refuted)})
    return judged
