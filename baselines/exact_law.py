"""Which task laws have exact moments: those that are isotropic Gaussian, or become so by whitening."""

from __future__ import annotations

from fractions import Fraction

import torch

from baselines.wishart import GaussianTasks
from memformer.core.problem import TaskSource
from memformer.core.tensors import in_double

SIMPLE = 1000
"""A variance is taken for a fraction with at most this denominator if it differs from it by rounding alone."""


def gaussian_tasks(tasks: TaskSource, preconditioned: bool = False) -> GaussianTasks | None:
    """A law in the form in which its moments are known exactly.

    Args:
        tasks: a stream of the law's tasks; none is drawn. A source that does not say `whitens_to_isotropic` does not.
        preconditioned: whether in the coordinates `S^-1/2 x`, `S^1/2 w` with S the law's second moment.

    Returns:
        None if the law is not isotropic Gaussian in these coordinates, or does not say so.
    """
    if not getattr(tasks, "whitens_to_isotropic", False):
        return None
    prior = tasks.prior(torch.zeros(1, tasks.N, tasks.d, dtype=torch.float64, device="cpu"))
    if prior is None:
        return None
    rounding = 16 * torch.finfo(tasks.second_moment.dtype).eps
    S = in_double(tasks.second_moment)
    whitened = float((S * prior.covariance[0].to(S)).sum() / tasks.d)
    scale = 1.0
    if not preconditioned:
        scale = float(S.trace() / tasks.d)
        if not torch.allclose(S, scale * torch.eye(tasks.d, device="cpu").to(S), rtol=0, atol=rounding * scale):
            return None
    v, s, noise = (_simple(value, rounding) for value in (whitened, scale, tasks.noise_var))
    return GaussianTasks(tasks.N, tasks.d, s, v / s, noise)


def _simple(value: float, rounding: float) -> Fraction:
    near = Fraction(value).limit_denominator(SIMPLE)
    return near if abs(near - Fraction(value)) <= rounding * abs(value) else Fraction(value)
