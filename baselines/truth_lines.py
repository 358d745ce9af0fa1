"""Truth lines: how good could a method of a class be on these tasks, or on this law?"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from baselines.arnoldi import Krylov, arnoldi
from baselines.krylov import law_preconditioner
from baselines.lfom_optimal import draw_moments, fit_shared
from baselines.objective import Quadratic, apply_metric, excess_loss, quadratic_loss
from memformer.core.checks import require_int
from memformer.core.problem import Moments, Problem, TaskSource, matvec


class Estimate(NamedTuple):
    """A mean loss after 0, 1, ..., k steps and its standard error, `(k + 1,)` each."""

    loss: Tensor
    standard_error: Tensor


def krylov_oracle(problem: Problem, num_steps: int) -> Tensor:
    """Expected loss of the best point of each task's Krylov space, which no first-order method goes below.

    The minimiser of `(w - w_star)^T Sigma (w - w_star)` over `span{b, H b, ..., H^{k-1} b}`, by Arnoldi's process in
    the inner product of Sigma, for each task.

    Args:
        problem: tasks with `w_star` and `second_moment`.
        num_steps: the largest k.

    Returns:
        `(num_steps + 1, B)`, after 0, 1, ..., k steps, without the label noise's variance.

    Raises:
        ValueError: if the tasks have no true weights.

    Example:
        >>> problem = Problem(torch.eye(2)[None], torch.ones(1, 2), torch.ones(1, 1, 2), w_star=torch.ones(1, 2),
        ...     second_moment=torch.eye(2))
        >>> krylov_oracle(problem, 1).flatten().round(decimals=4).tolist()
        [2.0, 0.0]
    """
    if problem.w_star is None or problem.second_moment is None:
        raise ValueError("the Krylov oracle needs tasks with w_star and second_moment, and these have not both")
    H, b = problem.moments
    found = arnoldi(lambda v: matvec(H, v), b, quadratic_loss(problem), num_steps, shared=False)
    return excess_loss(problem, nested_iterates(found))


def nested_iterates(found: Krylov) -> Tensor:
    """`w_k = sum_{j<k} a_j v_j` for k = 0, 1, ...: `(k + 1, B, d)`."""
    steps = found.coefficients[:, :, None] * found.basis
    return torch.cat([torch.zeros_like(steps[:1]), steps.cumsum(0)])


def lfom_floor(tasks: TaskSource, num_steps: int, num_tasks: int = 100_000, preconditioned: bool = False) -> Estimate:
    """Mean loss of the best linear first-order method with fixed scalar coefficients for a law.

    Coefficients are fitted on one half of the tasks and judged on the other, both ways round, so the estimate does
    not profit from its own sample: it lies above the floor by `O(k / num_tasks)` of it.

    Args:
        tasks: a stream of the law's tasks.
        num_steps: the largest k.
        num_tasks: tasks in all, at least 4.
        preconditioned: with `C = E[x x^T]^-1`.

    Returns:
        Loss without the label noise's variance, and its standard error, after 0, 1, ..., num_steps steps.

    Raises:
        ValueError: if `num_tasks` is less than 4.
    """
    require_int("num_tasks", num_tasks, least=4)
    preconditioner = law_preconditioner(tasks) if preconditioned else None
    halves = [draw_moments(tasks, num_tasks // 2) for _ in range(2)]
    fitted = [fit_shared(moments, loss, num_steps, preconditioner) for moments, loss in halves]
    losses = [
        _judge(method, moments, loss, preconditioner)
        for method, (moments, loss) in zip(reversed(fitted), halves, strict=True)
    ]
    joined = torch.cat(losses, 1)
    return Estimate(joined.mean(1), joined.std(1) / joined.shape[1] ** 0.5)


def _judge(method: Krylov, moments: Moments, loss: Quadratic, preconditioner: Tensor | None) -> Tensor:
    """Losses `(k + 1, B)` of a fitted method on tasks it was not fitted on."""
    H, b = moments
    w, raw = torch.zeros_like(b), b
    losses, basis = [loss.constant], []
    for j, (coefficient, inverse_norm) in enumerate(zip(method.coefficients, method.inverse_norm, strict=True)):
        if preconditioner is not None:
            raw = apply_metric(preconditioner.to(raw), raw)
        for overlap, earlier in zip(method.recurrence[j, :j], basis, strict=True):
            raw = raw - overlap * earlier
        basis.append(raw * inverse_norm)
        w = w + coefficient * basis[-1]
        losses.append((w * (apply_metric(loss.metric, w) - 2 * loss.target)).sum(-1) + loss.constant)
        raw = matvec(H, basis[-1])
    return torch.stack(losses)


def one_layer_floor(N: int, d: int) -> float:
    """Loss of the best one-layer linear transformer for `x ~ N(0, Sigma)`, `w_star ~ N(0, Sigma^-1)`, whatever Sigma.

    `Q* = -N/(N+1+d) Sigma^-1`, loss `d (d+1)/(N+1+d)`, without noise.

    Raises:
        ValueError: unless N and d are 1 or more.

    Example:
        >>> round(one_layer_floor(N=20, d=5), 4)
        1.1538
    """
    require_int("N", N, least=1)
    require_int("d", d, least=1)
    return d * (d + 1) / (N + 1 + d)
