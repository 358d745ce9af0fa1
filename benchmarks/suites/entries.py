"""Entries of a suite: its passes, laws and solvers, and the condition that says which belong together."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, JsonValue

from benchmarks.tasks.importance import Sampling

Count = Annotated[int, Field(ge=1)]

MOST_SECONDS = 1e9
"""Thirty years, and within what the timers of every system can hold."""

Protocol = Literal["held_out", "transductive", "context_adapted"]
"""What a test loss means: `held_out`, fitted on training tasks, scored on fresh ones; `transductive`, fitted on the
very batch that is scored, its query labels included (only to reproduce figures that did so); `context_adapted`,
fitted on training tasks and adapted to the scored ones from their context alone."""


Entry = TypeVar("Entry")


def refuse_repetition(entries: list[Entry]) -> list[Entry]:
    """The entries, if none occurs twice: each names rows of its own.

    Raises:
        ValueError: naming the first that does.
    """
    twice = next((entry for place, entry in enumerate(entries) if entry in entries[:place]), None)
    if twice is not None:
        shown: Any = twice.model_dump(exclude_defaults=True) if isinstance(twice, BaseModel) else twice
        raise ValueError(f"{shown} occurs twice; give each entry once")
    return entries


Distinct = AfterValidator(refuse_repetition)

Steps = Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1), Distinct]


class Strict(BaseModel):
    """Knows its keys and their types, takes no others, and no number that is nan or infinite."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class Scores(Strict):
    """The scores pass.

    Attributes:
        tasks: fresh tasks scored for each seed.
        time_limit: seconds one cell (fitting and solving, all seeds) may take.
        memory_limit: GB of the host's memory that a worker process may hold while it computes a cell, beside what the
            libraries of an accelerator take; by default no limit.
    """

    tasks: Count = 4000
    time_limit: float = Field(default=120.0, gt=0, le=MOST_SECONDS)
    memory_limit: float | None = Field(default=None, gt=0)


class Timings(Strict):
    """The timings pass.

    Attributes:
        batch: tasks in the batch that is timed.
        repeats: warm repetitions of each solve, interleaved over the solvers; six are enough where a 95 % interval of
            their median is no wider than 5 % of it.
        budget: seconds after which a slow solve is repeated no more than three times, or once if it takes four times
            as long.
    """

    batch: Count = 200
    repeats: Count = 11
    budget: float = Field(default=0.25, gt=0, le=MOST_SECONDS)


def spelt_out(key: str) -> BeforeValidator:
    """A bare string stands for a table with that one key."""
    return BeforeValidator(lambda value: {key: value} if isinstance(value, str) else value)


class TrainedOn(Strict):
    """Another law that a solver is fitted on, in the size of the task it is scored on; keys as in `TaskEntry`.

    Attributes:
        d: covariate dimension, if not that of the task: for solvers whose parameters are the same at every d.
        N: context length, if not that of the task.
        steps: the numbers of steps that it is fitted for, if not those that are asked of it: for solvers that repeat
            what they learned.
    """

    law: str
    d: int | None = None
    N: int | None = None
    steps: Steps | None = None
    noise_std: float = 0.0
    params: dict[str, JsonValue] = {}

    @property
    def label(self) -> str:
        """For the tables: the law, with what differs from its defaults."""
        own = {"d": self.d, "N": self.N, "noise_std": self.noise_std or None, "steps": self.steps}
        shown = {name: value for name, value in own.items() if value is not None} | self.params
        return " ".join([self.law, *(f"{name}={value}" for name, value in shown.items())])

    def at(self, task: TaskEntry) -> TaskEntry:
        """The law in the size of a task."""
        d, N = task.d if self.d is None else self.d, task.N if self.N is None else self.N
        return TaskEntry(law=self.law, d=d, N=N, noise_std=self.noise_std, params=self.params)


class TaskEntry(Strict):
    """One law with its parameters.

    Attributes:
        law: id of the law.
        d: covariate dimension.
        N: context length.
        noise_std: standard deviation of the label noise.
        params: further parameters of the law.
        tasks: scored tasks for each seed, if fewer than those of the suite (the first ones).
        batch: sizes of the batches that are timed, one after another, if not that of the suite.
        draw: how the scored tasks are drawn; `importance` draws rare ill-conditioned contexts more often and weighs
            them, which a law with Gaussian covariates can.
        trained_on: the law that solvers are fitted on which have to be fitted, by name or as a `TrainedOn`: a shift.
        optional: whether the law is left out, with the reason, where a package that it needs is not installed.
    """

    law: str
    d: int = 5
    N: int = 20
    noise_std: float = 0.0
    params: dict[str, JsonValue] = {}
    tasks: Count | None = None
    batch: Annotated[list[Count], Field(min_length=1), Distinct] | None = None
    draw: Sampling = "plain"
    trained_on: Annotated[TrainedOn | None, spelt_out("law")] = None
    optional: bool = False


class Only(Strict):
    """A condition on tasks: every key that is given must equal the task's; d may have bounds instead, inclusive.

    `params = {}` holds for a law with its defaults alone.
    """

    law: str | None = None
    d: int | None = None
    N: int | None = None
    d_min: int | None = None
    d_max: int | None = None
    draw: Sampling | None = None
    params: dict[str, JsonValue] | None = None

    def holds(self, task: TaskEntry) -> bool:
        """Whether a task meets the condition."""
        within = self.d_min is None or self.d_min <= task.d
        within = within and (self.d_max is None or task.d <= self.d_max)
        equal = self.model_dump(exclude_none=True, include={"law", "d", "N", "draw", "params"})
        return within and all(getattr(task, key) == value for key, value in equal.items())


class SolverEntry(Strict):
    """One solver with its parameters; in the file, a bare string is an entry without any.

    Attributes:
        name: id of the solver.
        params: hyper-parameters that differ from the defaults.
        steps: numbers of steps, if not those of the suite.
        tasks: scored tasks for each seed, if fewer than those of the suite (the first ones).
        protocol: what the test loss means (see `Protocol`).
        only: the tasks this entry is for, `{ d = 5 }` say; by default all of them.
        trained_on: the law it is fitted on, by name or as a `TrainedOn`; by default that of the task, or the law it
            is scored on.
    """

    name: str
    params: dict[str, JsonValue] = {}
    steps: Steps | None = None
    tasks: Count | None = None
    protocol: Protocol = "held_out"
    only: Only = Only()
    trained_on: Annotated[TrainedOn | None, spelt_out("law")] = None
