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

from benchmarks.tasks.importance import Sampling
from benchmarks.tasks.stream import TaskStream
from memformer.core.checks import require_number, store_ints
from memformer.core.objective import LEAST_SQUARES, Objective
from memformer.core.problem import Prior

FINGERPRINT_TASKS = 16
"""The fingerprint covers this many tasks, or the first block where that is smaller."""


class Purpose(enum.IntEnum):
    """What a stream of tasks is for. Streams of different purposes never share a random number."""

    TRAIN = 0
    VALIDATION = 1
    SCORE = 2
    TIMING = 3
    FINGERPRINT = 4
    TRUTH = 5
    FRESH = 6


@dataclass(frozen=True)
class Metadata:
    """What stays the same for all parameters of a law.

    Attributes:
        name: the registry's id.
        version: goes up when any number the law draws can change.
        reference: where the law is defined.
    """

    name: str
    version: int
    reference: str


@dataclass(frozen=True)
class Draw:
    """Noiseless tasks, float64; or tasks with labels of their own, where these are not `X w_star`.

    Attributes:
        X: `(B, N, d)`.
        x_query: `(B, q, d)`.
        w_star: `(B, d)`; None where labels are no function of true weights.
        second_moment: `E[x x^T]` of a query point given the task, `(B, d, d)`; None where it is the same for all
            tasks, the law's.
        y: `(B, N)` and `y_query` `(B, q)`: the labels; None where they are `X w_star` and `x_query w_star`.
    """

    X: np.ndarray
    x_query: np.ndarray
    w_star: np.ndarray | None
    second_moment: np.ndarray | None = None
    y: np.ndarray | None = None
    y_query: np.ndarray | None = None


@dataclass(frozen=True, kw_only=True)
class Law(ABC):
    """A distribution of regression tasks: `y = X w_star + noise`, unless a law says otherwise.

    Attributes:
        d: covariate dimension, at least 1.
        N: context length, at least 1 (it may be smaller than d).
        noise_std: standard deviation of the label noise, at least 0, in units of y.
        num_queries: held-back points a task, at least 1.
        law_seed: seed of what is drawn once for the law (its rotation), not for each task.
        longest: contexts are drawn with so many points, N or more, of which the first N are shown. Laws that differ in
            N alone then share all tasks and queries, so that losses at all prefixes of a context are paired.

    Raises:
        ValueError: if a parameter is out of its range.
    """

    metadata: ClassVar[Metadata]

    synthetic: ClassVar[bool] = True
    """Whether tasks are drawn from a distribution that is known. If not, they share rows of a table: they have no true
    weights, noise variance or moments, no floor is known, and tasks of one seed depend on each other."""

    linear: ClassVar[bool] = True
    """Whether labels are `X w_star + noise`. If not, no floor of methods for least squares is known."""

    bayes: ClassVar[str] = "bayes"
    """Id of the solver that is its Bayes estimate; empty where there is none."""

    gaussian_covariates: ClassVar[bool] = False
    """Whether rows of X are independent `N(0, S)`, S a task's second moment, and X is independent of `w_star`, of which
    with noise the labels are made: then they can be stretched (see `benchmarks.tasks.importance`)."""

    d: int = 5
    N: int = 20
    noise_std: float = 0.0
    num_queries: int = 1
    law_seed: int = 0
    longest: int | None = None

    def __post_init__(self) -> None:
        store_ints(self, "d", "N", "num_queries", least=1)
        store_ints(self, "law_seed", least=0)
        if self.longest is not None:
            store_ints(self, "longest", least=1)
            if self.longest < self.N:
                raise ValueError(
                    f"longest is {self.longest}; with contexts of N = {self.N} it must be {self.N} or more"
                )
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
        """Whether, with S the second moment, `x ~ N(0, S)` and `w_star ~ N(0, v S^-1)` for some v, independently."""
        return False

    def prior(self, X: Tensor) -> Prior | None:
        """Prior of `w_star` given context covariates `X` `(B, N, d)`; None where it has no Gaussian-mixture form."""
        return None

    @property
    def determined(self) -> bool:
        """Whether a context tells its task: what the Bayes estimate then loses is 0, or rounding, and is no floor."""
        return self.synthetic and self.linear and self.noise_std == 0 and self.d <= self.N

    @property
    def objective(self) -> Objective:
        """What its tasks ask to be minimised."""
        return LEAST_SQUARES

    @property
    def noise_var(self) -> float:
        """Variance of the label noise."""
        return self.noise_std**2

    @property
    def drawn(self) -> Law:
        """The law that draws its tasks: itself, or with `longest` the one of contexts that long."""
        return self if self.longest is None else dataclasses.replace(self, N=self.longest, longest=None)

    def under(self, seed: int, purpose: Purpose) -> Law:
        """The law as one stream draws it: itself, unless streams of training and of scoring draw from other rows."""
        return self

    @property
    def parameters(self) -> dict[str, Any]:
        """All parameters but `d`, `N` and `noise_std`, which are columns of their own in the result tables.

        Values are what JSON can hold (a tuple becomes a list).
        """
        columns = ("d", "N", "noise_std", *(("longest",) if self.longest is None else ()))
        values = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.init and f.name not in columns}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}

    @cached_property
    def fingerprint(self) -> str:
        """12 hexadecimal digits that change with the numbers the law draws (of its first tasks, as float32)."""
        return self._fingerprint("plain")

    def fingerprint_of(self, draw: Sampling) -> str:
        """The same of the tasks as they are drawn to be scored, weights included."""
        return self.fingerprint if draw == "plain" else self._fingerprint(draw)

    def _fingerprint(self, draw: Sampling) -> str:
        stream = self.stream(0, Purpose.FINGERPRINT, torch.float32, draw=draw)
        tasks = stream.sample(min(FINGERPRINT_TASKS, stream.block_size))
        digest = hashlib.sha256()
        for tensor in (tasks.X, tasks.y, tasks.x_query, tasks.y_query, tasks.w_star, tasks.weights):
            if tensor is None:
                continue
            # Rounding hides what linear-algebra libraries differ in; adding 0.0 turns -0.0 into 0.0.
            digest.update((tensor + 0.0).numpy().astype("<f4").tobytes())
        return digest.hexdigest()[:12]

    def stream(
        self,
        seed: int,
        purpose: Purpose,
        dtype: torch.dtype = torch.float64,
        device: torch.device | str = "cpu",
        draw: Sampling = "plain",
    ) -> TaskStream:
        """An endless stream of tasks of this law.

        Raises:
            ValueError: if `draw` is `importance` and the law has no Gaussian covariates.

        Example:
            >>> from benchmarks.tasks.gaussian import Isotropic
            >>> stream = Isotropic(d=3, N=10).stream(seed=0, purpose=Purpose.TRAIN)
            >>> stream.sample(7).X.shape
            torch.Size([7, 10, 3])
        """
        return TaskStream(self, seed, purpose, dtype, device, draw)
