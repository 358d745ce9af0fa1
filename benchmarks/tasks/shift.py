"""Laws that are shifted from the one a solver was fitted on."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
from torch import Tensor

from benchmarks.tasks.gaussian import Anisotropic
from benchmarks.tasks.law import Draw, Metadata
from memformer.core.checks import require_number
from memformer.core.problem import Prior


@dataclass(frozen=True, kw_only=True)
class OODVariance(Anisotropic):
    """The anisotropic law with every draw scaled to variance σ²: `x = σ U D z`, `w_star = σ U D^-1 g`.

    So `Σ = σ² U D² Uᵀ`, `w_star ~ N(0, σ² (U D² Uᵀ)^-1)` and `E[y²] = σ⁴ d`. At σ² = 1 it is the anisotropic law,
    number by number; at any σ² it shares that law's rotation and normal numbers.

    Attributes:
        variance: σ², more than 0. The paper trains experts at 1, 2, 3 and tests at 0.5, 1, 1.5, 2, 2.5, 3, 3.5.

    Raises:
        ValueError: if a parameter is out of its range.

    Source: Dutta & Sra, arXiv 2410.07263, the mixture-of-experts experiment.

    Example:
        >>> law = OODVariance(d=2, variance=3.0, rotation="none")
        >>> law.second_moment.diagonal().tolist()
        [3.0, 3.0]
    """

    metadata: ClassVar[Metadata] = Metadata("ood_variance", 1, "arXiv 2410.07263, mixture of experts")

    variance: float = 2.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self._store("variance", require_number("variance", self.variance, least=0.0, strictly=True))

    def draw(self, batch: int, generator: np.random.Generator) -> Draw:
        drawn, sigma = super().draw(batch, generator), math.sqrt(self.variance)
        second_moment = None if drawn.second_moment is None else self.variance * drawn.second_moment
        assert drawn.w_star is not None
        return Draw(sigma * drawn.X, sigma * drawn.x_query, sigma * drawn.w_star, second_moment)

    @cached_property
    def second_moment(self) -> Tensor:
        return self.variance * self._mean_covariance()

    def prior(self, X: Tensor) -> Prior | None:
        prior = super().prior(X)
        return prior and dataclasses.replace(prior, covariance=self.variance * prior.covariance)
