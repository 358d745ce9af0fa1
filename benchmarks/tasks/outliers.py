"""Linear labels of which some are grossly wrong, and an objective that bounds what each can do."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from benchmarks.tasks.law import Draw, Law, Metadata
from memformer.core.checks import require_number
from memformer.core.objective import Huber


@dataclass(frozen=True, kw_only=True)
class Outliers(Law):
    """`x ~ N(0, I)`, `w_star ~ N(0, I)`, `y = x^T w_star`; each label of a context is an outlier with chance `share`.

    An outlier has `N(0, size^2)` added. Labels of queries have none, so that predictions are judged by the squared
    error as everywhere. The objective is Huber's, whose slope in a residual is at most `threshold`; least squares
    follow the outliers.

    Attributes:
        share: of a context's labels, from 0 to 1.
        size: standard deviation of what is added to an outlier.
        threshold: of the objective, above 0, in units of y.

    Raises:
        ValueError: if a parameter is out of its range.

    Source: Huber, Ann. Math. Stat. 35 (1964) 73-101 (the contaminated normal law).

    Example:
        >>> drawn = Outliers(d=2, N=1000).draw(1, np.random.default_rng(0))
        >>> wrong = np.abs(drawn.y - drawn.X @ drawn.w_star[0]) > 1e-9
        >>> bool(60 < wrong.sum() < 140)
        True
    """

    metadata: ClassVar[Metadata] = Metadata("outliers", 1, "Huber 1964, the contaminated normal law")
    linear: ClassVar[bool] = False
    bayes: ClassVar[str] = ""

    share: float = 0.1
    size: float = 10.0
    threshold: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, strictly in (("share", False), ("size", True), ("threshold", True)):
            self._store(name, require_number(name, getattr(self, name), least=0.0, strictly=strictly))
        if self.share > 1:
            raise ValueError(f"share is {self.share}; it must be from 0 to 1")

    @property
    def objective(self) -> Huber:
        return Huber(threshold=self.threshold)

    def draw(self, batch: int, generator: np.random.Generator) -> Draw:
        w_star = generator.standard_normal((batch, self.d))
        X = generator.standard_normal((batch, self.N, self.d))
        wrong = generator.random((batch, self.N)) < self.share
        added = self.size * wrong * generator.standard_normal((batch, self.N))
        x_query = generator.standard_normal((batch, self.num_queries, self.d))
        y, y_query = ((x @ w_star[:, :, None])[:, :, 0] for x in (X, x_query))
        return Draw(X, x_query, w_star, y=y + added, y_query=y_query)

    @cached_property
    def second_moment(self) -> Tensor:
        return torch.eye(self.d, dtype=torch.float64, device="cpu")
