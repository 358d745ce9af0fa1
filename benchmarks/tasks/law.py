"""What a task law is: a distribution of regression problems that can be drawn from, named and fingerprinted."""

from __future__ import annotations

import dataclasses
import enum
import hashlib
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from benchmarks.tasks.checks import require_int, require_number
from benchmarks.tasks.randomness import make_generator
from memformer.problem import Prior, Problem

BLOCK_NUMBERS = 2**18
"""A block of tasks holds about this many numbers; tasks are drawn and seeded a block at a time."""

MAX_BLOCK = 256
"""No block holds more tasks than this."""

FINGERPRINT_TASKS = 16
"""The fingerprint covers this many tasks, or the first block where that is smaller."""

_TASKS, _NOISE = 0, 1
"""Last number of the key of a block's generators: label noise has its own."""


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
    """Noiseless tasks, float64.

    Attributes:
        X: `(B, N, d)`.
        x_query: `(B, q, d)`.
        w_star: `(B, d)`.
        second_moment: `E[x x^T]` of a query point given the task, `(B, d, d)`; None where it is the same for all
            tasks, the law's.
    """

    X: np.ndarray
    x_query: np.ndarray
    w_star: np.ndarray
    second_moment: np.ndarray | None = None


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
        self._store("noise_std", require_number("noise_std", self.noise_std, least=0.0))

    def _store(self, name: str, value: Any) -> None:
        """Set a field of this frozen dataclass to its checked form, so that equal laws compare and print equal."""
        object.__setattr__(self, name, value)

    @abstractmethod
    def draw(self, batch: int, generator: np.random.Generator) -> Draw:
        """Draw `batch` noiseless tasks, using no other source of randomness.

        Draw `w_star` and what the task needs first, then the context, then the queries: laws that differ only
        in `num_queries` then share the first two.
        """

    @cached_property
    @abstractmethod
    def second_moment(self) -> Tensor:
        """`E[x x^T]` over all tasks of the law, `(d, d)` float64."""

    @property
    def whitens_to_isotropic(self) -> bool:
        """Whether `S^-1/2 x` and `S^1/2 w_star` (S the second moment) are isotropic Gaussians, up to scale."""
        return False

    def prior(self, X: Tensor) -> Prior | None:
        """Prior of `w_star` given context covariates `X` `(B, N, d)`; None where it has no Gaussian-mixture form."""
        return None

    @property
    def parameters(self) -> dict[str, Any]:
        """All parameters but `d`, `N` and `noise_std`, which are columns of their own in the result tables.

        Values are what JSON can hold (a tuple becomes a list).
        """
        columns = ("d", "N", "noise_std")
        values = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name not in columns}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}

    @cached_property
    def fingerprint(self) -> str:
        """12 hexadecimal digits that change with the numbers the law draws (of its first tasks, as float32)."""
        stream = self.stream(seed=0, purpose=Purpose.FINGERPRINT, dtype=torch.float32)
        tasks = stream.sample(min(FINGERPRINT_TASKS, stream.block_size))
        digest = hashlib.sha256()
        for tensor in (tasks.X, tasks.y, tasks.x_query, tasks.y_query, tasks.w_star):
            assert tensor is not None
            # Rounding hides what linear-algebra libraries differ in; adding 0.0 turns -0.0 into 0.0.
            digest.update((tensor + 0.0).numpy().astype("<f4").tobytes())
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
        self.seed = require_int("seed", seed, least=0)
        self.purpose = purpose
        self.dtype = dtype
        self.device = torch.device(device)
        self.block_size = max(1, min(MAX_BLOCK, BLOCK_NUMBERS // (max(law.N, law.d) * law.d)))
        self._next_block = 0
        self._left: list[np.ndarray] | None = None

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
        """`E[x x^T]` over all tasks of the law, `(d, d)`, in the stream's dtype and on its device."""
        return self.law.second_moment.to(self.dtype).to(self.device)

    def prior(self, X: Tensor) -> Prior | None:
        """See `Law.prior`."""
        return self.law.prior(X)

    def sample(self, batch: int) -> Problem:
        """The next `batch >= 1` tasks."""
        require_int("batch", batch, least=1)
        dtype = np.float32 if self.dtype is torch.float32 else np.float64
        arrays: list[np.ndarray] = []
        filled = 0
        while filled < batch:
            block = self._left or self._draw_block()
            arrays = arrays or [np.empty((batch, *part.shape[1:]), dtype) for part in block]
            taken = min(batch - filled, len(block[0]))
            for array, part in zip(arrays, block, strict=True):
                array[filled : filled + taken] = part[:taken]
            self._left = [part[taken:] for part in block] if taken < len(block[0]) else None
            filled += taken
        X, y, x_query, y_query, w_star, *own = (torch.from_numpy(a).to(self.dtype).to(self.device) for a in arrays)
        return Problem(X, y, x_query, y_query, w_star, own[0] if own else self.second_moment, self.noise_var)

    def _draw_block(self) -> list[np.ndarray]:
        """The next block: `X, y, x_query, y_query, w_star`, and the tasks' own second moments if they have them."""
        keys = ((int(self.purpose), self._next_block, kind) for kind in (_TASKS, _NOISE))
        tasks, noises = (make_generator(self.seed, *key) for key in keys)
        self._next_block += 1
        drawn = self.law.draw(self.block_size, tasks)
        columns = drawn.w_star[:, :, None]
        y, y_query = (drawn.X @ columns)[:, :, 0], (drawn.x_query @ columns)[:, :, 0]
        if self.law.noise_std > 0:
            y += self.law.noise_std * noises.standard_normal(y.shape)
            y_query += self.law.noise_std * noises.standard_normal(y_query.shape)
        block = [drawn.X, y, drawn.x_query, y_query, drawn.w_star]
        return block if drawn.second_moment is None else [*block, drawn.second_moment]
