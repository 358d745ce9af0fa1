"""What `numbers.toml` says: published numbers, each with what is measured here beside it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, JsonValue, model_validator

from benchmarks.experiments.experiment import read_toml
from benchmarks.suites.entries import Strict, TaskEntry

ROOM = "benchmarks.experiments.literature"

SEEDS = (0, 1, 2)
"""Of everything measured here."""

Kind = Literal["exact", "classical", "learned"]


class Source(Strict):
    """Where numbers come from.

    Attributes:
        cite: authors, title or arXiv number; the repository where the number was printed.
        note: what a reader has to know about all of its numbers.
    """

    cite: str
    note: str = ""


class Number(Strict):
    """A published number, and what stands beside it.

    Attributes:
        source: key of its source.
        where: equation, table, figure or file.
        what: method, law and size, in a few words.
        kind: `exact`, a theorem's value; `classical`, of a method that is not trained; `learned`.
        value: loss as published, above 0.
        over: by what the squared error was divided: d, say.
        tolerance: relative error that the print, and the sample it was taken from, leave open; of a limit what this
            size does; 0 for theorems.
        solver: id of what is measured here.
        params: of the solver.
        law: that it is scored on; a key of `trained_on` names the law that it is fitted on.
        steps: number of steps or layers.
        fit: numbers of steps that it is fitted for, if it has to be; what comes with the project was for 1 to 4.
        excess: whether label noise is left out of the loss.
        tasks: for each of three seeds.
        smaller: how what is trained here is less than theirs; a larger loss then refutes nothing.
    """

    source: str
    where: str
    what: str
    kind: Kind
    value: Annotated[float, Field(gt=0)]
    over: Annotated[float, Field(gt=0)] = 1.0
    tolerance: Annotated[float, Field(ge=0, lt=1)] = 0.0
    solver: str
    params: dict[str, JsonValue] = {}
    law: TaskEntry
    steps: Annotated[int, Field(ge=1)] = 1
    fit: list[Annotated[int, Field(ge=1)]] = [1, 2, 3, 4]
    excess: bool = False
    tasks: Annotated[int, Field(ge=2)] = 20_000
    smaller: str = ""

    @model_validator(mode="after")
    def _only_the_learned_are_smaller(self) -> Number:
        if self.smaller and self.kind != "learned":
            raise ValueError(f"{self.what}: only what is learned can be smaller than theirs")
        return self


class NotRun(Strict):
    """A published number that is not measured here, and why."""

    source: str
    where: str
    what: str
    value: str
    why: str


class Literature(Strict):
    """All of it."""

    sources: dict[str, Source]
    number: list[Number]
    not_run: list[NotRun] = []

    @model_validator(mode="after")
    def _every_source_is_known(self) -> Literature:
        unknown = {one.source for one in (*self.number, *self.not_run)} - set(self.sources)
        if unknown:
            raise ValueError(f"no source {sorted(unknown)[0]!r}")
        return self


def read_numbers() -> Literature:
    """Every number, in the order of the file."""
    return Literature.model_validate(read_toml(ROOM, "numbers.toml"))
