"""What the experiment `memory` varies."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from pydantic import Field, model_validator

from benchmarks.catalogue.registry import LAWS
from benchmarks.experiments.experiment import read_settings
from benchmarks.suites.entries import Strict
from benchmarks.tasks.law import Law
from memformer.model.config import GammaSharing, MemformerConfig, Memory, Preconditioner

ROOM = "benchmarks.experiments.memory"


class Tasks(Strict):
    """A law, and the coordinates a method works in: as they are (scalar Q), or whitened (full Q).

    Attributes:
        name: for people.
        law, params: of `LAWS`.
        preconditioner: of the models.
    """

    name: str
    law: str
    params: dict[str, Any] = {}
    preconditioner: Preconditioner = "scalar"

    def made(self) -> Law:
        """The law itself."""
        return LAWS.create(self.law, **self.params)


class Variant(Strict):
    """One kind of memory.

    Attributes:
        name: for people.
        memory, window, gamma_sharing: as in `MemformerConfig`.
        ladder: whether it is a rung of "the least memory".
    """

    name: str
    memory: Memory
    window: int | None = None
    gamma_sharing: GammaSharing = "none"
    ladder: bool = False

    def config(self, d: int, depth: int, preconditioner: Preconditioner) -> MemformerConfig:
        """Models of this variant."""
        own = self.model_dump(exclude={"name", "ladder"})
        return MemformerConfig(d=d, depth=depth, preconditioner=preconditioner, **own)


class Start(Strict):
    """Where training starts, and how it goes on.

    Attributes:
        name: for people.
        learning_rate: Adam's, at its highest.
        deviation: standard deviation of the entries of Q, in the law's own coordinates; None starts where the library
            does, in white ones.
    """

    name: str
    learning_rate: float
    deviation: float | None = None


class Run(Strict):
    """What is trained: each memory at each depth on some tasks, from some start, with so many steps at most.

    Attributes:
        noisy: whether it belongs to the question what memory gains with label noise; it then has one budget.
        passes: how often a training task is used.
    """

    tasks: str
    start: str
    memories: list[str]
    depths: list[int]
    steps: int
    passes: int
    noisy: bool = False


class MemorySettings(Strict):
    """All of it; see `settings.toml`."""

    within: float
    seeds: list[int]
    judged: int
    theory_tasks: int
    theory_depths: int
    budgets: list[int]
    most_steps: int
    most_layers: int
    drawn: list[int]
    pool: int
    batch: int
    spread: float
    theory: list[Tasks]
    tasks: list[Tasks]
    variants: list[Variant] = Field(alias="variant")
    starts: list[Start] = Field(alias="start")
    runs: list[Run] = Field(alias="run")

    @model_validator(mode="after")
    def _named(self) -> MemorySettings:
        for what in ("tasks", "start", "memories"):
            known = {one.name for one in {"tasks": self.tasks, "start": self.starts, "memories": self.variants}[what]}
            named = [getattr(run, what) for run in self.runs]
            unknown = {name for one in named for name in ([one] if isinstance(one, str) else one)} - known
            if unknown:
                raise ValueError(f"a [[run]] has {what} {', '.join(sorted(unknown))}; there are {', '.join(known)}")
        return self

    def ladder(self) -> list[str]:
        """Names of the rungs, least memory first."""
        return [variant.name for variant in self.variants if variant.ladder]


class Batch(NamedTuple):
    """Models that train as one batch: all seeds of one variant, depth, law and start, once for each budget."""

    tasks: Tasks
    start: Start
    variant: Variant
    depth: int
    budgets: list[int]
    passes: int
    noisy: bool

    @property
    def name(self) -> str:
        """For progress."""
        return f"{self.tasks.name}, {self.start.name}, {self.variant.name}, depth {self.depth}"


def memory_settings(quick: bool = False) -> MemorySettings:
    """The settings, or their quick form."""
    return read_settings(MemorySettings, ROOM, quick)


def batches(settings: MemorySettings) -> Iterator[Batch]:
    """All batches, in the order of the settings."""
    tasks = {one.name: one for one in settings.tasks}
    starts = {one.name: one for one in settings.starts}
    variants = {one.name: one for one in settings.variants}
    for run in settings.runs:
        last = min(run.steps, settings.most_steps)
        budgets = [last] if run.noisy else [budget for budget in settings.budgets if budget <= last]
        for memory in run.memories:
            for depth in run.depths:
                if depth <= settings.most_layers:
                    own = (tasks[run.tasks], starts[run.start], variants[memory])
                    yield Batch(*own, depth, budgets, run.passes, run.noisy)
