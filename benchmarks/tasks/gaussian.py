"""Gaussian laws: isotropic; anisotropic with a chosen spectrum and a shared or per-task rotation; the latter scaled."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from benchmarks.tasks.law import Draw, Law, Metadata
from benchmarks.tasks.randomness import paper_rotation, rand_rotations
from memformer.core.checks import require_choice, require_number
from memformer.core.problem import Prior

PAPER_PATTERN = (1.0, 1.0, 0.5, 0.25, 1.0)
"""Scales D of the coordinates in the paper's anisotropic law at d = 5; repeated for other d."""

SPECTRA = ("paper", "power", "geometric")
ROTATIONS = ("shared", "per_task", "none")

MAX_KAPPA = 1e12
"""Beyond this condition number of the covariance, float64 no longer tells the small eigenvalues from rounding."""


def gaussian_prior(covariance: Tensor) -> Prior:
    """The prior `N(0, covariance)`, `(d, d)`, as a mixture of one component."""
    d = covariance.shape[0]
    return Prior(covariance.new_zeros(1, d), covariance[None], covariance.new_zeros(1))


@dataclass(frozen=True, kw_only=True)
class Isotropic(Law):
    """`x ~ N(0, I)`, `w_star ~ N(0, I)`.

    Source: Dutta & Sra, arXiv 2410.07263, section 3; Garg et al., arXiv 2208.01066.

    Example:
        >>> Isotropic(d=3, N=8).second_moment.trace().item()
        3.0
    """

    metadata: ClassVar[Metadata] = Metadata("isotropic", 1, "arXiv 2410.07263, section 3")
    gaussian_covariates: ClassVar[bool] = True

    def draw(self, batch: int, generator: np.random.Generator) -> Draw:
        w_star = generator.standard_normal((batch, self.d))
        X = generator.standard_normal((batch, self.N, self.d))
        x_query = generator.standard_normal((batch, self.num_queries, self.d))
        return Draw(X, x_query, w_star)

    @cached_property
    def second_moment(self) -> Tensor:
        return torch.eye(self.d, dtype=torch.float64, device="cpu")

    @property
    def whitens_to_isotropic(self) -> bool:
        return True

    def prior(self, X: Tensor) -> Prior | None:
        return gaussian_prior(torch.eye(self.d, dtype=X.dtype, device=X.device))


@dataclass(frozen=True, kw_only=True)
class Anisotropic(Law):
    """`x = U D z`, `w_star = U D^-1 g` with `z, g ~ N(0, I)`: `Σ = U D² Uᵀ`, `w_star ~ N(0, Σ^-1)`.

    The labels `y = zᵀg` depend on neither U nor D, so `E[y²] = d` whatever the spectrum.

    Attributes:
        spectrum: the eigenvalues `D²` of the covariance, i = 1..d: "paper" (D is 1, 1, 1/2, 1/4, 1, repeated for
            other d), "power" (`i^-exponent`), "geometric" (a geometric sequence from 1 to `1/kappa`).
        exponent: of spectrum "power", at least 0; 1 where it is not given.
        kappa: condition number of spectrum "geometric", at least 1; 16 (the paper's) where it is not given.
        rotation: "shared" (U is drawn once, from `law_seed`, as the paper draws it), "per_task" (a fresh uniform
            U for each task, known to no solver: the law has no prior to state) or "none" (U = I).

    Raises:
        ValueError: if a parameter is out of its range, or belongs to another spectrum.

    Source: Dutta & Sra, arXiv 2410.07263, section 3; Ahn et al., arXiv 2306.00297.

    Example:
        >>> law = Anisotropic(d=4, spectrum="geometric", kappa=8, rotation="none")
        >>> law.eigenvalues.round(6).tolist()
        [1.0, 0.5, 0.25, 0.125]
    """

    metadata: ClassVar[Metadata] = Metadata("anisotropic", 1, "arXiv 2410.07263, section 3")
    gaussian_covariates: ClassVar[bool] = True

    spectrum: str = "paper"
    exponent: float | None = None
    kappa: float | None = None
    rotation: str = "shared"

    def __post_init__(self) -> None:
        super().__post_init__()
        require_choice("spectrum", self.spectrum, SPECTRA)
        require_choice("rotation", self.rotation, ROTATIONS)
        for name, owner, least, default in (("exponent", "power", 0.0, 1.0), ("kappa", "geometric", 1.0, 16.0)):
            value = getattr(self, name)
            if self.spectrum == owner:
                self._store(name, require_number(name, default if value is None else value, least))
            elif value is not None:
                raise ValueError(f"{name} is {value!r}, but the spectrum is {self.spectrum!r}; only {owner!r} has it")
        smallest = float(self.eigenvalues.min())
        if smallest < 1 / MAX_KAPPA:
            given = f"exponent is {self.exponent:g}" if self.spectrum == "power" else f"kappa is {self.kappa:g}"
            raise ValueError(
                f"{given}, which at d = {self.d} makes the smallest eigenvalue of the covariance {smallest:.3g}; "
                f"it must be {1 / MAX_KAPPA:g} or more"
            )

    @cached_property
    def eigenvalues(self) -> np.ndarray:
        """Eigenvalues `D²` of `U D² Uᵀ` in the order of U's columns, `(d,)`; the largest is 1."""
        if self.spectrum == "power":
            assert self.exponent is not None
            return np.arange(1.0, self.d + 1) ** -self.exponent
        if self.spectrum == "geometric":
            assert self.kappa is not None
            return self.kappa ** -(np.arange(self.d) / max(1, self.d - 1))
        return np.resize(PAPER_PATTERN, self.d) ** 2

    @cached_property
    def U(self) -> np.ndarray:
        """The rotation that all tasks share, `(d, d)`."""
        return paper_rotation(self.d, self.law_seed) if self.rotation == "shared" else np.eye(self.d)

    def draw(self, batch: int, generator: np.random.Generator) -> Draw:
        D = np.sqrt(self.eigenvalues)
        w_star = generator.standard_normal((batch, self.d)) / D
        X = generator.standard_normal((batch, self.N, self.d)) * D
        x_query = generator.standard_normal((batch, self.num_queries, self.d)) * D
        if self.rotation == "none":
            return Draw(X, x_query, w_star)
        if self.rotation == "shared":
            return Draw(X @ self.U.T, x_query @ self.U.T, w_star @ self.U.T)
        # A generator of their own, so that all kinds of rotation share the other numbers.
        U = rand_rotations(batch, self.d, generator.spawn(1)[0])
        Ut = U.transpose(0, 2, 1)
        return Draw(X @ Ut, x_query @ Ut, (U @ w_star[:, :, None])[:, :, 0], (U * self.eigenvalues) @ Ut)

    @cached_property
    def second_moment(self) -> Tensor:
        return self._mean_covariance()

    def _mean_covariance(self) -> Tensor:
        if self.rotation == "per_task":
            return torch.from_numpy(self.eigenvalues.mean() * np.eye(self.d))
        return torch.from_numpy((self.U * self.eigenvalues) @ self.U.T)

    @property
    def whitens_to_isotropic(self) -> bool:
        return self.rotation != "per_task"

    def prior(self, X: Tensor) -> Prior | None:
        if self.rotation == "per_task":
            return None
        covariance = torch.from_numpy((self.U / self.eigenvalues) @ self.U.T)
        return gaussian_prior(covariance.to(X.dtype).to(X.device))


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
