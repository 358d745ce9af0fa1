"""Problems, parameters and task sources that do not need a task law."""

from __future__ import annotations

import torch

from memformer.core.objective import LEAST_SQUARES
from memformer.core.problem import Prior, Problem, matvec
from memformer.model.config import MemformerConfig


def random_problem(B: int = 4, N: int = 6, d: int = 3, q: int = 2, seed: int = 0) -> Problem:
    generator = torch.Generator().manual_seed(seed)
    X, y, x_query = (torch.randn(*shape, generator=generator).double() for shape in ((B, N, d), (B, N), (B, q, d)))
    return Problem(X, y, x_query)


def random_parameters(
    config: MemformerConfig, models: int, seed: int = 0, scale: float = 0.3
) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {
        name: (0.3 * torch.randn(models, *shape, generator=generator).double()).requires_grad_()
        for name, shape in config.shapes().items()
    }


class GaussianSource:
    """Tasks `x ~ N(0, Sigma)`, `w_star ~ N(0, Sigma^{-1})`, without noise."""

    def __init__(self, N=20, d=5, seed=0, scales=None, know_w_star=True):
        self.settings = {"N": N, "d": d, "seed": seed, "scales": scales, "know_w_star": know_w_star}
        self.N, self.d, self.noise_var = N, d, 0.0
        self.scales = torch.ones(d).double() if scales is None else torch.tensor(scales).double()
        self.know_w_star = know_w_star
        self.generator = torch.Generator().manual_seed(seed)

    @property
    def objective(self):
        return LEAST_SQUARES

    @property
    def second_moment(self):
        return torch.diag(self.scales**2)

    def sample(self, batch: int) -> Problem:
        def randn(*shape):
            return torch.randn(*shape, generator=self.generator, dtype=torch.float64)

        X = randn(batch, self.N, self.d) * self.scales
        x_query = randn(batch, 1, self.d) * self.scales
        w_star = randn(batch, self.d) / self.scales
        y, y_query = matvec(X, w_star), matvec(x_query, w_star)
        if not self.know_w_star:
            return Problem(X, y, x_query, y_query)
        return Problem(X, y, x_query, y_query, w_star, self.second_moment, 0.0)

    def prior(self, X: torch.Tensor) -> Prior | None:
        return None

    def validation(self) -> GaussianSource:
        return GaussianSource(**{**self.settings, "seed": self.settings["seed"] + 500_000})

    def spread(self, width: float) -> GaussianSource:
        return self


def excess_loss(source: GaussianSource, w: torch.Tensor, w_star: torch.Tensor) -> torch.Tensor:
    """Expected loss of each task, `(B,)`."""
    error = w - w_star
    return (error * (error @ source.second_moment)).sum(-1)


def assert_close(actual: torch.Tensor | None, expected: torch.Tensor | None, atol: float = 1e-10) -> None:
    """Within `atol` times the largest expected number, if that is above 1: random models can make huge numbers."""
    scale = 1.0 if expected is None or not expected.numel() else max(1.0, expected.detach().abs().max().item())
    torch.testing.assert_close(actual, expected, rtol=0.0, atol=atol * scale)
