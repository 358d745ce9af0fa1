"""What the learnability experiment varies, and the classes of learned methods it fits."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import Field

from benchmarks.experiments.experiment import read_settings
from benchmarks.suites.entries import Strict
from memformer.model.config import MemformerConfig

ROOM = "benchmarks.experiments.learnability"


class Class(Strict):
    """A class of learned methods.

    Attributes:
        name: for people.
        kind: `"memformer"`; `"diagonal"`, the extracted LFOM with d coefficients a pair of steps, which is a Memformer
            of d heads whose Q are fixed to the coordinate axes; `"closed_form"`, scalar coefficients, whose empirical
            risk has its minimiser in closed form.
        floor: what its excess is measured from; see `settings.toml`.
        config: of a Memformer.
    """

    name: str
    kind: Literal["closed_form", "diagonal", "memformer"]
    floor: Literal["scalar", "preconditioned", "trained"]
    config: dict[str, Any] = {}

    @property
    def exact(self) -> bool:
        """Whether a fit is a polynomial of whitened covariates, whose loss over all tasks is known exactly."""
        return self.kind == "closed_form" and self.floor == "preconditioned"

    def made_of(self, d: int, N: int, depth: int) -> MemformerConfig:
        """The Memformer this is; scalar coefficients are those of first-order memory with scalar Q."""
        chosen = self.config
        if self.kind == "diagonal":
            chosen = {"memory": "first_order", "heads": d, "gamma_per_head": True}
        elif self.kind == "closed_form":
            chosen = {"memory": "first_order", "preconditioner": "scalar"}
        tokens = N if chosen.get("gamma") == "token" else None
        return MemformerConfig(**{"d": d, "depth": depth, "num_tokens": tokens, **chosen})

    def parameters(self, d: int, N: int, depth: int) -> int:
        """Numbers that training chooses; those of a closed form are its k coefficients."""
        if self.kind == "closed_form":
            return depth
        if self.kind == "diagonal":
            return d * depth * (depth + 1) // 2
        config = self.made_of(d, N, depth)
        sizes = {name: math.prod(shape) for name, shape in config.shapes().items()}
        if "gamma" in sizes and config.gamma_sharing == "none":
            sizes["gamma"] = sizes["gamma"] * (depth + 1) // (2 * depth)
        return sum(sizes.values())


class Learnability(Strict):
    """All of it; see `settings.toml`."""

    law: str
    depths: list[int]
    sizes: list[Annotated[tuple[int, int], Field(strict=False)]]
    evaluations: int
    scored: int
    floor_tasks: int
    reference_tasks: int
    reference_steps: int | None = None
    least_tasks: int
    times_parameters: int
    baselines: list[str]
    classes: list[Class] = Field(alias="class")


class Fit(NamedTuple):
    """One job: a class at one depth, or all where one closed form serves them, fitted to all sets of one size."""

    kind: Class
    depths: list[int]
    tasks: int
    seeds: list[int]

    @property
    def name(self) -> str:
        """For progress."""
        return f"{self.kind.name}, layers {self.depths}, {self.tasks} tasks"


def learnability(quick: bool = False) -> Learnability:
    """The settings, or their quick form."""
    return read_settings(Learnability, ROOM, quick)


def fits(settings: Learnability) -> list[Fit]:
    """All jobs; training sets of different sizes are independent, and the same for all classes and depths."""
    return [
        Fit(kind, depths, tasks, [1000 * index + i for i in range(sets)])
        for kind in settings.classes
        for depths in ([settings.depths] if kind.kind == "closed_form" else [[depth] for depth in settings.depths])
        for index, (tasks, sets) in enumerate(settings.sizes)
    ]
