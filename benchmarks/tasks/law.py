"""What a task law is: a distribution of regression problems that can be drawn from, named and fingerprinted."""

from __future__ import annotations

import dataclasses
import enum
import hashlib
import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from memformer.problem import Prior, Problem, matvec

BLOCK_NUMBERS = 2**18
"""A block of tasks holds about this many covariates; tasks are drawn and seeded a block at a time."""

MAX_BLOCK = 256
"""No block holds more tasks than this."""


class Purpose(enum.IntEnum):
    """What a stream of tasks is for. Streams of different purposes never share a random number."""

    TRAIN = 0
    VALIDATION = 1
    SCORE = 2
    TIMING = 3
    FINGERPRINT = 4
    TRUTH = 5


@dataclass(frozen=True)
class Metadata:
    """What stays the same for all parameters of a law.

    Attributes:
        name: the registry's id.
        version: goes up when any number the law draws can change.
        reference: where the law is defined.
        superseded_by: the law to use instead, if this one is kept only for old results.
    """

    name: str
    version: int
    reference: str
    superseded_by: str | None = None


@dataclass(frozen=True)
class Draw:
    """Noiseless tasks: `X` `(B, N, d)`, `x_query` `(B, q, d)`, `w_star` `(B, d)`, and the query points'
    `E[x x^T]` given the task, `(d, d)` or `(B, d, d)`.
    """

    X: Tensor
    x_query: Tensor
    w_star: Tensor
    second_moment: Tensor


@dataclass(frozen=True, kw_only=True)
class Law(ABC):
    """A distribution of linear-regression tasks `y = X w_star + noise`.

    Attributes:
        d: covariate dimension, at least 1.
        N: context length, at least 1 (it may be smaller than d).
        noise_std: standard deviation of the label noise, at least 0, in units of y.
        num_queries: held-back points a task, at least 1.
        law_seed: seed of what is drawn once for the law (its rotation), not for each task.

    Raises:
        ValueError: if a parameter is out of its range.
    """

    metadata: ClassVar[Metadata]

    d: int = 5
    N: int = 20
    noise_std: float = 0.0
    num_queries: int = 1
    law_seed: int = 0

    def __post_init__(self) -> None:
        for name in ("d", "N", "num_queries"):
            require_int(name, getattr(self, name), least=1)
        require_int("law_seed", self.law_seed, least=0)
        require_number("noise_std", self.noise_std, least=0.0)

    @abstractmethod
    def draw(self, batch: int, generator: torch.Generator) -> Draw:
        """Draw `batch` noiseless tasks in float64 on the CPU, using no other source of randomness."""

    @cached_property
    @abstractmethod
    def second_moment(self) -> Tensor:
        """`E[x x^T]` over all tasks of the law, `(d, d)` float64."""

    def prior(self, X: Tensor) -> Prior | None:
        """Prior of `w_star` given context covariates `X` `(B, N, d)`; None where it has no Gaussian-mixture form."""
        return None

    @property
    def parameters(self) -> dict[str, Any]:
        """Parameters beyond those every law has, for the result tables: the fields that a subclass adds."""
        shared = {field.name for field in dataclasses.fields(Law)} - {"num_queries", "law_seed"}
        return {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name not in shared}

    @cached_property
    def fingerprint(self) -> str:
        """12 hexadecimal digits that change with any number the law draws; of its first task, to 9 digits."""
        task = self.stream(seed=0, purpose=Purpose.FINGERPRINT).sample(1)
        digest = hashlib.sha256()
        for tensor in (task.X, task.y, task.x_query, task.y_query, task.w_star):
            assert tensor is not None
            digest.update(" ".join(f"{number:.8e}" for number in tensor.flatten().tolist()).encode())
        return digest.hexdigest()[:12]

    def stream(
        self,
        seed: int,
        purpose: Purpose,
        dtype: torch.dtype = torch.float64,
        device: torch.device | str = "cpu",
    ) -> TaskStream:
        """An endless stream of tasks of this law.

        Example:
            >>> from benchmarks.tasks.gaussian import Isotropic
            >>> stream = Isotropic(d=3, N=10).stream(seed=0, purpose=Purpose.TRAIN)
            >>> stream.sample(7).X.shape
            torch.Size([7, 10, 3])
        """
        return TaskStream(self, seed, purpose, dtype, device)


class TaskStream:
    """Tasks of one law under one seed and purpose: a `memformer.problem.TaskSource`.

    Tasks are drawn on the CPU in float64, in blocks that are seeded one by one: the first n tasks do not
    depend on how many more are asked for, nor on the sizes of the requests, the dtype or the device. Label
    noise has its own seeds, so laws that differ only in `noise_std` share everything else.
    """

    def __init__(self, law: Law, seed: int, purpose: Purpose, dtype: torch.dtype, device: torch.device | str) -> None:
        self.law = law
        self.seed = seed
        self.purpose = purpose
        self.dtype = dtype
        self.device = torch.device(device)
        self.block_size = max(1, min(MAX_BLOCK, BLOCK_NUMBERS // (law.N * law.d)))
        self._next_block = 0
        self._left: Problem | None = None

    @property
    def d(self) -> int:
        """Covariate dimension."""
        return self.law.d

    @property
    def N(self) -> int:
        """Context length."""
        return self.law.N

    @property
    def noise_var(self) -> float:
        """Variance of the label noise."""
        return self.law.noise_std**2

    @property
    def second_moment(self) -> Tensor:
        """`E[x x^T]` over all tasks of the law, `(d, d)`."""
        return self.law.second_moment.to(self.dtype).to(self.device)

    def prior(self, X: Tensor) -> Prior | None:
        """See `Law.prior`."""
        return self.law.prior(X)

    def sample(self, batch: int) -> Problem:
        """The next `batch >= 1` tasks."""
        require_int("batch", batch, least=1)
        parts = [] if self._left is None else [self._left]
        while sum(part.B for part in parts) < batch:
            parts.append(self._draw_block())
        joined = parts[0] if len(parts) == 1 else concatenate(parts)
        surplus = joined.B - batch
        self._left = joined.select(slice(batch, None)) if surplus else None
        return joined.first(batch).to(self.dtype, self.device)

    def _draw_block(self) -> Problem:
        seeds = np.random.SeedSequence([self.seed, int(self.purpose), self._next_block]).generate_state(2, np.uint64)
        self._next_block += 1
        task_generator, noise_generator = (torch.Generator().manual_seed(int(seed >> 1)) for seed in seeds)
        drawn = self.law.draw(self.block_size, task_generator)
        y, y_query = matvec(drawn.X, drawn.w_star), matvec(drawn.x_query, drawn.w_star)
        if self.law.noise_std > 0:
            noise = torch.randn(
                self.block_size, self.N + self.law.num_queries, generator=noise_generator, dtype=y.dtype
            )
            y = y + self.law.noise_std * noise[:, : self.N]
            y_query = y_query + self.law.noise_std * noise[:, self.N :]
        return Problem(drawn.X, y, drawn.x_query, y_query, drawn.w_star, drawn.second_moment, self.noise_var)


def concatenate(parts: list[Problem]) -> Problem:
    """One problem of the tasks of several, which agree in all but their number of tasks."""

    def join(name: str) -> Tensor | None:
        first = getattr(parts[0], name)
        if first is None or (name == "second_moment" and first.ndim == 2):
            return first
        return torch.cat([getattr(part, name) for part in parts])

    names = ("X", "y", "x_query", "y_query", "w_star", "second_moment")
    return dataclasses.replace(parts[0], **{name: join(name) for name in names})


def require_int(name: str, value: Any, least: int) -> None:
    """Raise ValueError unless `value` is a whole number of at least `least`."""
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ValueError(f"{name} is {value!r}; it must be a whole number, {least} or more")


def require_number(name: str, value: Any, least: float, strictly: bool = False) -> None:
    """Raise ValueError unless `value` is a finite number of at least (strictly: more than) `least`."""
    good = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if not good or value < least or (strictly and value == least):
        wanted = f"more than {least:g}" if strictly else f"{least:g} or more"
        raise ValueError(f"{name} is {value!r}; it must be a finite number, {wanted}")
