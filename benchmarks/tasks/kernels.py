"""Laws whose labels are no linear function of x, and what is known of them instead: the covariance of two labels."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import torch
from torch import Tensor

from benchmarks.tasks.importance import Sampling
from benchmarks.tasks.law import Law, Purpose
from benchmarks.tasks.stream import TaskStream
from memformer.core.equality import ComparedByValue
from memformer.core.tensors import moved
from memformer.ledger import matmul

Kernel = Callable[[Tensor, Tensor], Tensor]
"""From points `(B, n, d)` and `(B, m, d)` to the covariance of their labels without noise, `(B, n, m)`."""


@dataclass(frozen=True, eq=False)
class FeatureKernel(ComparedByValue):
    """`k(x, x') = phi(x)^T phi(x')` with the features `phi(x) = scale relu(W x)`.

    Attributes:
        directions: W, `(m, d)`.
        scale: of each feature.

    Example:
        >>> kernel = FeatureKernel(torch.tensor([[1.0, 0.0], [-1.0, 0.0]]), scale=2.0)
        >>> kernel(torch.tensor([[[3.0, 7.0]]]), torch.tensor([[[5.0, 0.0], [-5.0, 0.0]]])).tolist()
        [[[60.0, 0.0]]]
    """

    directions: Tensor
    scale: float

    def to(self, dtype: torch.dtype, device: torch.device) -> FeatureKernel:
        """The same kernel with its directions in that place."""
        return FeatureKernel(moved(self.directions, dtype, device), self.scale)

    def features(self, X: Tensor) -> Tensor:
        """`phi` of points `(..., n, d)`: `(..., n, m)`."""
        return self.scale * matmul(X, self.directions.to(X).mT).relu()

    def __call__(self, X: Tensor, X2: Tensor) -> Tensor:
        return matmul(self.features(X), self.features(X2).mT)


@dataclass(frozen=True)
class ArcCosineKernel:
    """`k(x, x') = scale^2 E[relu(w^T x) relu(w^T x')]` over `w ~ N(0, I)`: the arc-cosine kernel of degree 1.

    With t the angle of the two points it is `scale^2 ||x|| ||x'|| (sin t + (pi - t) cos t) / (2 pi)`.

    Attributes:
        scale: of the features.

    Source: Cho & Saul, Kernel Methods for Deep Learning, NIPS 2009, equations 3 and 6.

    Example:
        >>> x = torch.tensor([[[3.0, 4.0], [-3.0, -4.0]]])
        >>> ArcCosineKernel(scale=1.0)(x[:, :1], x).tolist()
        [[[12.5, 0.0]]]
    """

    scale: float

    def __call__(self, X: Tensor, X2: Tensor) -> Tensor:
        sizes = torch.linalg.vector_norm(X, dim=-1)[..., :, None] * torch.linalg.vector_norm(X2, dim=-1)[..., None, :]
        cos = matmul(X, X2.mT) / torch.where(sizes == 0, 1.0, sizes)
        within = cos.abs() < 1  # at the ends the arc cosine has no slope, but the kernel has
        inner = torch.where(within, cos, 0.0)
        angle = inner.acos()
        bent = torch.where(within, angle.sin() + (math.pi - angle) * inner, math.pi * cos.clamp(0.0, 1.0))
        return self.scale**2 / (2 * math.pi) * sizes * bent


@dataclass(frozen=True, kw_only=True)
class KernelLaw(Law):
    """`x ~ N(0, I)`, labels of mean 0 that are no linear function of x, and of which the covariance given x is known.

    Kernel ridge with that covariance is the linear function of a context's labels with the least expected loss. Where
    the labels are Gaussian given x, no other function of them has less.
    """

    linear: ClassVar[bool] = False
    bayes: ClassVar[str] = ""

    def stream(
        self,
        seed: int,
        purpose: Purpose,
        dtype: torch.dtype = torch.float64,
        device: torch.device | str = "cpu",
        draw: Sampling = "plain",
    ) -> TaskStream:
        """An endless stream of tasks of this law, which knows the kernel."""
        return KernelStream(self, seed, purpose, dtype, device, draw)

    @property
    @abstractmethod
    def kernel(self) -> Kernel:
        """Covariance of the labels of two points, over the tasks and without noise."""

    @cached_property
    def second_moment(self) -> Tensor:
        return torch.eye(self.d, dtype=torch.float64, device="cpu")


class KernelStream(TaskStream):
    """Tasks of a law that states a kernel, which also tells the kernel."""

    law: KernelLaw

    @property
    def kernel(self) -> Kernel:
        """See `KernelLaw.kernel`."""
        return self.law.kernel
