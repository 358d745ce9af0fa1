"""Units of y in which a task's products and squares neither vanish nor overflow: powers of two, so no digit changes."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import torch
from torch import Tensor

from memformer.core.problem import Problem


class Units(NamedTuple):
    """Powers of two `(B, 1)`, by both of which scaled weights are multiplied."""

    y: Tensor
    X: Tensor

    def weights(self, scaled: Tensor) -> Tensor:
        """Weights `(..., B, d)` in the problem's own units."""
        return scaled * self.y * self.X


def is_ordinary(gradient: Tensor) -> Tensor:
    """Mask `(B,)` of tasks whose gradient `(B, d)` has a norm whose square is far from the ends of the dtype."""
    norm, least = torch.linalg.vector_norm(gradient, dim=-1), torch.finfo(gradient.dtype).tiny ** 0.125
    return (norm > least) & (norm < 1 / least)


def rescaled(problem: Problem, ordinary: Tensor, covariates: bool = False) -> tuple[Problem, Units]:
    """The same tasks, those that are not `ordinary` `(B,)` in units that bring their gradients at zero near 1.

    Labels are divided by the sizes of X and y. A method whose iterates are proportional to y takes the same steps. With
    `covariates`, X and y are each divided by their own size, which suits a method without constants. What depends on
    these units and is no part of the context is left out.

    Example:
        >>> p = Problem(torch.full((1, 1, 1), 1e-12), torch.full((1, 1), 3e-12), torch.ones(1, 1, 1))
        >>> scaled, units = rescaled(p, torch.tensor([False]))
        >>> torch.equal(units.weights(scaled.y / scaled.X[..., 0]), p.y / p.X[..., 0])
        True
    """
    of_y, of_X = (_unit(part.flatten(1), ordinary) for part in (problem.y, problem.X))
    given = dataclasses.replace(problem, y_query=None, w_star=None, noise_var=None, second_moment=None)
    if covariates:
        return dataclasses.replace(given, X=problem.X / of_X[..., None], y=problem.y / of_y), Units(of_y, 1 / of_X)
    return dataclasses.replace(given, y=problem.y / of_y / of_X), Units(of_y, of_X)


def _unit(values: Tensor, ordinary: Tensor) -> Tensor:
    """That of each row's largest number, `(B, n)` to `(B, 1)`; 1 where that is 0, not finite, or in no need of it."""
    largest = values.detach().abs().amax(-1, keepdim=True)
    needed = largest.isfinite() & (largest > 0) & ~ordinary[:, None]
    return power_of_two(torch.where(needed, largest.clamp(min=torch.finfo(values.dtype).tiny), 1.0))


def power_of_two(numbers: Tensor) -> Tensor:
    """The largest powers of two that are no more than positive numbers; 1 for 0.

    Example:
        >>> power_of_two(torch.tensor([0.0, 0.3, 5.0])).tolist()
        [1.0, 0.25, 4.0]
    """
    whole = torch.where(numbers > 0, numbers, 1.0)
    return whole / (2 * torch.frexp(whole).mantissa)
