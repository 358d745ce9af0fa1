"""Importance sampling of Gaussian contexts: rare ill-conditioned tasks are drawn more often, and weigh less.

The mean loss of a method with fixed coefficients is a high moment of `H`: after four steps or more, tasks with an
uncommonly large eigenvalue carry much of it, and most samples of thousands lack them. Here the largest singular value
of `Z = X S^-1/2` is multiplied by `√s`, with s drawn at random. What comes out is an ordinary context, which any solver
solves; the mean over the law is the mean of weight times loss.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from benchmarks.tasks.randomness import rand_component

Array = NDArray[np.float64]

Sampling = Literal["plain", "importance"]
"""How scored tasks are drawn: from the law itself, or as this module does, with weights."""

STRETCHES = (1.0, 1.25, 1.6, 2.1)
"""Factors s of the largest eigenvalue of `Z^T Z`."""

PROBABILITIES = (0.55, 0.2, 0.15, 0.1)
"""How often each of them is drawn."""

LARGEST_EXPONENT = 600.0
"""Of e, in a factor of a density: beyond 709 float64 has no number."""

LARGEST_WEIGHT = 1 / PROBABILITIES[0]
"""No weight exceeds this: a task that is not stretched is one of the law."""


def stretches_to(width: float) -> tuple[float, ...]:
    """As many factors as `STRETCHES`, growing evenly in logarithms from 1 to `width`."""
    return tuple(width ** (power / (len(STRETCHES) - 1)) for power in range(len(STRETCHES)))


def stretched(
    X: Array, second_moment: Array, generator: np.random.Generator, stretches: Sequence[float] = STRETCHES
) -> tuple[Array, Array]:
    """Contexts of the importance law, made of contexts of the law itself.

    Args:
        X: `(B, N, d)`, the rows independent `N(0, S)`.
        second_moment: S, `(d, d)` or `(B, d, d)`.
        generator: of the factors s.
        stretches: the factors, the first of them 1.

    Returns:
        The contexts, `(B, N, d)`, and their weights `(B,)`.
    """
    values, vectors = np.linalg.eigh(second_moment)
    Z = X @ (vectors / np.sqrt(values)[..., None, :])  # the rotation that is left out changes no singular value
    Zt = Z.transpose(0, 2, 1)
    wide = Z.shape[1] < Z.shape[2]
    eigenvalues, axes = np.linalg.eigh(Z @ Zt if wide else Zt @ Z)
    first = axes[:, :, -1:] if wide else Z @ axes[:, :, -1:] / np.sqrt(eigenvalues[:, None, -1:])
    factors = np.array(stretches)[rand_component((len(X),), PROBABILITIES, generator)]
    # In X as in Z: the component along the first left singular vector is multiplied by √s.
    X = X + (np.sqrt(factors)[:, None, None] - 1) * first * (first.transpose(0, 2, 1) @ X)
    eigenvalues[:, -1] *= factors
    return X, weights(eigenvalues, max(Z.shape[1:]), stretches)


def weights(eigenvalues: Array, size: int, stretches: Sequence[float] = STRETCHES) -> Array:
    """Density of the law over that of the importance law, at contexts with these eigenvalues.

    The r nonzero eigenvalues of a Wishart matrix, `l_1 > ... > l_r`, have a density proportional to
    `prod_i l_i^((n - r - 1)/2) e^(-l_i/2) prod_{i<j} (l_i - l_j)` with n the larger of N and d. Multiplying l_1 by s
    carries it to `p(l_1/s, l_2, ...)/s`, which is 0 where `l_1/s < l_2`. Relative to p that is

        s^-((n - r + 1)/2) e^(l_1 (1 - 1/s)/2) prod_{j>1} (l_1/s - l_j)/(l_1 - l_j),

    and the weight is 1 over the mean of these ratios over s.

    Args:
        eigenvalues: `(B, r)` of `Z^T Z`, ascending, without those that are 0 for every context.
        size: n.
        stretches: the factors, the first of them 1.

    Returns:
        `(B,)`, above 0 and at most `LARGEST_WEIGHT`; their expectation under the importance law is 1.

    Source: Muirhead, Aspects of multivariate statistical theory, 1982, theorem 3.2.18.

    Example:
        >>> weights(np.array([[1.0, 2.0]]), 4).round(4).tolist()
        [1.4666]
    """
    largest, others = eigenvalues[:, -1:], eigenvalues[:, :-1]
    power = (size - eigenvalues.shape[1] + 1) / 2
    density = np.zeros(len(eigenvalues))
    for s, probability in zip(stretches, PROBABILITIES, strict=True):
        gaps = np.maximum(largest / s - others, 0.0) / (largest - others)
        density += probability * (1.0 if s == 1 else _ratio(largest[:, 0] * (1 - 1 / s) / 2, s, power, gaps))
    return 1 / density


def _ratio(exponent: Array, s: float, power: float, gaps: Array) -> Array:
    """`s^-power e^exponent prod(gaps)`: by logarithms where a factor would leave the range of numbers."""
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        plain = s**-power * np.exp(exponent) * gaps.prod(1)
        logs = exponent - power * np.log(s) + np.log(gaps).sum(1)
        small = (exponent < LARGEST_EXPONENT) & (power * np.log(s) < LARGEST_EXPONENT)
        return np.where(small, plain, np.exp(np.minimum(logs, LARGEST_EXPONENT)))
