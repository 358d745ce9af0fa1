"""Test loss of every solver on every law at a fixed seed, and how far it lies above the floor of its class."""

from __future__ import annotations

import math

import torch

from .catalogue import LAWS, NO_NOISE, SCORED_BUDGET, SLOW, SOLVERS
from .helpers import check_applies, door, fitted, lacking, make_law, make_solver

NOISE = 0.1
"""Label noise: it keeps the losses of direct methods away from 0, where a ratio of two of them says nothing."""

STEPS, TASKS, SLOW_TASKS, SEED = 3, 2000, 200, 0
LEAST_GAP = 1e-3
"""asv compares ratios: a gap below this is reported as this."""

Score = tuple[float, float] | str
"""Log loss in units of the noise variance and gap to the floor (nan: no floor known); or why there is none."""


class Score3Steps:
    """3 steps at d = 5, N = 20, label noise 0.1, on the scored tasks of seed 0; learned solvers with short training."""

    version = "1"
    params = (SOLVERS, LAWS)
    param_names = ("solver", "law")
    timeout = 600

    def setup_cache(self) -> dict[str, Score]:
        """All scores, computed once for each commit."""
        torch.set_num_threads(1)
        found: dict[str, Score] = {}
        for law in LAWS:
            for solver in SOLVERS:
                try:
                    found[f"{solver} {law}"] = score(solver, law)
                except NotImplementedError:
                    found[f"{solver} {law}"] = "missing"
                except Exception as error:
                    found[f"{solver} {law}"] = f"{type(error).__name__}: {error}"
        return found

    setup_cache.timeout = 900  # type: ignore[attr-defined]

    def setup(self, scores: dict[str, Score], solver: str, law: str) -> None:
        if scores[f"{solver} {law}"] == "missing":
            raise NotImplementedError(f"this commit has no {solver} on {law}")

    def track_log_test_loss(self, scores: dict[str, Score], solver: str, law: str) -> float:
        """`log(mean expected test loss / noise variance)`: never below 0, since asv compares ratios."""
        return _finite(scores[f"{solver} {law}"])[0]

    def track_gap_to_floor(self, scores: dict[str, Score], solver: str, law: str) -> float:
        """`log(mean loss / mean floor)` on the same tasks."""
        gap = _finite(scores[f"{solver} {law}"])[1]
        return gap if math.isnan(gap) else max(gap, LEAST_GAP)

    track_log_test_loss.unit = "log(loss/noise)"  # type: ignore[attr-defined]
    track_gap_to_floor.unit = "log ratio"  # type: ignore[attr-defined]


def _finite(found: Score) -> tuple[float, float]:
    """The score; asv takes nan for "skipped" and publishes infinity for ever, so what has no finite loss raises."""
    if isinstance(found, str):
        raise RuntimeError(found)
    if not math.isfinite(found[0]):
        raise FloatingPointError(f"the loss is not finite: {found[0]}")
    return found


def score(solver_name: str, law_name: str) -> tuple[float, float]:
    """Log loss in units of the noise variance, and gap."""
    law = make_law(law_name, d=5, N=20, **({} if law_name in NO_NOISE else {"noise_std": NOISE}))
    tasks = SLOW_TASKS if solver_name in SLOW else TASKS
    unfitted = make_solver(solver_name, **SCORED_BUDGET.get(solver_name, {}))
    check_applies(unfitted, law, solver_name)
    solver = fitted(unfitted, law, (STEPS,), SEED)
    # Some laws have no true weights; where a solver tells predictions alone, the door knows what its loss is.
    weights = getattr(law, "synthetic", True) and getattr(law, "linear", True)
    asked = (solver, law, SEED, tasks, (STEPS,), *(() if weights else ("test_loss",)))
    with lacking((ImportError,)):
        mean, floor = float(door().losses(*asked).mean()), door().floor(*asked)
    gap = math.nan if floor is None else math.log(mean / float(floor.mean()))
    return math.log(mean / NOISE**2), gap
