"""What the gate compares: a time for each solver, some fits and draws; a loss for each solver on each law."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmarks.regression.asv_suite.catalogue import (
    ELSEWHERE,
    LAWS,
    LEARNED,
    SCORED_BUDGET,
    SLOW,
    SOLVERS,
    TIMED_BUDGET,
)

LOSS_LAWS: dict[str, dict[str, Any]] = {
    "isotropic": {},
    "anisotropic": {},
    "gmm": {},
    "ood_variance": {"variance": 2.0},
}
"""The laws of suite `core`, whose losses the committed table holds."""

SHORT = {"iterations": 20, "tasks": 1000, "batch": 250, "num_tasks": 4000}
"""The most training of a learned solver whose loss is compared: what has changed shows after few steps."""

SHORTER = {"iterations": 6, "batch": 64, "starts": 1}
"""That of the field's learned methods."""

LEARNED_STEPS = (1, 3)

LEARNED_LAWS = ("isotropic", "anisotropic")
"""Laws that learned solvers are compared on: they are trained anew on both sides."""

BATCHES = {**dict.fromkeys(SLOW, 3), "logistic_bayes": 2, "memformer_mixture": 50}
"""Tasks of a solve where 200 take long."""

PLUGIN_LAWS = ("isotropic", "anisotropic")
"""Laws that solvers of plug-ins are compared on."""

LOSS_STEPS = (1, 2, 3)
"""Intervals of mean losses hold up to 3 steps (results/studies/calibration.md)."""


@dataclass(frozen=True)
class SpeedCase:
    """One thing that is timed.

    Attributes:
        kind: `solve`, `fit` or `draw`.
        solver, params: what is solved with or fitted.
        law, law_params: the tasks.
        batch: tasks of a solve or draw.
        steps: of a solve, or that a fit is for.
    """

    kind: str
    solver: str = ""
    params: dict[str, Any] = field(default_factory=dict)
    law: str = "anisotropic"
    law_params: dict[str, Any] = field(default_factory=lambda: {"d": 5, "N": 20})
    batch: int = 200
    steps: int = 4

    @property
    def name(self) -> str:
        """What people call it."""
        return f"{self.kind} {self.solver or self.law}"


@dataclass(frozen=True)
class LossCase:
    """One solver on one law: its losses on the same tasks on both sides.

    Attributes:
        solver, params: the solver; a learned one is trained with this short budget.
        law, law_params: the tasks.
        tasks: how many for each seed.
        seeds: of tasks and training.
        steps: numbers of steps.
    """

    solver: str
    params: dict[str, Any]
    law: str
    law_params: dict[str, Any]
    tasks: int
    seeds: tuple[int, ...]
    steps: tuple[int, ...] = LOSS_STEPS

    @property
    def name(self) -> str:
        """What people call it."""
        return f"{self.solver} on {self.law}"


def speed_cases() -> list[SpeedCase]:
    """A solve by every solver, five fits, a draw of every law."""
    solves = [
        SpeedCase(
            "solve",
            name,
            TIMED_BUDGET.get(name, {}),
            ELSEWHERE.get(name, "anisotropic"),
            batch=BATCHES.get(name, 200),
        )
        for name in SOLVERS
    ]
    short = {"tasks": 500, "batch": 500, "iterations": 4}
    fits = [SpeedCase("fit", name, short) for name in ("memformer_conjugate", "memformer_first_order")]
    fits.append(SpeedCase("fit", "lfom_optimal", {"num_tasks": 1000}))
    steps = {"iterations": 2, "batch": 64, "starts": 1}
    fits.append(SpeedCase("fit", "transformer_softmax", {**steps, "width": 8, "heads": 2}, steps=2))
    fits.append(SpeedCase("fit", "lstm_optimizer", steps, steps=2))
    draws = [SpeedCase("draw", law=law, batch=500) for law in LAWS]
    return [*solves, *fits, *draws]


def plugin_cases(solvers: Sequence[str], laws: Sequence[str]) -> tuple[list[SpeedCase], list[LossCase]]:
    """A solve and losses of each solver of plug-ins, with the parameters it has by default, a draw of each law."""
    timed = [SpeedCase("solve", name, batch=50) for name in solvers]
    timed += [SpeedCase("draw", law=name, law_params={}, batch=100) for name in laws]
    size = {"d": 5, "N": 20}
    return timed, [LossCase(name, {}, law, size, 2000, (0, 1, 2)) for law in PLUGIN_LAWS for name in solvers]


def loss_cases() -> list[LossCase]:
    """Every solver on the laws of core (24,000 tasks, few for loops over tasks); learned ones, three seeds, on two."""
    size = {"d": 5, "N": 20}
    found = []
    for law, more in LOSS_LAWS.items():
        for name in SOLVERS:
            if name in ELSEWHERE:
                continue
            if name not in SCORED_BUDGET:
                tasks, seeds = (200, (0,)) if name in SLOW else (8000, (0, 1, 2))
                found.append(LossCase(name, {}, law, {**size, **more}, tasks, seeds))
            elif law in (LEARNED_LAWS[-1:] if name in LEARNED else LEARNED_LAWS):
                budget = {key: min(value, SHORT.get(key, value)) for key, value in SCORED_BUDGET[name].items()}
                if name in LEARNED:
                    budget |= SHORTER
                found.append(LossCase(name, budget, law, {**size, **more}, 2000, (0, 1, 2), LEARNED_STEPS))
    return found
