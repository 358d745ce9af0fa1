"""Constructive proofs as code: parameters that make a Memformer run a given first-order method.

Every function returns a config with P = 0 and S models: one for each entry of its constants, so that each of B tasks
may have constants of its own (model s on task s). The Memformer's `w` after layer k is the method's after k steps.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from memformer.core.problem import Problem, dot, matvec
from memformer.model.config import MemformerConfig


class Construction(NamedTuple):
    """A Memformer's config and the parameters of S models."""

    config: MemformerConfig
    parameters: dict[str, Tensor]


def gradient_descent(eta: Tensor, depth: int, d: int, preconditioner: Tensor | None = None) -> Construction:
    """`w_{k+1} = w_k - eta C grad f(w_k)`: no memory, `Q = -eta C`.

    Args:
        eta: `(S,)` step sizes, or `(S, depth)`, one a step.
        depth: number of steps.
        d: covariate dimension.
        preconditioner: C, `(d, d)`; None is the identity, and a scalar Q.

    Source: von Oswald et al., arXiv 2212.07677, proposition 1; Ahn et al., arXiv 2306.00297.

    Example:
        >>> from memformer.model.forward import forward
        >>> problem = Problem(torch.eye(2)[None], torch.ones(1, 2), torch.ones(1, 1, 2))
        >>> config, parameters = gradient_descent(torch.tensor([1.0]), depth=2, d=2)
        >>> forward(config, parameters, problem).weights[:, 0, 0, 0].tolist()
        [0.0, 0.5, 0.75]
    """
    config = MemformerConfig(d=d, depth=depth, preconditioner="scalar" if preconditioner is None else "full")
    return Construction(config, {"Q": _negative(eta, depth, preconditioner)})


def heavy_ball(
    eta: Tensor, beta: Tensor, depth: int, d: int, first_eta: Tensor | None = None, preconditioner: Tensor | None = None
) -> Construction:
    """`w_{k+1} = w_k - eta C grad f(w_k) + beta (w_k - w_{k-1})`: conjugate memory, `Q = -eta C`, `gamma = beta`.

    Args:
        eta: `(S,)`, or `(S, depth)`, one a step.
        beta: `(S,)`, or `(S, depth)`; that of the first step is not used.
        depth: number of steps.
        d: covariate dimension.
        first_eta: `(S,)`, the first step's eta, if it is another.
        preconditioner: C, `(d, d)`; None is the identity.

    Source: Polyak 1964.
    """
    eta = _each_step(eta, depth)
    if first_eta is not None:
        eta = torch.cat([first_eta[:, None], eta[:, 1:]], 1)
    config = MemformerConfig(
        d=d, depth=depth, memory="conjugate", preconditioner="scalar" if preconditioner is None else "full"
    )
    parameters = {
        "Q": _negative(eta, depth, preconditioner),
        "alpha": torch.ones_like(eta),
        "gamma": _each_step(beta, depth).to(eta),
    }
    return Construction(config, parameters)


def chebyshev(mu: Tensor, L: Tensor, depth: int, d: int, preconditioner: Tensor | None = None) -> Construction:
    """The Chebyshev semi-iteration for `[mu, L]` `(S,)` each: heavy ball whose constants change from step to step.

    Args:
        mu: `(S,)`, the lower end of the interval.
        L: `(S,)`, the upper end.
        depth: number of steps.
        d: covariate dimension.
        preconditioner: C, `(d, d)`, whose product with H the interval is of; None is the identity.

    Source: Golub & Varga 1961.
    """
    rho, omega = (L - mu) / (L + mu), torch.full_like(mu, 2.0)
    omegas = [torch.ones_like(mu)]
    for _ in range(depth - 1):
        omega = 1 / (1 - omega * rho**2 / 4)
        omegas.append(omega)
    weights = torch.stack(omegas, 1)
    return heavy_ball(weights * (2 / (L + mu))[:, None], weights - 1, depth, d, preconditioner=preconditioner)


def conjugate_gradient(problem: Problem, depth: int, preconditioner: Tensor | None = None) -> Construction:
    """Conjugate gradient on given tasks: conjugate memory with each task's own alpha and gamma; model s for task s.

    `R_l = -C grad f(w_l) + gamma_l R_{l-1}` is CG's direction, `w_{l+1} = w_l + alpha_l R_l` its step. Once a task
    is solved its alpha is 0.

    Args:
        problem: B tasks.
        depth: number of steps.
        preconditioner: C, `(d, d)`, symmetric and positive definite; None is the identity.

    Returns:
        B models.

    Source: Dutta & Sra, arXiv 2410.07263, theorem 3.1; Hestenes & Stiefel 1952.
    """
    H, b = problem.moments
    w, r, p = torch.zeros_like(b), b, torch.zeros_like(b)
    past, gamma = torch.zeros_like(b[:, :1]), torch.zeros_like(b[:, :1])
    alphas, gammas = [], []
    for _ in range(depth):
        z = r if preconditioner is None else matvec(preconditioner, r)
        size = dot(r, z)
        gamma = torch.where(past > 0, size / past, 0.0)
        p, past = z + gamma * p, size
        curvature = dot(p, matvec(H, p))
        alpha = torch.where(curvature > 0, size / curvature, 0.0)
        w = w + alpha * p
        r = b - matvec(H, w)
        alphas.append(alpha)
        gammas.append(gamma)
    config = MemformerConfig(
        d=problem.d, depth=depth, memory="conjugate", preconditioner="scalar" if preconditioner is None else "full"
    )
    Q = _negative(torch.ones_like(b[:, 0]), depth, preconditioner)
    return Construction(config, {"Q": Q, "alpha": torch.cat(alphas, 1), "gamma": torch.cat(gammas, 1)})


def first_order_method(table: Tensor, d: int, preconditioner: Tensor | None = None) -> Construction:
    """Any linear first-order method `w_{k+1} = w_k - sum_{i<=k} table[k, i] C grad f(w_i)`: first-order memory.

    `Q = -C`, `Gamma_i^k = table[k, i]`.

    Args:
        table: `(S, depth, depth)`; only its lower triangle is used.
        d: covariate dimension.
        preconditioner: C, `(d, d)`; None is the identity.

    Source: Dutta & Sra, arXiv 2410.07263, proposition 3.2.
    """
    depth = table.shape[1]
    config = MemformerConfig(
        d=d, depth=depth, memory="first_order", preconditioner="scalar" if preconditioner is None else "full"
    )
    return Construction(
        config, {"Q": _negative(torch.ones_like(table[:, 0, 0]), depth, preconditioner), "gamma": table}
    )


def momentum_table(eta: Tensor, beta: Tensor, depth: int) -> Tensor:
    """Heavy ball's table for `first_order_method`: `table[k, i] = eta beta^{k-i}`.

    Args:
        eta: `(S,)`.
        beta: `(S,)`.
        depth: number of steps.

    Returns:
        `(S, depth, depth)`.
    """
    step = torch.arange(depth, device=eta.device)
    age = (step[:, None] - step).clamp(min=0).to(eta)
    return (eta[:, None, None] * beta[:, None, None] ** age).tril()


def nesterov(eta: Tensor, beta: Tensor, depth: int, d: int) -> Construction:
    """Nesterov's method, `w_k = v_{k-1} - eta grad f(v_{k-1})`, `v_k = w_k + beta_k (w_k - w_{k-1})`.

    Gradients are taken at the extrapolated points v, which are therefore the layers' states; the last layer leaves
    the extrapolation out. So after layer k < depth the state is `v_k`, after the last it is `w_depth`.

    Args:
        eta: `(S,)`.
        beta: `(S,)`, or `(S, depth)`: `beta_k` of step k = 1, ..., depth.
        depth: number of steps.
        d: covariate dimension.

    Source: Nesterov 1983.
    """
    beta = _each_step(beta, depth)
    # Rows of w_k and v_k as combinations of the gradients at v_0, ..., v_{depth-1}.
    w = v = eta.new_zeros(eta.shape[0], depth)
    states = [v]
    for k in range(depth):
        new = v.clone()
        new[:, k] -= eta
        v = new + beta[:, k, None] * (new - w) if k < depth - 1 else new
        w = new
        states.append(v)
    points = torch.stack(states, 1)
    return first_order_method(points[:, :-1] - points[:, 1:], d)


def _each_step(constant: Tensor, depth: int) -> Tensor:
    """`(S,)` or `(S, depth)` to `(S, depth)`."""
    return constant if constant.ndim == 2 else constant[:, None].expand(-1, depth)


def _negative(eta: Tensor, depth: int, preconditioner: Tensor | None) -> Tensor:
    """`Q = -eta C` of every layer, with one head."""
    Q = -_each_step(eta, depth)[:, :, None]
    return Q if preconditioner is None else Q[..., None, None] * preconditioner.to(Q)
