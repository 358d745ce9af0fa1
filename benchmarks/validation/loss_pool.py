"""A large pool of real per-task losses, whose means are the truth that samples from it are judged by."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from benchmarks import api
from benchmarks.harness.scores.measure import measure
from benchmarks.tasks.law import Purpose

CHUNK = 20_000
"""Tasks drawn and solved at once."""

STEPS = (1, 2, 3, 4)

Key = tuple[str, str, str, int]
"""Law, solver, metric, steps."""

Pool = dict[Key, NDArray[np.float64]]


def draw_pool(laws: Iterable[str], solvers: Iterable[str], tasks: int) -> Pool:
    """Losses of every solver on the same fresh tasks of each law (default d and N), float64.

    Args:
        laws: registry ids.
        solvers: registry ids.
        tasks: how many, rounded up to whole chunks.

    Returns:
        For each law, solver, metric and number of steps, losses `(tasks,)` in the order of the tasks.
    """
    parts: dict[Key, list[NDArray[np.float64]]] = {}
    for law_name in laws:
        law = api.law(law_name)
        fitted = {name: api.solver(name).fit(law.stream(7, Purpose.TRAIN), STEPS) for name in solvers}
        stream = law.stream(7, Purpose.TRUTH)
        for _ in range(-(-tasks // CHUNK)):
            problem = stream.sample(CHUNK)
            for name, solver in fitted.items():
                for metric, losses in measure(solver, problem, STEPS).losses.items():
                    for steps, row in zip(STEPS, losses, strict=True):
                        parts.setdefault((law_name, name, metric, steps), []).append(row)
    return {key: np.concatenate(arrays) for key, arrays in parts.items()}
