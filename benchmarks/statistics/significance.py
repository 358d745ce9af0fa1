"""Tests of a paired difference, and Holm's correction for many of them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats
from scipy.special import ndtr

from benchmarks.statistics.intervals import Array, cautious_z_of_one, moments

ALPHA = 0.05
"""Level of every test."""

FAR = 1e-9
"""A p-value below this is below the level with any correction for many tests."""

_NEWTON_STEPS = 50


def sign_flip_test(differences: Array) -> float:
    """Two-sided p-value of the sign-flip permutation test, by saddlepoint approximation instead of resampling.

    Hypothesis: the differences are symmetric about 0 (two solvers that could be exchanged). For it the test is exact
    at any tail; for the wider hypothesis "equal mean losses" it holds as n grows. The permutation distribution of
    `T = Σ ε_i d_i` has the cumulant function `K(s) = Σ log cosh(s d_i)`, and Lugannani and Rice's formula gives
    its tail to a relative error far below that of any affordable number of flips.

    Args:
        differences: `(tasks,)`, finite.

    Source: Lugannani & Rice, Adv. Appl. Prob. 12 (1980) 475-490; Robinson, "Saddlepoint approximations for
        permutation tests", J. R. Stat. Soc. B 44 (1982) 91-101.

    Example:
        >>> round(sign_flip_test(np.array([1.0, 2.0, -1.5, 3.0, 2.5, 1.2, -0.3, 2.2])), 2)
        0.06
    """
    tiny = float(np.finfo(float).tiny)
    if differences.min(initial=0.0) >= 0 or differences.max(initial=0.0) <= 0:
        count = np.count_nonzero(differences)
        return float(max(2.0 ** (1 - count), tiny)) if count else 1.0
    nonzero = differences[differences != 0]
    d = np.abs(nonzero)
    d /= d.max()
    signed = np.sign(nonzero)
    observed = abs(float(signed @ d))
    if observed >= d.sum() * (1 - 1e-12):
        return float(max(2.0 ** (1 - len(d)), tiny))
    if observed <= 1e-9 * float(np.sqrt(d @ d)):
        return 1.0
    s, squares = observed / float(d @ d), d**2
    for _ in range(_NEWTON_STEPS):
        tanh = np.tanh(s * d)
        step = (observed - float(d @ tanh)) / float(squares @ (1 - tanh**2))
        # K' is concave for s > 0, so Newton's steps from the left never pass the root.
        s += step
        if abs(step) <= 1e-10 * s:
            break
    curvature = float(squares @ (1 - np.tanh(s * d) ** 2))
    cumulant = float(np.sum(s * d + np.log1p(np.exp(-2 * s * d)) - np.log(2)))
    w = float(np.sqrt(max(2 * (s * observed - cumulant), 0.0)))
    u = s * float(np.sqrt(curvature))
    if w < 1e-4 or u < 1e-4:
        return float(2 * ndtr(-w))
    return float(np.clip(2 * (ndtr(-w) + stats.norm.pdf(w) * (1 / u - 1 / w)), tiny, 1.0))


def equal_means_test(differences: Array) -> float:
    """Two-sided p-value of the hypothesis of equal mean losses: the larger of the sign-flip test's and Hall's.

    The sign-flip test alone keeps its size where the differences are symmetric, and Hall's skewness-corrected t-test
    keeps it better where they are not; rejecting only where both do keeps it in both cases (see the calibration).

    Args:
        differences: `(tasks,)`, finite.

    Example:
        >>> equal_means_test(np.array([-1.0, 1.0]))
        1.0
    """
    return max(_hall_p_value(differences), sign_flip_test(differences))


def equal_means_bound(differences: Array) -> float:
    """`equal_means_test`, or a bound of it where that decides: whoever compares it with a level need not know more.

    Where Hall's p-value is above `ALPHA`, it is that, a lower bound. Where neither test can be above `FAR`, it is an
    upper one: `Σ ε_i d_i` passes `t √(Σ d_i²)` with a probability of at most `2 exp(-t²/2)`.

    Args:
        differences: `(tasks,)`, finite.

    Source: W. Hoeffding, J. Amer. Stat. Assoc. 58 (1963) 13-30, theorem 2.

    Example:
        >>> equal_means_bound(np.r_[np.ones(200), -np.ones(40)]) < FAR
        True
    """
    corrected = _hall_p_value(differences)
    if corrected > ALPHA:
        return corrected
    scaled = differences / np.abs(differences).max()
    t = float(scaled.sum()) / math.sqrt(float(scaled @ scaled))
    bound = max(corrected, 2 * math.exp(-t * t / 2))
    return bound if bound <= FAR else max(corrected, sign_flip_test(differences))


def _hall_p_value(differences: Array) -> float:
    sample = moments([differences])
    z = cautious_z_of_one(sample.count, float(sample.mean), float(sample.variance), float(sample.third))
    return float(2 * ndtr(-abs(z)))


def wilcoxon_log_test(first: Array, second: Array) -> float:
    """Two-sided p-value of Wilcoxon's signed-rank test on `log(first/second)`, losses positive.

    Hypothesis: the log ratio of a task's two losses is symmetric about 0, that is, on the *typical* task neither is
    better. It says nothing about the mean loss and is blind to rare disasters.

    Source: F. Wilcoxon, Biometrics Bulletin 1 (1945) 80-83.
    """
    tiny = np.finfo(np.float64).tiny
    ratio = np.log(np.maximum(first, tiny)) - np.log(np.maximum(second, tiny))
    if not ratio.any():
        return 1.0
    result: Any = stats.wilcoxon(ratio, method="approx")
    return float(result.pvalue)


def holm(p_values: ArrayLike) -> Array:
    """Holm's step-down correction: rejecting where it is at most 0.05 keeps the family-wise error at 5 %.

    Args:
        p_values: `(tests,)`; nan stays nan and does not count.

    Returns:
        `(tests,)` corrected p-values.

    Source: S. Holm, "A simple sequentially rejective multiple test procedure", Scand. J. Stat. 6 (1979) 65-70.

    Example:
        >>> holm([0.01, 0.04, 0.03]).round(2).tolist()
        [0.03, 0.06, 0.06]
    """
    given = np.asarray(p_values, np.float64)
    corrected = np.full(given.shape, np.nan)
    tested = np.flatnonzero(~np.isnan(given))
    order = tested[np.argsort(given[tested], kind="stable")]
    factors = np.arange(len(order), 0, -1)
    corrected[order] = np.minimum(np.maximum.accumulate(given[order] * factors), 1.0)
    return corrected
