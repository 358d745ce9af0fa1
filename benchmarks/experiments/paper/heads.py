"""Several heads where they do not only add up: memory weights of each head's own, with P = 0 and with P free.

One head and several train from as many random starts, on the same tasks, for as many steps; the best start on
validation tasks is the model. Both are judged: the loss they end at, and the steps they need to come near it. Softmax
attention is left out: 300 steps of three such models with three heads take a minute and a half.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from baselines.objective import excess_loss
from benchmarks.experiments.experiment import Request
from benchmarks.experiments.paper.curves import read_rows
from benchmarks.experiments.paper.verdicts import MARGIN, Evidence, Part, compared, said
from benchmarks.tasks.gaussian import Isotropic
from benchmarks.tasks.law import Purpose
from memformer.model.config import MemformerConfig
from memformer.model.forward import forward
from memformer.training.recipe import Recipe
from memformer.training.search import Search
from memformer.training.train import train

HEADS, SEEDS, STARTS, TASKS = 3, (0, 1, 2), 3, 10_000

STEPS = {("P = 0", 2): 600, ("P = 0", 3): 600, ("P = 0", 4): 600, ("P free", 2): 1000, ("P free", 3): 2000}
"""Training steps of each class, by number of layers."""


class Ended(NamedTuple):
    """Per-task losses and, by training step, log validation loss, under each seed."""

    losses: list[NDArray[np.float64]]
    curves: list[dict[int, float]]


def trained(kind: str, depth: int, heads: int, steps: int, tasks: int = TASKS) -> Ended:
    """Models of one class under each seed."""
    config = MemformerConfig(
        d=5,
        depth=depth,
        memory="first_order",
        covariate_update=kind == "P free",
        heads=heads,
        gamma_per_head=heads > 1,
    )
    law, search = Isotropic(), Search(starts=STARTS)
    recipe = Recipe(steps=steps, patience=0, batch=500, tasks=5000, interval=25, search=search)
    found = train(config, [law.stream(seed, Purpose.TRAIN) for seed in SEEDS], [depth], SEEDS, recipe)
    losses = []
    for i, seed in enumerate(SEEDS):
        problem = law.stream(seed, Purpose.SCORE).sample(tasks)
        own = {name: tensor[i : i + 1] for name, tensor in found.parameters.items()}
        weights = forward(config, own, problem).weights
        assert weights is not None
        losses.append(excess_loss(problem, weights[-1, 0]).numpy())
    curves = [{r.step: math.log(r.validation[i]) for r in found.history.records} for i in range(len(SEEDS))]
    return Ended(losses, curves)


def table(request: Request, steps: Mapping[tuple[str, int], int] = STEPS, tasks: int = TASKS) -> list[dict[str, Any]]:
    """One row a class and number of layers: log losses of one head and of several, their ratio, and steps needed."""
    work = [(kind, depth, heads, count, tasks) for (kind, depth), count in steps.items() for heads in (HEADS, 1)]
    work.sort(key=lambda one: -one[1] * one[3] * (one[0] == "P free"))
    names = [f"{kind}, {depth} layers, {heads} heads" for kind, depth, heads, *_ in work]
    found = dict(zip([one[:3] for one in work], request.map("heads", _trained, work, names), strict=True))
    rows = []
    for kind, depth in steps:
        several, one = found[kind, depth, HEADS], found[kind, depth, 1]
        part = compared("", several.losses, one.losses, "seeds_and_tasks")
        needed = steps_needed(several.curves, one.curves)
        losses = {"log_one": _log_mean(one), "log_several": _log_mean(several)}
        steps_to_both = {"steps_several": needed[0], "steps_one": needed[1]}
        rows.append({"kind": kind, "layers": depth, "heads": HEADS, **losses, **part.row, **steps_to_both})
    return rows


def _trained(work: tuple[str, int, int, int, int]) -> Ended:
    return trained(*work)


def _log_mean(found: Ended) -> float:
    return float(np.log(np.concatenate(found.losses).mean()))


def steps_needed(first: list[dict[int, float]], second: list[dict[int, float]]) -> tuple[float, float]:
    """Median over seeds of the steps after which each comes within the margin of the better one's end.

    Example:
        >>> steps_needed([{0: 1.0, 50: 0.0}], [{0: 1.0, 50: 0.5, 100: 0.01}])
        (50, 100)
    """
    steps: tuple[list[float], list[float]] = ([], [])
    for pair in zip(first, second, strict=True):
        target = min(min(curve.values()) for curve in pair) + MARGIN
        for needed, curve in zip(steps, pair, strict=True):
            needed.append(min((step for step, loss in curve.items() if loss <= target), default=math.inf))
    return median(steps[0]), median(steps[1])


def read_table(path: Path) -> list[dict[str, Any]]:
    """The rows of a `heads.csv`.

    Raises:
        UserError: if it is not one.
    """
    numbers: dict[str, type] = dict.fromkeys((*Part("", 0.0, 0.0, 0.0, 0.0).row, "steps_several", "steps_one"), float)
    return read_rows(path, "heads ('run paper' makes it anew)", {"kind": str, "layers": int, **numbers})


def heads_evidence(rows: list[dict[str, Any]]) -> list[Evidence]:
    """What the table knows of each class."""
    gathered = []
    for kind in dict.fromkeys(row["kind"] for row in rows):
        own = [row for row in rows if row["kind"] == kind]
        parts = [Part.of_row(str(row["layers"]), row) for row in own]
        layers = ", ".join(part.where for part in parts)
        speed = _speed([row["steps_one"] / row["steps_several"] for row in own])
        what = said("heads", heads=HEADS, kind=kind)
        gathered.append(Evidence(**what, parts=parts, layers=layers, speed=speed))
    return gathered


def _speed(ratios: list[float]) -> str:
    """How fast several heads train against one, in words: faster or slower where it is so at every depth."""
    if not any(ratios):
        return "and does not come as far as one in these steps"
    faster, ends = all(ratio > 1 for ratio in ratios), sorted(ratios)
    if not faster and not all(0 < ratio < 1 for ratio in ratios):
        return "and trains no faster"
    ends = ends if faster else sorted(1 / ratio for ratio in ratios)
    shown = " to ".join(dict.fromkeys(f"{end:.2g}" for end in (ends[0], ends[-1])))
    return f"{shown} times {'faster' if faster else 'slower'} to train"
