"""Gaussian mixtures, by task or by point."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from benchmarks.tasks.importance import Sampling
from benchmarks.tasks.law import Draw, Law, Metadata, Purpose
from benchmarks.tasks.randomness import rand_component
from benchmarks.tasks.stream import TaskStream
from memformer.core.checks import require_choice, require_numbers
from memformer.core.problem import Prior

LEVELS = ("task", "point")


@dataclass(frozen=True, kw_only=True)
class GaussianMixture(Law):
    """Components c with weight `π_c`, each of which draws every coordinate from `N(mean_c, var_c)`.

    The law is not centred: its second moments are `E[x xᵀ] = var_c I + mean_c² 1 1ᵀ`.

    Attributes:
        means: of the components, C numbers.
        variances: of the components, C numbers above 0.
        weights: `π_c`, C numbers above 0 that sum to 1.
        level: "task": a task picks one component, for all its covariates and for `w_star`; "point": each context
            and each query row picks its own, and so does `w_star`.

    Raises:
        ValueError: if a parameter is out of its range.

    Source: Dutta & Sra, arXiv 2410.07263, the mixture-of-experts experiment (d = 1, level "task").

    Example:
        >>> law = GaussianMixture(d=1, means=(0.0, 2.0), variances=(1.0, 1.0), weights=(0.5, 0.5))
        >>> law.second_moment.item()
        3.0
    """

    metadata: ClassVar[Metadata] = Metadata("gmm", 1, "arXiv 2410.07263, mixture of experts")

    means: tuple[float, ...] = (2.5, 0.0, -1.0)
    variances: tuple[float, ...] = (0.5, 1.0, 2.0)
    weights: tuple[float, ...] = (0.2, 0.3, 0.5)
    level: str = "task"

    def __post_init__(self) -> None:
        super().__post_init__()
        self._store("means", require_numbers("means", self.means))
        self._store("variances", require_numbers("variances", self.variances, above=0.0))
        self._store("weights", require_numbers("weights", self.weights, above=0.0))
        require_choice("level", self.level, LEVELS)
        sizes = (len(self.means), len(self.variances), len(self.weights))
        if len(set(sizes)) > 1:
            raise ValueError("there are {} means, {} variances and {} weights; they must be as many".format(*sizes))
        if not math.isclose(sum(self.weights), 1.0, abs_tol=1e-9):
            raise ValueError(f"weights sum to {sum(self.weights):.12g}; they must sum to 1")

    def stream(
        self,
        seed: int,
        purpose: Purpose,
        dtype: torch.dtype = torch.float64,
        device: torch.device | str = "cpu",
        draw: Sampling = "plain",
    ) -> TaskStream:
        """An endless stream of tasks of this law, which knows its components."""
        return MixtureStream(self, seed, purpose, dtype, device, draw)

    @property
    def components(self) -> list[GaussianMixture]:
        """The law of each component alone."""
        parts = zip(self.means, self.variances, strict=True)
        return [dataclasses.replace(self, means=(m,), variances=(v,), weights=(1.0,)) for m, v in parts]

    def draw(self, batch: int, generator: np.random.Generator) -> Draw:
        component = rand_component((batch, 1), self.weights, generator)
        w_star = self._points(component, generator)[:, 0]
        if self.level == "task":
            X = self._points(np.repeat(component, self.N, axis=1), generator)
            x_query = self._points(np.repeat(component, self.num_queries, axis=1), generator)
            return Draw(X, x_query, w_star, self._component_moments[component[:, 0]])
        X = self._points(rand_component((batch, self.N), self.weights, generator), generator)
        x_query = self._points(rand_component((batch, self.num_queries), self.weights, generator), generator)
        return Draw(X, x_query, w_star)

    def _points(self, component: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        """A point of each of the given components: `(B, n) -> (B, n, d)`."""
        mean, std = np.array(self.means)[component], np.sqrt(self.variances)[component]
        return mean[..., None] + std[..., None] * generator.standard_normal((*component.shape, self.d))

    @cached_property
    def _component_moments(self) -> np.ndarray:
        """`E[x xᵀ]` of each component, `(C, d, d)`."""
        mean, var = np.array(self.means)[:, None, None], np.array(self.variances)[:, None, None]
        return var * np.eye(self.d) + mean**2

    @cached_property
    def second_moment(self) -> Tensor:
        return torch.from_numpy(np.einsum("c,cij->ij", np.array(self.weights), self._component_moments))

    def prior(self, X: Tensor) -> Prior | None:
        """Prior of `w_star` given `X`: at level "task" the covariates tell the component.

        Each component's log weight is `log π_c + Σ log N(x_ij; mean_c, var_c)`, normalised in logarithms.
        """
        mean, var, weights = (X.new_tensor(values) for values in (self.means, self.variances, self.weights))
        log_weights = weights.log()
        if self.level == "task":
            flat = X.flatten(1)
            # Around the sample's own mean, so that no large squares cancel.
            centre = flat.mean(1, keepdim=True)
            scatter = (flat - centre).square().sum(1, keepdim=True)
            distance = scatter + flat.shape[1] * (centre - mean).square()
            log_weights = log_weights - 0.5 * (distance / var + flat.shape[1] * var.log())
        eye = torch.eye(self.d, dtype=X.dtype, device=X.device)
        return Prior(
            mean=mean[:, None].expand(-1, self.d),
            covariance=var[:, None, None] * eye,
            log_weights=torch.log_softmax(log_weights, -1),
        )


class MixtureStream(TaskStream):
    """Tasks of a mixture, which also tells what it is made of."""

    law: GaussianMixture

    @property
    def components(self) -> list[TaskStream]:
        """Tasks of each component alone, for experts to be trained on."""
        return [one.stream(self.seed, self.purpose, self.dtype, self.device) for one in self.law.components]
