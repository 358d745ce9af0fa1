"""Gaussian laws: isotropic, and anisotropic with a chosen spectrum and a shared or per-task rotation."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import torch
from torch import Tensor

from benchmarks.tasks.law import Draw, Law, Metadata
from memformer.problem import Prior

PAPER_PATTERN = (1.0, 1.0, 0.5, 0.25, 1.0)
"""Scales of the coordinates in the paper's anisotropic law at d = 5; repeated for other d."""


@dataclass(frozen=True, kw_only=True)
class Isotropic(Law):
    """`x ~ N(0, I)`, `w_star ~ N(0, I)`.

    Source: Dutta & Sra, arXiv 2410.07263, section 3; Garg et al., arXiv 2208.01066.

    Example:
        >>> Isotropic(d=3, N=8).second_moment.trace().item()
        3.0
    """

    metadata: ClassVar[Metadata] = Metadata("isotropic", 1, "arXiv 2410.07263, section 3")

    def draw(self, batch: int, generator: torch.Generator) -> Draw:
        w_star = randn(batch, self.d, generator=generator)
        X = randn(batch, self.N, self.d, generator=generator)
        x_query = randn(batch, self.num_queries, self.d, generator=generator)
        return Draw(X, x_query, w_star, self.second_moment)

    @cached_property
    def second_moment(self) -> Tensor:
        return torch.eye(self.d, dtype=torch.float64)

    def prior(self, X: Tensor) -> Prior | None:
        return gaussian_prior(torch.eye(self.d, dtype=X.dtype, device=X.device))


def randn(*shape: int, generator: torch.Generator) -> Tensor:
    """Standard normal numbers in float64 on the CPU."""
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def gaussian_prior(covariance: Tensor) -> Prior:
    """The prior `N(0, covariance)`, a mixture of one component."""
    d = covariance.shape[0]
    return Prior(covariance.new_zeros(1, d), covariance[None], covariance.new_zeros(1))


def random_rotation(d: int, generator: torch.Generator, batch: tuple[int, ...] = ()) -> Tensor:
    """Left singular vectors of a matrix with entries uniform on [-1, 1]: `(*batch, d, d)`, orthogonal."""
    uniform = 2 * torch.rand(*batch, d, d, generator=generator, dtype=torch.float64) - 1
    return torch.linalg.svd(uniform)[0]
