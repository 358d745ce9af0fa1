"""Roots of the residual polynomials of methods with fixed coefficients: whether they are real, and their best order.

A method whose residual polynomial `p(t) = 1 - t q(t)` has real roots is gradient descent with step sizes 1/root; one
with a pair of complex roots needs memory.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares
from torch import Tensor

from baselines.wishart import GaussianTasks

DIGITS = 30
"""Roots are found to so many digits before they become floats."""


def residual_roots(law: GaussianTasks, num_steps: int) -> tuple[complex, ...]:
    """Roots of the residual polynomial of a law's best method, correctly rounded; real ones have no imaginary part.

    Args:
        law: the tasks.
        num_steps: degree, 1 or more.

    Returns:
        Ascending by real part, a complex root before its conjugate.

    Example:
        >>> [round(root.real, 4) for root in residual_roots(GaussianTasks(20, 5), 2)]
        [0.8003, 1.9404]
    """
    polynomial = _residual(law, num_steps)
    real = polynomial.count_roots()
    found = sorted((complex(root) for root in polynomial.nroots(n=DIGITS, maxsteps=500)), key=lambda z: abs(z.imag))
    found = [complex(root.real) if i < real else root for i, root in enumerate(found)]
    return tuple(sorted(found, key=lambda z: (z.real, z.imag)))


def count_real_roots(law: GaussianTasks, num_steps: int) -> int:
    """How many roots of the residual polynomial of a law's best method are real, proved by a Sturm sequence.

    Example:
        >>> count_real_roots(GaussianTasks(20, 5), 5), count_real_roots(GaussianTasks(10, 5, noise_var=1), 5)
        (5, 3)
    """
    return int(_residual(law, num_steps).count_roots())


def _residual(law: GaussianTasks, num_steps: int) -> Any:
    """`1 - t q(t)` as a polynomial over the rationals."""
    # Imported here: it takes as long as all the rest, and most who import this module never need it.
    import sympy

    lowest_first = [
        sympy.Integer(1),
        *(-sympy.Rational(c.numerator, c.denominator) for c in law.coefficients(num_steps)),
    ]
    return sympy.Poly(lowest_first[::-1], sympy.Symbol("t"), domain="QQ")


def comrade(parameters: Mapping[str, Tensor], num_steps: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Multiplication by t in the basis of a fitted `LfomOptimal`, for polynomials of degree below `num_steps`.

    With `t v_{j-1} = sum_{i<j} h_ij v_i + v_j / s_j` and `v_0 = s_0`, a polynomial `sum_j q_j v_j` times t has the
    coefficients `product @ q`, as long as its degree stays below `num_steps`.

    Args:
        parameters: `inverse_norm` s and `recurrence` h.
        num_steps: k, 1 or more.

    Returns:
        The Hessenberg matrix `product` `(k, k)`, whose last column is 0, and the coefficients `(k,)` of 1.

    Raises:
        ValueError: if fewer steps already solve the tasks it was fitted on: the basis then ends before.
    """
    s, h = (parameters[name].double().numpy() for name in ("inverse_norm", "recurrence"))
    if not (s[:num_steps] > 0).all():
        raise ValueError(f"less than {num_steps} steps solve these tasks exactly; no method needs {num_steps}")
    product, one = np.zeros((num_steps, num_steps)), np.zeros(num_steps)
    for j in range(num_steps - 1):
        product[: j + 1, j] = h[j + 1, : j + 1]
        product[j + 1, j] = 1 / s[j + 1]
    one[0] = 1 / s[0]
    return product, one


def fitted_roots(parameters: Mapping[str, Tensor], num_steps: int) -> list[complex]:
    """Roots of the residual polynomial of a fitted `LfomOptimal` after `num_steps` steps.

    They are the eigenvalues of the comrade matrix, which is multiplication by t modulo that polynomial. Powers of t,
    in which the roots would be ill-conditioned, do not occur.

    Args:
        parameters: `coefficients`, and what `comrade` reads.
        num_steps: steps, 1 or more.

    Returns:
        As many as the polynomial's degree: fewer than `num_steps` if fewer steps already solve the tasks it was
        fitted on.
    """
    a, s = (parameters[name][:num_steps].double().numpy() for name in ("coefficients", "inverse_norm"))
    used = np.flatnonzero((s > 0).cumprod() * a)
    if used.size == 0:
        return []
    k = int(used[-1]) + 1
    product, one = comrade(parameters, k)
    product[:, -1] += (one - product @ a[:k]) / a[k - 1]
    return [complex(root) for root in np.linalg.eigvals(product)]


def best_real_roots(parameters: Mapping[str, Tensor], num_steps: int, starts: int = 10, seed: int = 0) -> float:
    """The best gradient descent with `num_steps` free step sizes that so many searches find: no method with memory.

    With q the method's polynomial and q* the best one, the loss is the floor plus the squared distance of q and q* in
    the basis in which `LfomOptimal` runs. So the step sizes are the solution of a nonlinear least-squares problem.

    Args:
        parameters: of a fitted `LfomOptimal`.
        num_steps: steps, 1 or more.
        starts: searches; each starts near the absolute values of the best method's roots.
        seed: of where they start.

    Returns:
        What its loss lies above the floor; for exact moments in units of the covariates' variance.
    """
    product, one = comrade(parameters, num_steps)
    best = parameters["coefficients"][:num_steps].double().numpy()

    def distance(eta: NDArray[np.float64]) -> NDArray[np.float64]:
        q = np.zeros(num_steps)
        for step in eta:
            q = q + step * (one - product @ q)
        return q - best

    roots, generator = np.array(fitted_roots(parameters, num_steps)), np.random.default_rng(seed)
    begin = [(1 / roots).real]
    begin += [np.exp(generator.normal(0, 0.2, num_steps)) / np.abs(roots) for _ in range(starts - 1)]
    found = [least_squares(distance, start, xtol=1e-15, ftol=1e-15, gtol=1e-15) for start in begin]
    return 2 * min(float(result.cost) for result in found)


def leja_order(roots: Sequence[complex]) -> list[complex]:
    """Roots in an order in which the partial products of `1 - t / root` stay small; conjugates are neighbours.

    The largest root comes first, then always the one whose product of distances to the earlier ones is largest.

    Args:
        roots: real ones, and complex ones with their conjugates.

    Source: Leja 1957; Reichel 1990, for Richardson's iteration.

    Example:
        >>> leja_order([1.0, 2.0, 3.0])
        [3.0, 1.0, 2.0]
    """
    waiting = [root for root in roots if root.imag >= 0]
    ordered: list[complex] = []

    def distance(root: complex) -> float:
        return sum(math.log(max(abs(root - other), 1e-300)) for other in ordered) if ordered else abs(root)

    while waiting:
        chosen = max(waiting, key=distance)
        waiting.remove(chosen)
        ordered += [chosen, chosen.conjugate()] if chosen.imag else [chosen]
    return ordered
