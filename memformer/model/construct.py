"""Constructive proofs as code: parameters that make a Memformer run a given first-order method.

Every function returns a config with P = 0 and S models: one for each entry of its constants, so that each of B tasks
may have constants of its own (model s on task s). The Memformer's `w` after layer k is the method's after k steps.

Throughout, `depth` is the number of steps, `d` the covariate dimension, and `preconditioner` the method's C, `(d, d)`;
without one C is the identity, and Q scalar. Constants are `(S,)`, or `(S, depth)` where each step may have its own.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from memformer.core.problem import Problem, dot, matvec
from memformer.model.config import MemformerConfig, Memory


class Construction(NamedTuple):
    """A Memformer's config and the parameters of S models."""

    config: MemformerConfig
    parameters: dict[str, Tensor]


def gradient_descent(eta: Tensor, depth: int, d: int, preconditioner: Tensor | None = None) -> Construction:
    """`w_{k+1} = w_k - eta C grad f(w_k)`: no memory, `Q = -eta C`.

    Source: von Oswald et al., arXiv 2212.07677, proposition 1; Ahn et al., arXiv 2306.00297.

    Example:
        >>> from memformer.model.forward import forward
        >>> problem = Problem(torch.eye(2)[None], torch.ones(1, 2), torch.ones(1, 1, 2))
        >>> config, parameters = gradient_descent(torch.tensor([1.0]), depth=2, d=2)
        >>> forward(config, parameters, problem).weights[:, 0, 0, 0].tolist()
        [0.0, 0.5, 0.75]
    """
    return _construction("none", eta, depth, d, preconditioner)


def heavy_ball(
    eta: Tensor, beta: Tensor, depth: int, d: int, first_eta: Tensor | None = None, preconditioner: Tensor | None = None
) -> Construction:
    """`w_{k+1} = w_k - eta C grad f(w_k) + beta (w_k - w_{k-1})`: conjugate memory, `Q = -eta C`, `gamma = beta`.

    The momentum beta of the first step is not used; `first_eta`, `(S,)`, is the first step's eta, if it is another.

    Source: Polyak 1964.
    """
    eta = _each_step(eta, depth)
    if first_eta is not None:
        eta = torch.cat([first_eta[:, None], eta[:, 1:]], 1)
    memory = {"alpha": torch.ones_like(eta), "gamma": _each_step(beta, depth).to(eta)}
    return _construction("conjugate", eta, depth, d, preconditioner, **memory)


def chebyshev(mu: Tensor, L: Tensor, depth: int, d: int, preconditioner: Tensor | None = None) -> Construction:
    """The Chebyshev semi-iteration for `[mu, L]` `(S,)` each: heavy ball whose constants change from step to step.

    With a preconditioner the interval is that of its product with H.

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
    """Conjugate gradient on B given tasks: conjugate memory with each task's own alpha and gamma; model s for task s.

    `R_l = -C grad f(w_l) + gamma_l R_{l-1}` is CG's direction, `w_{l+1} = w_l + alpha_l R_l` its step. Once a task
    is solved its alpha is 0. C must be symmetric and positive definite.

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
    memory = {"alpha": torch.cat(alphas, 1), "gamma": torch.cat(gammas, 1)}
    return _construction("conjugate", torch.ones_like(b[:, 0]), depth, problem.d, preconditioner, **memory)


def first_order_method(table: Tensor, d: int, preconditioner: Tensor | None = None) -> Construction:
    """Any linear first-order method `w_{k+1} = w_k - sum_{i<=k} table[k, i] C grad f(w_i)`: first-order memory.

    `Q = -C`, `Gamma_i^k = table[k, i]`; of `table` `(S, depth, depth)` only the lower triangle is used.

    Source: Dutta & Sra, arXiv 2410.07263, proposition 3.2.
    """
    return _construction("first_order", torch.ones_like(table[:, 0, 0]), table.shape[1], d, preconditioner, gamma=table)


def momentum_table(eta: Tensor, beta: Tensor, depth: int) -> Tensor:
    """Heavy ball's table for `first_order_method`, `(S, depth, depth)`: `table[k, i] = eta beta^{k-i}`, both `(S,)`."""
    step = torch.arange(depth, device=eta.device)
    age = (step[:, None] - step).clamp(min=0).to(eta)
    return (eta[:, None, None] * beta[:, None, None] ** age).tril()


def nesterov(eta: Tensor, beta: Tensor, depth: int, d: int) -> Construction:
    """Nesterov's method, `w_k = v_{k-1} - eta grad f(v_{k-1})`, `v_k = w_k + beta_k (w_k - w_{k-1})`.

    Gradients are taken at the extrapolated points v, which are therefore the layers' states; the last layer leaves
    the extrapolation out. So after layer k < depth the state is `v_k`, after the last it is `w_depth`. `eta` is `(S,)`;
    `beta` may be `beta_k` of step k = 1, ..., depth.

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
    """Constants `(S, depth)`."""
    return constant if constant.ndim == 2 else constant[:, None].expand(-1, depth)


def _construction(
    memory: Memory, eta: Tensor, depth: int, d: int, preconditioner: Tensor | None, **parameters: Tensor
) -> Construction:
    """Models with `Q = -eta C` of every layer, one head, and parameters of their memory."""
    Q = -_each_step(eta, depth)[:, :, None]
    if preconditioner is not None:
        Q = Q[..., None, None] * preconditioner.to(Q)
    kind = "scalar" if preconditioner is None else "full"
    config = MemformerConfig(d=d, depth=depth, memory=memory, preconditioner=kind)
    return Construction(config, {"Q": Q, **parameters})
