"""Binary labels whose chances are a logistic function of a linear predictor."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from benchmarks.tasks.law import Draw, Law, Metadata
from memformer.core.checks import require_number
from memformer.core.objective import Logistic
from memformer.core.problem import Prior


@dataclass(frozen=True, kw_only=True)
class LogisticLaw(Law):
    """`x ~ N(0, I)`, `w_star ~ N(0, scale^2 I)`, `y = 1` with chance `1/(1 + e^-v)`, `v = x^T w_star`, else 0.

    A task's objective is the mean of `log(1 + e^eta) - y eta` with `ridge = 1/(N scale^2)`, whose minimiser is the
    maximum a posteriori. It exists even where the two classes can be separated, as those of short contexts often are.
    Predictions are judged by minus the log likelihood of the label; `logistic_bayes` is the best there can be.

    Attributes:
        scale: standard deviation of a weight, above 0. Predictors then have that of `scale √d`.

    Raises:
        ValueError: if a parameter is out of its range; `noise_std` must be 0, since labels are random already.

    Source: McCullagh & Nelder, Generalized Linear Models, 1989, chapter 4.

    Example:
        >>> law = LogisticLaw(d=3, N=4)
        >>> sorted(set(law.draw(50, np.random.default_rng(0)).y.ravel().tolist())), law.objective.ridge
        ([0.0, 1.0], 0.25)
    """

    metadata: ClassVar[Metadata] = Metadata("logistic", 1, "McCullagh & Nelder 1989, chapter 4")
    linear: ClassVar[bool] = False
    bayes: ClassVar[str] = "logistic_bayes"

    scale: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self._store("scale", require_number("scale", self.scale, least=0.0, strictly=True))
        if self.noise_std:
            raise ValueError(f"noise_std is {self.noise_std}; labels of the logistic law are random, so it must be 0")

    @property
    def objective(self) -> Logistic:
        return Logistic(ridge=1 / (self.N * self.scale**2))

    def draw(self, batch: int, generator: np.random.Generator) -> Draw:
        w_star = self.scale * generator.standard_normal((batch, self.d))
        (X, y), (x_query, y_query) = (self._labelled(w_star, n, generator) for n in (self.N, self.num_queries))
        return Draw(X, x_query, w_star, y=y, y_query=y_query)

    def _labelled(self, w_star: np.ndarray, count: int, generator: np.random.Generator) -> tuple[np.ndarray, ...]:
        x = generator.standard_normal((len(w_star), count, self.d))
        predictor = (x @ w_star[:, :, None])[:, :, 0]
        # A logistic variable is below v with chance 1/(1 + e^-v).
        return x, (generator.logistic(size=predictor.shape) < predictor).astype(np.float64)

    @cached_property
    def second_moment(self) -> Tensor:
        return torch.eye(self.d, dtype=torch.float64, device="cpu")

    def prior(self, X: Tensor) -> Prior:
        covariance = self.scale**2 * torch.eye(self.d, dtype=X.dtype, device=X.device)
        return Prior(X.new_zeros(1, self.d), covariance[None], X.new_zeros(1))
