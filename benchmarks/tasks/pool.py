"""A pool of fixed tasks, of which every task is one: how many does it take to learn the law and not the pool?"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from benchmarks.tasks.importance import Sampling
from benchmarks.tasks.law import Draw, Law, Metadata, Purpose
from benchmarks.tasks.randomness import LAW_KEY, make_generator
from benchmarks.tasks.stream import TaskStream
from memformer.core.checks import store_ints
from memformer.core.problem import Prior

MAX_COMPONENTS = 64
"""The prior is stated, a component for each task of the pool, up to so many; `dmmse` knows every pool."""


@dataclass(frozen=True, kw_only=True)
class TaskPool(Law):
    """`x ~ N(0, I)`; `w_star` is one of `pool` vectors, uniformly, which were drawn once from `N(0, I)`.

    A model that is trained on the pool can learn its tasks (its best estimate is then `dmmse`, the posterior mean over
    the pool) or the law that they come from (`ridge`, or least squares without noise). Score it on the law `isotropic`
    with the same noise to tell which: see `trained_on`. Pools of one `law_seed` begin with the same tasks.

    Attributes:
        pool: tasks in the pool, M.

    Raises:
        ValueError: if a parameter is out of its range.

    Source: Raventós et al., arXiv 2306.15063, section 2 (d = 8, N = 16, noise variance 0.25).

    Example:
        >>> law = TaskPool(d=3, pool=2)
        >>> len(np.unique(law.draw(50, np.random.default_rng(0)).w_star, axis=0))
        2
    """

    metadata: ClassVar[Metadata] = Metadata("task_pool", 1, "arXiv 2306.15063, section 2")
    gaussian_covariates: ClassVar[bool] = True

    pool: int = 64

    def __post_init__(self) -> None:
        super().__post_init__()
        store_ints(self, "pool", least=1)

    def stream(
        self,
        seed: int,
        purpose: Purpose,
        dtype: torch.dtype = torch.float64,
        device: torch.device | str = "cpu",
        draw: Sampling = "plain",
    ) -> TaskStream:
        """An endless stream of tasks of this law, which knows its pool."""
        return PoolStream(self, seed, purpose, dtype, device, draw)

    @cached_property
    def tasks(self) -> np.ndarray:
        """The pool, `(pool, d)`."""
        return make_generator(self.law_seed, LAW_KEY).standard_normal((self.pool, self.d))

    def draw(self, batch: int, generator: np.random.Generator) -> Draw:
        w_star = self.tasks[generator.integers(self.pool, size=batch)]
        X = generator.standard_normal((batch, self.N, self.d))
        x_query = generator.standard_normal((batch, self.num_queries, self.d))
        return Draw(X, x_query, w_star)

    @cached_property
    def second_moment(self) -> Tensor:
        return torch.eye(self.d, dtype=torch.float64, device="cpu")

    def prior(self, X: Tensor) -> Prior | None:
        """Points, so stated where labels have noise: without it a point fits exactly or not at all."""
        if self.noise_std == 0 or self.pool > MAX_COMPONENTS:
            return None
        points = torch.from_numpy(self.tasks).to(X)
        return Prior(points, X.new_zeros(self.pool, self.d, self.d), X.new_full((self.pool,), -math.log(self.pool)))


class PoolStream(TaskStream):
    """Tasks of a pool, which also tells the pool."""

    law: TaskPool

    @property
    def pool(self) -> Tensor:
        """`(M, d)`, in the stream's dtype and on its device."""
        return torch.from_numpy(self.law.tasks).to(self.dtype).to(self.device)
