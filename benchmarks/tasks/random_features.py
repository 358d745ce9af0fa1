"""Isotropic covariates, labels that are linear in fixed random features of them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
import torch

from benchmarks.tasks.kernels import FeatureKernel, KernelLaw
from benchmarks.tasks.law import Draw, Metadata
from benchmarks.tasks.randomness import LAW_KEY, make_generator
from memformer.core.checks import store_ints


@dataclass(frozen=True, kw_only=True)
class RandomFeatures(KernelLaw):
    """`x ~ N(0, I)`; `y = a^T phi(x)`, `a ~ N(0, I)` for each task, `phi(x) = sqrt(2 / (features d)) relu(W x)`.

    W `(features, d)` is drawn once for the law, from `N(0, 1)`; over W, `E[y^2] = 1`. Given x the labels are Gaussian
    with the covariance `phi(x)^T phi(x')`, so that `kernel_ridge` is the posterior mean. Laws of one `law_seed` begin
    with the same rows of W.

    Attributes:
        features: how many there are, m.

    Raises:
        ValueError: if a parameter is out of its range.

    Source: Rahimi & Recht, Random Features for Large-Scale Kernel Machines, NIPS 2007; the class of
        functions as in Mei & Montanari, arXiv 1908.05355, section 1.

    Example:
        >>> law = RandomFeatures(d=3, N=8, features=4)
        >>> law.directions.shape, law.draw(2, np.random.default_rng(0)).y.shape
        ((4, 3), (2, 8))
    """

    metadata: ClassVar[Metadata] = Metadata("random_features", 1, "arXiv 1908.05355, section 1")
    bayes: ClassVar[str] = "kernel_ridge"

    features: int = 100

    def __post_init__(self) -> None:
        super().__post_init__()
        store_ints(self, "features", least=1)

    @cached_property
    def directions(self) -> np.ndarray:
        """W, `(features, d)`."""
        return make_generator(self.law_seed, LAW_KEY).standard_normal((self.features, self.d))

    @property
    def scale(self) -> float:
        """Of each feature."""
        return math.sqrt(2 / (self.features * self.d))

    @property
    def determined(self) -> bool:
        """By as many points as features, but for features that are 0 at all of them: each with chance `2^-N`."""
        return self.noise_std == 0 and self.features <= self.N

    def draw(self, batch: int, generator: np.random.Generator) -> Draw:
        outer = self.scale * generator.standard_normal((batch, self.features, 1))
        X = generator.standard_normal((batch, self.N, self.d))
        x_query = generator.standard_normal((batch, self.num_queries, self.d))
        y, y_query = ((np.maximum(points @ self.directions.T, 0.0) @ outer)[:, :, 0] for points in (X, x_query))
        return Draw(X, x_query, None, y=y, y_query=y_query)

    @property
    def kernel(self) -> FeatureKernel:
        return FeatureKernel(torch.tensor(self.directions, dtype=torch.float64, device="cpu"), self.scale)
