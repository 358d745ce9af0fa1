"""What linear attention loses on fresh tasks after training on so many sequences of so many tasks: an exact limit."""

from __future__ import annotations

import math

from memformer.core.checks import require_number


def icl_error(tau: float, alpha: float, rho: float, kappa: float) -> float:
    """Squared error on tasks that were not trained on, as d grows: linear attention fitted without a ridge.

    Covariates are `x ~ N(0, I/d)`; tasks lie on the sphere of radius `√d`; `y = x·w + ε`, with `ε ~ N(0, rho)`. So
    labels have variance `1 + rho`, and the error contains the query's own noise. Of a context of ℓ points the model
    sees

        h = [ (d/ℓ) Σ y_i x_i ; (1/ℓ) Σ y_i² ],

    and answers `x_query · Γ h`. Γ, `(d, d + 1)`, solves the regression of the query's label on `x_query hᵀ` over all
    training sequences, by ridge with a ridge that goes to 0. The error peaks at tau = 1 (double descent), where there
    are as many sequences as numbers in Γ.

    With `M` of `resolvent_trace`, `x = (1 + rho)/alpha` (the noise of h as an estimate of w), below tau = 1 with
    `s = 1 - x M(x, kappa/tau)`

        1 + rho - 2 tau s + tau (1 + x)/(1 - tau) · (s (1 - tau s) + rho M(x, kappa/tau)),

    and above it with `m = M(x, kappa)` and `c = 1/(1 - kappa (m/(kappa + m))²)`

        x + rho - 2 m x² + (1 + x) c (x m)² + (1 + x) m (x + rho - m x²)/(tau - 1).

    The last term is what too few sequences cost. Without it, and as kappa grows, `rho + x/(1 + x)` is left: the loss of
    one optimal step.

    Args:
        tau: training sequences over d².
        alpha: points of a context over d.
        rho: variance of the label noise.
        kappa: training tasks over d.

    Returns:
        The error; infinite at tau = 1. That of a fitted model is larger by about a part that goes as 1/d: at alpha = 1,
        rho = 0.01, kappa = 0.5 and tau from 0.5 to 10 by 12 to 25 % at d = 20, by 5 to 11 % at d = 40.

    Raises:
        ValueError: if rho is below 0, or another number not above it.

    Source: Lu, Letey, Zavatone-Veth, Maiti, Pehlevan, arXiv 2405.11751, Result 1; terms are grouped differently here.

    Example:
        >>> round(icl_error(tau=2, alpha=1, rho=0.01, kappa=0.5), 5)
        1.23399
    """
    tau, alpha, kappa = (
        require_number(name, value, least=0.0, strictly=True)
        for name, value in (("tau", tau), ("alpha", alpha), ("kappa", kappa))
    )
    rho = require_number("rho", rho, least=0.0)
    x = (1 + rho) / alpha
    if tau == 1:
        return math.inf
    if tau < 1:
        M = resolvent_trace(x, kappa / tau)
        s = 1 - x * M
        return 1 + rho - 2 * tau * s + tau * (1 + x) / (1 - tau) * (s * (1 - tau * s) + rho * M)
    m = resolvent_trace(x, kappa)
    c = 1 / (1 - kappa * (m / (kappa + m)) ** 2)
    enough = x + rho - 2 * m * x**2 + (1 + x) * c * (x * m) ** 2
    return enough + (1 + x) * m * (x + rho - m * x**2) / (tau - 1)


def resolvent_trace(x: float, kappa: float) -> float:
    """`tr (S + x I)^-1 / d` as d grows, S the mean of `w wᵀ` over `kappa d` vectors `w ~ N(0, I)`.

    It is the Stieltjes transform of the Marchenko-Pastur law at -x: the root above 0 of
    `x m²/kappa + (x + 1 - 1/kappa) m = 1`.

    Args:
        x: above 0.
        kappa: vectors over d, above 0.

    Example:
        >>> round(resolvent_trace(1.0, 1e12), 6)
        0.5
    """
    b, c = x + 1 - 1 / kappa, 2 * math.sqrt(x / kappa)
    root = math.hypot(b, c)
    return 2 / (b + root) if b > 0 else 2 * (root - b) / c**2  # the same, without a difference of like numbers
