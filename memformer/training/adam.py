"""Adam for many independent problems at once, each with its own step size, clipping and way back."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

_EPSILON = 1e-12


@dataclass
class BatchedAdam:
    """Adam on S vectors of n variables.

    Args:
        theta: `(S, n)` start.
        betas: of the running means of the gradient and of its square.
        clip: largest norm of each vector's gradient; None does not clip.

    Attributes:
        theta: `(S, n)`.
        damping: `(S,)`, factor on each vector's learning rate, halved by every `restart`.

    Source: Kingma & Ba, arXiv 1412.6980, algorithm 1.

    Example:
        >>> adam = BatchedAdam(torch.ones(1, 1))
        >>> adam.step(torch.ones(1, 1), 0.1)
        >>> round(adam.theta.item(), 5)
        0.9
    """

    theta: Tensor
    betas: tuple[float, float] = (0.9, 0.999)
    clip: float | None = None

    def __post_init__(self) -> None:
        self.mean, self.square = torch.zeros_like(self.theta), torch.zeros_like(self.theta)
        self.damping = torch.ones_like(self.theta[:, :1])
        self.weight_of_mean, self.weight_of_square = torch.zeros_like(self.damping), torch.zeros_like(self.damping)

    def step(self, gradient: Tensor, learning_rate: float | Tensor) -> None:
        """One step with gradients `(S, n)`, and one learning rate or one a vector, `(S, 1)`."""
        if self.clip is not None:
            norm = torch.linalg.vector_norm(gradient, dim=1, keepdim=True)
            gradient = gradient * (self.clip / norm.clamp(min=self.clip))
        first, second = self.betas
        # What a running mean of ones would be: `1 - beta^t` after t steps.
        self.weight_of_mean = first * self.weight_of_mean + (1 - first)
        self.weight_of_square = second * self.weight_of_square + (1 - second)
        self.mean = self.mean.lerp(gradient, 1 - first)
        self.square = self.square.lerp(gradient * gradient, 1 - second)
        scale = learning_rate * self.damping / self.weight_of_mean
        size = (self.square / self.weight_of_square).sqrt_().add_(_EPSILON)
        self.theta = torch.addcdiv(self.theta, scale * self.mean, size, value=-1)

    def restart(self, lost: Tensor, theta: Tensor) -> None:
        """Send the vectors in `lost` `(S,)` back to `theta` `(S, n)`, without a past and with half the step."""
        lost = lost[:, None]
        self.theta = torch.where(lost, theta, self.theta)
        self.mean, self.square = torch.where(lost, 0, self.mean), torch.where(lost, 0, self.square)
        self.weight_of_mean = torch.where(lost, 0, self.weight_of_mean)
        self.weight_of_square = torch.where(lost, 0, self.weight_of_square)
        self.damping = torch.where(lost, self.damping / 2, self.damping)

    def keep(self, index: Tensor) -> None:
        """Go on with the vectors in `index` `(S',)` alone, in that order."""
        for name in ("theta", "mean", "square", "damping", "weight_of_mean", "weight_of_square"):
            setattr(self, name, getattr(self, name)[index])
