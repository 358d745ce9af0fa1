"""Laws with a direction and a radius: covariates on the unit sphere, and heavy-tailed ones."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from benchmarks.tasks.gaussian import gaussian_prior
from benchmarks.tasks.law import Draw, Law, Metadata
from benchmarks.tasks.randomness import rand_directions
from memformer.core.checks import require_number
from memformer.core.problem import Prior


@dataclass(frozen=True, kw_only=True)
class Radial(Law):
    """`x = r u` with u uniform on the unit sphere, `w_star ~ N(0, I)`; `E[x xᵀ] = E[r²]/d I`."""

    @property
    @abstractmethod
    def mean_square_radius(self) -> float:
        """`E[r²]`."""

    @abstractmethod
    def radii(self, shape: tuple[int, ...], generator: np.random.Generator) -> np.ndarray | float:
        """Radii `shape`, or the one radius that all points have."""

    def draw(self, batch: int, generator: np.random.Generator) -> Draw:
        w_star = generator.standard_normal((batch, self.d))
        X, x_query = (
            rand_directions((batch, count, self.d), generator) * self.radii((batch, count, 1), generator)
            for count in (self.N, self.num_queries)
        )
        return Draw(X, x_query, w_star)

    @cached_property
    def second_moment(self) -> Tensor:
        return self.mean_square_radius / self.d * torch.eye(self.d, dtype=torch.float64, device="cpu")

    def prior(self, X: Tensor) -> Prior | None:
        return gaussian_prior(torch.eye(self.d, dtype=X.dtype, device=X.device))


@dataclass(frozen=True, kw_only=True)
class Sphere(Radial):
    """`x = z/‖z‖`, `z ~ N(0, I)`: uniform on the unit sphere; `w_star ~ N(0, I)`.

    Source: Ahn et al., arXiv 2306.00297 (mode "sphere" of its code, github.com/chengxiang/LinearTransformer).

    Example:
        >>> Sphere(d=4).second_moment.diagonal().tolist()
        [0.25, 0.25, 0.25, 0.25]
    """

    metadata: ClassVar[Metadata] = Metadata("sphere", 1, "arXiv 2306.00297")

    @property
    def mean_square_radius(self) -> float:
        return 1.0

    def radii(self, shape: tuple[int, ...], generator: np.random.Generator) -> np.ndarray | float:
        return 1.0


@dataclass(frozen=True, kw_only=True)
class Gamma(Radial):
    """`x = √γ u`, u uniform on the unit sphere, `γ ~ Gamma(shape, scale)`: heavy tails; `w_star ~ N(0, I)`.

    It is the *squared* radius that is Gamma distributed: `E[‖x‖²] = shape · scale`, `Var[‖x‖²] = shape · scale²`.
    With shape d/2 and scale 2 the law is the isotropic one; with the defaults `‖x‖²` has mean 1 and variance 10.

    Attributes:
        shape: k of the Gamma distribution, more than 0; the smaller, the heavier the tails.
        scale: θ of the Gamma distribution, more than 0.

    Raises:
        ValueError: if a parameter is out of its range.

    Source: Ahn et al., arXiv 2310.01082 (k = 0.1, θ = 10). The code of arXiv 2306.00297
    (github.com/chengxiang/LinearTransformer) draws θ = √(10/k), which is the same at k = 0.1.

    Example:
        >>> Gamma(d=2).second_moment.diagonal().tolist()
        [0.5, 0.5]
    """

    metadata: ClassVar[Metadata] = Metadata("gamma", 1, "arXiv 2310.01082")

    shape: float = 0.1
    scale: float = 10.0

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("shape", "scale"):
            self._store(name, require_number(name, getattr(self, name), least=0.0, strictly=True))

    @property
    def mean_square_radius(self) -> float:
        return self.shape * self.scale

    def radii(self, shape: tuple[int, ...], generator: np.random.Generator) -> np.ndarray | float:
        return np.sqrt(generator.gamma(self.shape, self.scale, shape))
