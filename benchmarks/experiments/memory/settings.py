"""What the experiment `memory` varies."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from pydantic import Field, model_validator

from benchmarks.experiments.experiment import read_settings
from benchmarks.suites.entries import Strict
from memformer.model.config import GammaShape, GammaSharing, MemformerConfig, Memory, Preconditioner
from memformer.training.recipe import Schedule

ROOM = "benchmarks.experiments.memory"


class Variant(Strict):
    """One kind of memory.

    Attributes:
        name: for people.
        memory, window, gamma, gamma_sharing: as in `MemformerConfig`.
        ladder: whether it is a rung of "the least memory".
    """

    name: str
    memory: Memory
    window: int | None = None
    gamma: GammaShape = "scalar"
    gamma_sharing: GammaSharing = "none"
    ladder: bool = False

    def config(self, d: int, N: int, depth: int, preconditioner: Preconditioner) -> MemformerConfig:
        """Models of this variant."""
        own = self.model_dump(exclude={"name", "ladder"})
        tokens = N if self.gamma == "token" else None
        return MemformerConfig(d=d, depth=depth, preconditioner=preconditioner, num_tokens=tokens, **own)


class Run(Strict):
    """Which memories train how long, at which depths."""

    memories: list[str]
    depths: list[int]
    steps: int


class Start(Strict):
    """Where training starts, and how it goes on.

    Attributes:
        name: for people.
        learning_rate, schedule, batch, clip: Adam's, as in `Recipe`.
        pool: tasks drawn at a time.
        deviation: standard deviation of the entries of Q; None starts at gradient descent, in white coordinates.
        runs: what starts here.
    """

    name: str
    learning_rate: float
    schedule: Schedule
    batch: int
    pool: int
    clip: float | None = None
    deviation: float | None = None
    runs: list[Run]


class MemorySettings(Strict):
    """All of it; see `settings.toml`."""

    law: str
    within: float
    seeds: list[int]
    scored: int
    floor_tasks: int
    budgets: list[int]
    most_steps: int
    most_layers: int
    drawn: list[int]
    patience: int
    gain: float
    preconditioners: list[Preconditioner]
    variants: list[Variant] = Field(alias="variant")
    starts: list[Start] = Field(alias="start")

    @model_validator(mode="after")
    def _named(self) -> MemorySettings:
        known = {variant.name for variant in self.variants}
        for start in self.starts:
            for run in start.runs:
                if unknown := set(run.memories) - known:
                    raise ValueError(f"no [[variant]] is named {', '.join(sorted(unknown))}")
        return self

    def ladder(self) -> list[str]:
        """Names of the rungs, least memory first."""
        return [variant.name for variant in self.variants if variant.ladder]


class Batch(NamedTuple):
    """Models that train as one batch: all seeds and some depths of one variant, preconditioner and start."""

    start: Start
    preconditioner: Preconditioner
    variant: Variant
    depths: list[int]
    budgets: list[int]

    @property
    def name(self) -> str:
        """For progress."""
        return f"{self.start.name}, {self.preconditioner} Q, {self.variant.name}, depths {self.depths}"


def memory_settings(quick: bool = False) -> MemorySettings:
    """The settings, or their quick form."""
    return read_settings(MemorySettings, ROOM, quick)


def batches(settings: MemorySettings) -> Iterator[Batch]:
    """All batches, those of one start together."""
    variants = {variant.name: variant for variant in settings.variants}
    for start in settings.starts:
        for run in start.runs:
            depths = [depth for depth in run.depths if depth <= settings.most_layers]
            last = min(run.steps, settings.most_steps)
            budgets = [budget for budget in settings.budgets if budget <= last]
            if depths:
                for preconditioner in settings.preconditioners:
                    for memory in run.memories:
                        yield Batch(start, preconditioner, variants[memory], depths, budgets)
