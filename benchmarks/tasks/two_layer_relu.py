"""Isotropic covariates, labels by a network of one hidden layer that is drawn anew for each task."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from benchmarks.tasks.kernels import ArcCosineKernel, Kernel, KernelLaw
from benchmarks.tasks.law import Draw, Metadata
from memformer.core.checks import store_ints


@dataclass(frozen=True, kw_only=True)
class TwoLayerReLU(KernelLaw):
    """`x ~ N(0, I)`; `y = sum_j a_j relu(w_j^T x)`, for each task `w_j ~ N(0, I)` and `a_j ~ N(0, 2/hidden)`.

    Then `E[y^2] = d`, as under `isotropic`. No Bayes estimate is known. The covariance of two labels is the arc-cosine
    kernel whatever `hidden` is; given it, kernel ridge is the best linear function of the labels. As `hidden` grows the
    labels become Gaussian, and kernel ridge the Bayes estimate.

    Attributes:
        hidden: units of the hidden layer.

    Raises:
        ValueError: if a parameter is out of its range.

    Source: Garg et al., arXiv 2208.01066, section 5 (d = 20, 100 hidden units, no noise); the kernel, Cho & Saul 2009.

    Example:
        >>> TwoLayerReLU(d=3, N=8, hidden=4).draw(2, np.random.default_rng(0)).y.shape
        (2, 8)
    """

    metadata: ClassVar[Metadata] = Metadata("two_layer_relu", 1, "arXiv 2208.01066, section 5")

    hidden: int = 100

    def __post_init__(self) -> None:
        super().__post_init__()
        store_ints(self, "hidden", least=1)

    def draw(self, batch: int, generator: np.random.Generator) -> Draw:
        inner = generator.standard_normal((batch, self.d, self.hidden))
        outer = math.sqrt(2 / self.hidden) * generator.standard_normal((batch, self.hidden, 1))
        X = generator.standard_normal((batch, self.N, self.d))
        x_query = generator.standard_normal((batch, self.num_queries, self.d))
        y, y_query = ((np.maximum(points @ inner, 0.0) @ outer)[:, :, 0] for points in (X, x_query))
        return Draw(X, x_query, None, y=y, y_query=y_query)

    @property
    def kernel(self) -> Kernel:
        return ArcCosineKernel(math.sqrt(2))
