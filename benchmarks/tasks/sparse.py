"""Isotropic covariates, weights of which only a few are not zero."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from benchmarks.tasks.law import Draw, Law, Metadata
from memformer.core.checks import store_ints
from memformer.core.problem import Prior

MAX_SUPPORTS = 100
"""The prior is stated, a component for each support, up to so many: a posterior mean visits all of them."""


@dataclass(frozen=True, kw_only=True)
class Sparse(Law):
    """`x ~ N(0, I)`; `w_star ~ N(0, I)` on `nonzero` coordinates, chosen uniformly for each task, and 0 elsewhere.

    The prior is a mixture of Gaussians, one for each support, so that `bayes` is the posterior mean by enumeration.
    It is stated where there are at most `MAX_SUPPORTS` supports and labels have noise: without noise a support either
    fits exactly or not at all, which no density says.

    Attributes:
        nonzero: weights that are not zero, from 1 to d.

    Raises:
        ValueError: if a parameter is out of its range.

    Source: Garg et al., arXiv 2208.01066, section 4 (d = 20, 3 of them not zero, no noise).

    Example:
        >>> Sparse(d=20).draw(2, np.random.default_rng(0)).w_star.astype(bool).sum(1).tolist()
        [3, 3]
    """

    metadata: ClassVar[Metadata] = Metadata("sparse", 1, "arXiv 2208.01066, section 4")
    gaussian_covariates: ClassVar[bool] = True

    nonzero: int = 3

    def __post_init__(self) -> None:
        super().__post_init__()
        store_ints(self, "nonzero", least=1)
        if self.nonzero > self.d:
            raise ValueError(f"nonzero is {self.nonzero}; at d = {self.d} it must be {self.d} or less")

    def draw(self, batch: int, generator: np.random.Generator) -> Draw:
        order = generator.random((batch, self.d)).argsort(1).argsort(1)
        w_star = generator.standard_normal((batch, self.d)) * (order < self.nonzero)
        X = generator.standard_normal((batch, self.N, self.d))
        x_query = generator.standard_normal((batch, self.num_queries, self.d))
        return Draw(X, x_query, w_star)

    @cached_property
    def second_moment(self) -> Tensor:
        return torch.eye(self.d, dtype=torch.float64, device="cpu")

    @property
    def supports(self) -> int:
        """How many there are."""
        return math.comb(self.d, self.nonzero)

    def prior(self, X: Tensor) -> Prior | None:
        if self.noise_std == 0 or self.supports > MAX_SUPPORTS:
            return None
        masks = X.new_zeros(self.supports, self.d)
        for row, support in zip(masks, combinations(range(self.d), self.nonzero), strict=True):
            row[list(support)] = 1.0
        return Prior(
            torch.zeros_like(masks), torch.diag_embed(masks), X.new_full((self.supports,), -math.log(self.supports))
        )
