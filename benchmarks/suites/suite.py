"""Suites: what to run, written in TOML and checked to the last key before anything is computed."""

from __future__ import annotations

import hashlib
import json
import re
import tomllib
from importlib import resources
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, ValidationError, model_validator

from benchmarks.errors import UserError
from benchmarks.suites.entries import (
    Count,
    Distinct,
    Only,
    Scores,
    SolverEntry,
    Steps,
    Strict,
    TaskEntry,
    Timings,
    TrainedOn,
    spelt_out,
)
from benchmarks.suites.meetings import refuse_idle, refuse_same_rows

SUITE_SCHEMA = 1
"""Version of the suite format; a suite file states the version it was written for."""

Seed = Annotated[int, Field(ge=0, lt=2**63)]

UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")
"""What the id of a suite does not have: its runs are named by it."""


def _usable(name: str) -> str:
    if not name[:1].isalnum() or len(name) > 100 or UNSAFE.search(name):
        raise ValueError("it must be at most 100 letters, digits, '.', '_' and '-', the first a letter or digit")
    return name


class Suite(Strict):
    """A whole suite: every task is met by every solver, under every seed.

    Attributes:
        suite_schema: `SUITE_SCHEMA` of the file (`schema` in TOML).
        name: id, the file's stem, with hyphens in place of what a run's name cannot hold.
        description: one line for people.
        steps: numbers of steps after which every solver is scored and timed.
        seeds: each draws fresh scored tasks, fresh training tasks and fresh initial parameters.
        dtype: floating-point type of every computation.
        device: `cpu`, `cuda`, `cuda:1`, `mps`.
        threads: CPU threads of every library, in both passes.
        scores: the scores pass.
        timings: the timings pass, None to leave it out.
        tasks: the laws.
        solvers: the solvers.
    """

    suite_schema: Literal[1] = Field(alias="schema")
    name: Annotated[str, AfterValidator(_usable)]
    description: str = ""
    steps: Steps
    seeds: Annotated[list[Seed], Field(min_length=1), Distinct] = [0, 1, 2]
    dtype: Literal["float32", "float64"] = "float64"
    device: str = "cpu"
    threads: Count = 1
    scores: Scores = Scores()
    timings: Timings | None = Timings()
    tasks: Annotated[list[TaskEntry], Field(min_length=1)]
    solvers: Annotated[list[Annotated[SolverEntry, spelt_out("name")]], Field(min_length=1)]

    @model_validator(mode="after")
    def _every_row_once(self) -> Suite:
        refuse_idle(self.tasks, self.solvers)
        refuse_same_rows(self.tasks, self.solvers, self.steps)
        return self

    @property
    def content_hash(self) -> str:
        """12 hexadecimal digits that change with anything the suite says, not with its comments or layout."""
        content = self.model_dump(mode="json", by_alias=True)
        if self.scores.memory_limit is None:
            del content["scores"]["memory_limit"]  # suites written before there was such a limit keep their hash
        later = [(task, ("tasks", "batch", "draw", "trained_on", "optional")) for task in content["tasks"]]
        later += [(solver["only"], ("d_min", "d_max", "draw")) for solver in content["solvers"]]
        later += [(solver, ("trained_on",)) for solver in content["solvers"]]
        shifts = [one["trained_on"] for one in (*content["tasks"], *content["solvers"]) if one["trained_on"]]
        later += [(shift, ("d", "N", "steps")) for shift in shifts]
        for entry, keys in later:  # the same
            for key in keys:
                if entry[key] in (None, "plain", False):
                    del entry[key]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]


def built_in_suites() -> dict[str, Path]:
    """The suites that come with the package: id to file."""
    folder = resources.files("benchmarks") / "suites"
    files = sorted(Path(str(item)) for item in folder.iterdir())
    return {file.stem: file for file in files if file.suffix == ".toml"}


def load_suite(name_or_path: str) -> Suite:
    """Load a suite by id, or from a TOML file by path.

    Raises:
        UserError: if there is no such suite, or the file is not what a suite must be; names file and key.
    """
    built_in = built_in_suites()
    path = built_in.get(name_or_path, Path(name_or_path))
    if not path.is_file():
        known = ", ".join(built_in)
        raise UserError(f"no suite {name_or_path!r}: it is neither a TOML file nor one of {known}")
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as error:  # not TOML, not UTF-8, or a number of thousands of digits
        raise UserError(f"{path.name} is not valid TOML: {error}") from None
    except OSError as error:
        raise UserError(f"{path.name} cannot be read: {error.strerror}") from None
    content.setdefault("name", UNSAFE.sub("-", path.stem).strip("-._")[:100] or "suite")
    try:
        return Suite.model_validate(content)
    except ValidationError as error:
        raise UserError(f"{path.name}: {first_problem(error)}") from None


def first_problem(error: ValidationError) -> str:
    """The first thing that is wrong, as `key: what`."""
    problem = error.errors()[0]
    key = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in problem["loc"]).lstrip(".")
    if problem["type"] == "extra_forbidden":
        model = _model_at(problem["loc"][:-1])
        known = ", ".join(field.alias or name for name, field in model.model_fields.items())
        return f"unknown key {key!r}; the keys there are {known}"
    if problem["type"] == "missing":
        return f"the key {key!r} is missing"
    given = repr(problem["input"])
    given = given if len(given) <= 60 else given[:57] + "..."
    what = problem["msg"].removeprefix("Value error, ")
    return f"{key}: {what} (given: {given})" if key else what


def _model_at(location: tuple[int | str, ...]) -> type[Strict]:
    """The model whose keys belong at a location in a suite file."""
    models: dict[str, type[Strict]] = {"only": Only, "trained_on": TrainedOn, "scores": Scores, "timings": Timings}
    models |= {"tasks": TaskEntry, "solvers": SolverEntry}
    return next((model for key, model in models.items() if key in location), Suite)
