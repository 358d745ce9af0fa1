"""An entry as an ordinary solver, whose every fit and solve happens in a box."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.entries.box import PATIENCE, Box, BoxError, require
from benchmarks.entries.metadata import Tier, read_metadata
from memformer.core.objective import Huber, LeastSquares, Logistic, Objective, SquaredErrors
from memformer.core.problem import Problem, TaskSource
from memformer.core.solver import Fitting, Needs, Reach, Solver, check_num_steps
from memformer.core.trace import Trace

IMPORT_SECONDS = 5.0
"""Of the processor, that importing a file may take; what it takes beyond is its fit's."""

SOLVE_SECONDS = 60.0
"""That one solve may take, of the processor."""

MOST_BATCH = 65_536
"""Tasks that may be asked for at once."""

_SERVES: dict[str, type[Objective]] = {
    one.__name__: one for one in (Objective, SquaredErrors, LeastSquares, Logistic, Huber)
}


@dataclass(frozen=True)
class Boxed(Solver):
    """An entry's solver.

    What it declares of itself is asked once. A fit draws training tasks here and sends them; it may draw as many as
    its tier allows, in as many seconds. A solve sends contexts and query points. Every fit and every solve has a box of
    its own, which knows nothing of others.

    Attributes:
        file: of the entry.
        sha256: of the file as it was read: if it changes, this is another solver.
        isolated: whether it runs in a box.
        log: file to which every fit adds a line, its training tasks and seconds; empty for none.
        parameters: what its fit found.

    Raises:
        BoxError: if it cannot be loaded.
        UserError: if its metadata is wrong, or there is no box.
    """

    file: str
    sha256: str = ""
    isolated: bool = True
    log: str = ""
    parameters: Mapping[str, Tensor] | None = None

    def __post_init__(self) -> None:
        if self.isolated:
            require()
        content = Path(self.file).read_bytes()
        object.__setattr__(self, "sha256", hashlib.sha256(content).hexdigest())
        told = _traits(self.file, self.sha256, self.isolated)
        for name, kind in (("needs", Needs), ("reach", Reach), ("fitting", Fitting)):
            object.__setattr__(self, name, _member(kind, told.get(name), name))
        if self.fitting.required and self.needs in (Needs.NOTHING, Needs.L, Needs.MU_L):
            object.__setattr__(self, "needs", Needs.LAW)  # training tasks tell it
        for name in ("learned", "batched", "anytime"):
            if not isinstance(told.get(name), bool):
                raise BoxError(f"it must declare {name}, True or False; it is {told.get(name)!r}")
            object.__setattr__(self, name, told[name])
        version = told.get("version")
        if type(version) is not int or not 1 <= version < 2**31:
            raise BoxError(f"it must declare version, a whole number from 1 on; it is {version!r}")
        object.__setattr__(self, "version", version)
        object.__setattr__(self, "countable", False)
        object.__setattr__(self, "serves", _SERVES.get(str(told.get("serves")), LeastSquares))

    def fit(self, tasks: TaskSource, steps: Sequence[int], seed: int = 0) -> Boxed:
        if not self.fitting.required:
            return self
        about = read_metadata(Path(self.file))
        with Box(Path(self.file), about.solver, self.isolated) as box:
            fit = _Fit(box, tasks, about.tier)
            parameters = fit.run(steps, seed)
            spent = {"tasks": fit.drawn, "seconds": fit.seconds}
        if self.log:
            with Path(self.log).open("a", encoding="utf-8") as lines:
                lines.write(json.dumps(spent) + "\n")
        return dataclasses.replace(self, parameters=parameters)

    def solve(self, problem: Problem, num_steps: int) -> Trace:
        check_num_steps(num_steps)
        if self.fitting.required and self.parameters is None:
            raise ValueError("the entry has not been fitted yet; call fit first")
        shown = {"X": problem.X, "y": problem.y, "x_query": problem.x_query}
        held = {f"p.{name}": value for name, value in (self.parameters or {}).items()}
        words = {"op": "solve", "steps": int(num_steps), "objective": _told(problem.objective)}
        with Box(Path(self.file), read_metadata(Path(self.file)).solver, self.isolated) as box:
            box.send(words, {**shown, **held})
            _, found = box.receive(SOLVE_SECONDS)
        try:
            trace = Trace(found.get("weights"), found.get("predictions"), found["outcome"], found["finished"])
        except KeyError as error:
            raise BoxError(f"its trace has no {error.args[0]}") from None
        return trace if problem.device.type == "cpu" else _moved(trace, problem.device)


class _Fit:
    """A fit: what the entry asks of its training tasks, and how much of its budget is left; `drawn` tasks are used."""

    def __init__(self, box: Box, tasks: TaskSource, tier: Tier) -> None:
        self._box, self._tier, self._sources, self.drawn = box, tier, [tasks], 0
        self._began, self._until = min(box.used(), IMPORT_SECONDS), time.monotonic() + PATIENCE * tier.seconds

    @property
    def seconds(self) -> float:
        """Of the processor, used since it began."""
        return self._box.used() - self._began

    def run(self, steps: Sequence[int], seed: int) -> dict[str, Tensor]:
        """Its parameters."""
        words = {"op": "fit", "steps": list(map(int, steps)), "seed": seed_of_fit(seed), "tasks": self._facts(0)}
        self._box.send(words)
        while True:
            left = self._tier.seconds - self.seconds
            try:
                words, tensors = self._box.receive(max(left, 0.01), self._until)
            except BoxError as error:
                if "it took more than" not in str(error):
                    raise
                late = f"it trained for more than the {self._tier.seconds:g} s of its budget"
                raise BoxError(late) from error
            if words.get("op") == "fitted":
                return _kept(tensors)
            self._box.send(*self._answer(words, tensors))

    def _answer(self, words: dict[str, Any], tensors: dict[str, Tensor]) -> tuple[dict[str, Any], dict[str, Tensor]]:
        op, place = words.get("op"), words.get("id")
        if not isinstance(place, int) or not 0 <= place < len(self._sources):
            raise BoxError("it asked for tasks that there are none of")
        source = self._sources[place]
        if op == "sample":
            return self._sample(source, words.get("batch"))
        if op == "second_moment":
            return {"op": op}, {op: source.second_moment}
        if op == "prior":
            if "X" not in tensors:
                raise BoxError("it asked for a prior without covariates X")
            prior = source.prior(tensors["X"])
            return {"op": op}, {} if prior is None else vars(prior)
        if op in ("validation", "spread") and len(self._sources) < 100:
            width = words.get("width")
            if op == "spread" and not isinstance(width, int | float):
                raise BoxError(f"it asked for tasks spread to the width {width!r}; it must be a number")
            new = source.validation() if width is None else source.spread(float(width))
            self._sources.append(new)
            return {"op": op, "tasks": self._facts(len(self._sources) - 1)}, {}
        raise BoxError(f"it asked for {op!r}, which nobody knows")

    def _sample(self, source: TaskSource, batch: Any) -> tuple[dict[str, Any], dict[str, Tensor]]:
        if not isinstance(batch, int) or not 1 <= batch <= MOST_BATCH:
            raise BoxError(f"it asked for {batch!r} tasks at once; it may ask for 1 to {MOST_BATCH:,}")
        self.drawn += batch
        if self.drawn > self._tier.tasks:
            raise BoxError(f"it drew {self.drawn:,} training tasks; its budget has {self._tier.tasks:,}")
        problem = source.sample(batch)
        names = ("X", "y", "x_query", "y_query", "w_star", "second_moment", "weights")
        known = {name: value for name in names if (value := getattr(problem, name)) is not None}
        return {"op": "sample", "noise_var": problem.noise_var}, known

    def _facts(self, place: int) -> dict[str, Any]:
        source = self._sources[place]
        names = ("d", "N", "noise_var", "whitens_to_isotropic")
        facts = {name: getattr(source, name) for name in names}
        return {"id": place, "objective": _told(source.objective), **facts}


def _kept(parameters: dict[str, Tensor]) -> dict[str, Tensor]:
    for name, value in parameters.items():
        try:
            value.numpy()
        except TypeError:
            raise BoxError(f"it keeps {name!r} as {value.dtype}, which NumPy lacks; float32 would do") from None
    return parameters


def seed_of_fit(seed: int) -> int:
    """What a fit is told in place of the run's seed, from which the scored tasks could be drawn again.

    Example:
        >>> seed_of_fit(0) == seed_of_fit(0) != seed_of_fit(1)
        True
    """
    return int.from_bytes(hashlib.sha256(f"seed of a fit {seed}".encode()).digest()[:6], "big")


def _told(objective: Objective) -> dict[str, Any]:
    return {"kind": type(objective).__name__, "fields": dataclasses.asdict(objective)}


@lru_cache(maxsize=8)
def _traits(file: str, sha256: str, isolated: bool) -> dict[str, Any]:
    """What an entry declares; `sha256` is there so that a changed file is asked again."""
    with Box(Path(file), read_metadata(Path(file)).solver, isolated) as box:
        return box.traits


def _member(kind: Any, value: Any, name: str) -> Any:
    try:
        return kind(value)
    except ValueError:
        raise BoxError(f"it must declare {name}, one of {', '.join(map(str, kind))}; it is {value!r}") from None


def _moved(trace: Trace, device: torch.device) -> Trace:
    weights, predictions = (None if part is None else part.to(device) for part in (trace.weights, trace.predictions))
    return Trace(weights, predictions, trace.outcome.to(device), trace.finished.to(device))
