"""Exact moments of Wishart matrices, and the best method with fixed coefficients that follows from them.

Everything is rational arithmetic: a float that is passed in counts as the rational number it is.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property, lru_cache
from itertools import accumulate
from math import factorial
from operator import mul
from typing import NamedTuple

import numpy as np

from memformer.core.checks import require_number, store_ints

Number = int | float | Fraction


@lru_cache(maxsize=4096)
def trace_moment(N: int, d: int, j: int) -> int:
    """`E tr W^j` of `W = X^T X`, where X is `(N, d)` with independent standard normal entries; any N and d.

    The power sum of degree j is a combination of zonal polynomials, whose means are known. Only partitions without
    the box (3, 2) occur: those with two rows `a >= b` and c further rows of one box. With the arm and leg of a box s,
    and t twice the number of boxes to its left minus that of boxes above it,

        E tr W^j = 2 j sum_lambda  prod_{s not (1, 1)} t_s  prod_s (N + t_s) (d + t_s)
                                   / prod_s (2 arm_s + leg_s + 1) (2 arm_s + leg_s + 2)

    Args:
        N: rows of X, 1 or more.
        d: columns of X, 1 or more.
        j: power, 0 or more.

    Source: Hanlon, Stanley & Stembridge 1992; Macdonald, Symmetric Functions and Hall Polynomials, VI.10 and VII.

    Example:
        >>> [trace_moment(20, 5, j) for j in range(3)]
        [5, 100, 2600]
    """
    if j == 0:
        return d

    def upper(box: tuple[int, int]) -> int:
        t = 2 * box[1] - box[0]
        return (N + t) * (d + t) * (t or 1)

    # Products over the first boxes of the first row, of the second, and of the first column below them.
    first, second, column = (
        list(accumulate(map(upper, boxes), mul, initial=1))
        for boxes in ([(0, i) for i in range(j)], [(1, i) for i in range(j)], [(i + 2, 0) for i in range(j)])
    )
    total = Fraction(first[j], factorial(2 * j))
    for a in range(1, j):
        for b in range(1, min(a, j - a) + 1):
            c = j - a - b
            corners = (2 * a + c) * (2 * a + c + 1) * (2 * b + c - 1) * (2 * b + c)
            others = factorial(2 * a - 1) * factorial(2 * b - 2) * factorial(c) * factorial(c + 1)
            total += Fraction(first[a] * second[b] * column[c] * (2 * (a - b) + 1), corners * others)
    return int(2 * j * total)


class Direction(NamedTuple):
    """The j-th orthogonal polynomial `pi_j` of a law, `pi_{j+1} = (lambda - alpha_j) pi_j - beta_j pi_{j-1}`.

    Attributes:
        polynomial: coefficients of `pi_j`, lowest power first, the highest being 1.
        alpha, beta: of the recurrence above (`beta_0` is 0).
        norm: `E ||pi_j(H) b||^2`.
        overlap: `E <pi_j(H) b, w_star>`.
    """

    polynomial: tuple[Fraction, ...]
    alpha: Fraction
    beta: Fraction
    norm: Fraction
    overlap: Fraction


@dataclass(frozen=True)
class GaussianTasks:
    """Tasks `y = X w_star + noise` with isotropic Gaussian covariates and weights, all independent.

    A method with fixed coefficients is `w = q(H) b`. Its residual polynomial is `p(t) = 1 - t q(t)`, and its expected
    test loss is a sum of moments of `H = X^T X / N`:

        risk(q) = scale (prior_var E tr p(H)^2 + noise_var / N E tr H q(H)^2) + noise_var

    A law with covariance S and `w_star ~ N(0, v S^-1)` is this one in the coordinates `S^-1/2 x`, `S^1/2 w`: with
    scale 1 and `prior_var = v`.

    Attributes:
        N: context length.
        d: covariate dimension.
        scale: variance of each covariate.
        prior_var: variance of each entry of `w_star`.
        noise_var: variance of the label noise; the noise of the query's own label is part of the risk.

    Raises:
        ValueError: if a number is out of its range.

    Example:
        >>> GaussianTasks(20, 5).floor(1)
        Fraction(15, 13)
        >>> GaussianTasks(20, 5).risk([0])
        Fraction(5, 1)
    """

    N: int
    d: int
    scale: Number = 1
    prior_var: Number = 1
    noise_var: Number = 0

    def __post_init__(self) -> None:
        store_ints(self, "N", "d", least=1)
        for name in ("scale", "prior_var", "noise_var"):
            value = getattr(self, name)
            require_number(name, float(value), least=0.0, strictly=name != "noise_var")
            object.__setattr__(self, name, Fraction(value))

    def moment(self, j: int) -> Fraction:
        """`E tr H^j`."""
        return Fraction(trace_moment(self.N, self.d, j), self.N**j) * Fraction(self.scale) ** j

    def risk(self, coefficients: Sequence[Number]) -> Fraction:
        """Expected test loss of `w = sum_j c_j H^j b`, exact for the very coefficients given."""
        q = [Fraction(c) for c in coefficients]
        p = [Fraction(1), *(-c for c in q)]
        prior = self._integral(p, p, 0) * Fraction(self.prior_var)
        return Fraction(self.scale) * (prior + self._integral(q, q, 1) * self._noise) + Fraction(self.noise_var)

    def floor(self, num_steps: int) -> Fraction:
        """Least expected test loss of any method with `num_steps` fixed coefficients."""
        gained = sum((v.overlap**2 / v.norm for v in self.directions(num_steps)), Fraction(0))
        start = Fraction(self.prior_var) * self.d
        return Fraction(self.scale) * (start - gained) + Fraction(self.noise_var)

    def log_floor(self, num_steps: int) -> float:
        """Natural logarithm of the floor."""
        return math.log(self.floor(num_steps))

    def coefficients(self, num_steps: int) -> tuple[Fraction, ...]:
        """`c_0, ..., c_{k-1}` of the best method `w_k = sum_j c_j H^j b`."""
        total = [Fraction(0)] * num_steps
        for direction in self.directions(num_steps):
            weight = direction.overlap / direction.norm
            for power, coefficient in enumerate(direction.polynomial):
                total[power] += weight * coefficient
        return tuple(total)

    def directions(self, num_steps: int) -> tuple[Direction, ...]:
        """The first `num_steps` orthogonal polynomials: `w_k = sum_{j<k} overlap_j / norm_j pi_j(H) b`."""
        known = self._known
        while len(known) < num_steps:
            known.append(self._next_direction(known[-2:]))
        return tuple(known[:num_steps])

    @cached_property
    def _known(self) -> list[Direction]:
        return []

    @property
    def _noise(self) -> Fraction:
        return Fraction(self.noise_var) / self.N

    def _next_direction(self, last: list[Direction]) -> Direction:
        polynomial = [Fraction(1)]
        if last:
            polynomial = [Fraction(0), *last[-1].polynomial]
            for direction, factor in zip(reversed(last), (last[-1].alpha, last[-1].beta), strict=False):
                for power, coefficient in enumerate(direction.polynomial):
                    polynomial[power] -= factor * coefficient
        # Orthogonal to all lower powers: of the other factor only its highest powers count.
        j, one = len(polynomial) - 1, (Fraction(1),)
        norm = self._inner(polynomial, j)
        alpha = self._inner(polynomial, j + 1) / norm + (polynomial[j - 1] if j else 0)
        beta = norm / last[-1].norm if last else Fraction(0)
        overlap = Fraction(self.prior_var) * self._integral(polynomial, one, 1)
        return Direction(tuple(polynomial), alpha, beta, norm, overlap)

    def _inner(self, polynomial: Sequence[Fraction], power: int) -> Fraction:
        """`E <H^power b, polynomial(H) b>`."""
        prior = Fraction(self.prior_var) * self._integral(polynomial, (Fraction(1),), power + 2)
        return prior + self._noise * self._integral(polynomial, (Fraction(1),), power + 1)

    def _integral(self, left: Sequence[Fraction], right: Sequence[Fraction], power: int) -> Fraction:
        """`E tr H^power left(H) right(H)`."""
        product = np.convolve(np.array(left, dtype=object), np.array(right, dtype=object))
        return sum((c * self.moment(i + power) for i, c in enumerate(product)), Fraction(0))
