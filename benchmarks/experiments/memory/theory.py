"""What memory can gain at all: floors of laws, whether they need memory, and the best that does without."""

from __future__ import annotations

import math
from typing import NamedTuple

from baselines.exact_law import gaussian_tasks
from baselines.lfom_optimal import LfomOptimal, draw_moments, exact_parameters
from baselines.residual_roots import best_real_roots, count_real_roots, fitted_roots
from benchmarks.experiments.memory.settings import MemorySettings, Tasks
from benchmarks.tasks.law import Law, Purpose


class Floor(NamedTuple):
    """The best method with so many fixed coefficients on a law.

    Attributes:
        tasks, depth: which law, and how many steps.
        exact: whether moments are known exactly; else they are means over tasks.
        log_floor: of its expected loss, the query's own noise included.
        error: how far another half of the tasks moves it; 0 if exact.
        real: how many roots of its residual polynomial are real.
        without: log loss of the best of the methods with real roots alone that were found, which need no memory.
    """

    tasks: str
    depth: int
    exact: bool
    log_floor: float
    error: float
    real: int
    without: float

    @property
    def gain(self) -> float:
        """What memory gains in log loss."""
        return self.without - self.log_floor


def floors(settings: MemorySettings, tasks: Tasks) -> list[Floor]:
    """Of one law, for 1, 2, ... steps."""
    law, most = tasks.made(), settings.theory_depths
    exact = gaussian_tasks(law.stream(0, Purpose.TRUTH), tasks.preconditioner == "full")
    found = []
    if exact is not None:
        for k in range(1, most + 1):
            real, floor = count_real_roots(exact, k), exact.floor(k)
            excess = float(exact.scale) * best_real_roots(exact_parameters(exact, k), k) if real < k else 0.0
            log_floor = math.log(floor)
            found.append(Floor(tasks.name, k, True, log_floor, 0.0, real, log_floor + math.log1p(excess / floor)))
        return found
    halves = [_estimated(settings, law, seed) for seed in (0, 1)]
    for k in range(1, most + 1):
        (floor, parameters), (other, _) = ((losses[k], own) for losses, own in halves)
        real = sum(root.imag == 0 for root in fitted_roots(parameters, k))
        excess = best_real_roots(parameters, k) if real < k else 0.0
        error = abs(math.log(other / floor))
        found.append(Floor(tasks.name, k, False, math.log(floor), error, real, math.log(floor + excess)))
    return found


def _estimated(settings: MemorySettings, law: Law, seed: int) -> tuple[list[float], dict]:
    """Losses of the best methods of 0, 1, ... steps on half of the tasks, and their parameters."""
    count = settings.theory_tasks // 2
    moments, loss = draw_moments(law.stream(seed, Purpose.TRUTH), count, settings.spread)
    parameters = LfomOptimal().fitted(moments, loss, settings.theory_depths).parameters
    assert parameters is not None
    gained = parameters["coefficients"].square().cumsum(0).tolist()
    start = loss.constant.mean().item() + law.noise_var
    return [start, *(start - gain for gain in gained)], dict(parameters)
