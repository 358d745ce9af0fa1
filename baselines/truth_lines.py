"""Truth lines: how good could a method of a class be on these tasks, or on this law?"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from baselines.arnoldi import Krylov, arnoldi
from baselines.krylov import law_preconditioner
from baselines.lfom_optimal import draw_moments, fit_shared
from baselines.objective import Quadratic, excess_loss, quadratic_loss
from memformer.core.checks import require_int
from memformer.core.objective import apply_metric
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
    # Rounding leaves a space that is exhausted, in fewer digits the sooner, and what lies outside is nearer to w_star.
    exact = problem if problem.dtype == torch.float64 else problem.to(torch.float64, "cpu")
    H, b = exact.moments
    most = min(num_steps, problem.N, problem.d)
    found = arnoldi(lambda v: matvec(H, v), b, quadratic_loss(exact), most, shared=False)
    loss = excess_loss(exact, nested_iterates(found)).to(problem.y)
    return torch.cat([loss, loss[-1:].expand(num_steps - most, -1)])


def nested_iterates(found: Krylov) -> Tensor:
    """`w_k = sum_{j<k} a_j v_j` for k = 0, 1, ...: `(k + 1, B, d)`."""
    steps = found.coefficients[:, :, None] * found.basis
    return torch.cat([torch.zeros_like(steps[:1]), steps.cumsum(0)])


def lfom_floor(tasks: TaskSource, num_steps: int, num_tasks: int = 100_000, preconditioned: bool = False) -> Estimate:
    """Mean loss of the best linear first-order method with fixed scalar coefficients for a law, from sampled tasks.

    Coefficients are fitted on one half of the tasks and judged on the other, both ways round, so the estimate does
    not profit from its own sample. It lies above the floor, by more the more steps are taken. Where
    `baselines.exact_law.gaussian_tasks` knows the law, `floor` there is exact.

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
    losses, _ = _cross_fit(*draw_moments(tasks, num_tasks), num_steps, preconditioner)
    return Estimate(losses.mean(1), losses.std(1) / losses.shape[1] ** 0.5)


def relative_excess(
    moments: Moments, loss: Quadratic, num_steps: int, preconditioner: Tensor | None = None, noise_var: float = 0.0
) -> Tensor:
    """How far the best fixed coefficients of given tasks may lie above the floor of their law, as a share of it.

    The mean loss of coefficients fitted on one half and judged on the other, relative to that of coefficients judged
    on the half they were fitted on, less 1. The estimate is as uncertain as the means of high powers of H are: for
    100,000 isotropic tasks (N = 20, d = 5) and 4, 5, 6 steps it is 0.1 to 1 %, 0.1 to 9 % and 2 to 34 %, where the
    truth for coefficients fitted on all of them is 0.03 to 0.3 %, 0.1 to 4 % and 0.2 to 9 %.

    Args:
        moments: of 4 tasks or more.
        loss: of the same tasks.
        num_steps: the largest k.
        preconditioner: C, `(d, d)`.
        noise_var: variance of the label noise, which the loss has besides.

    Returns:
        `(num_steps + 1,)`, 0 or more.
    """
    other, own = _cross_fit(moments, loss, num_steps, preconditioner)
    return ((other.mean(1) + noise_var) / (own.mean(1) + noise_var) - 1).clamp(min=0.0)


def _cross_fit(
    moments: Moments, loss: Quadratic, num_steps: int, preconditioner: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Losses `(k + 1, B)` of methods fitted on the other half of the tasks, and of those fitted on the same half."""
    half = len(moments.b) // 2
    halves = [
        (Moments(moments.H[part], moments.b[part]), _part(loss, part)) for part in (slice(half), slice(half, None))
    ]
    methods = [fit_shared(*tasks, num_steps, preconditioner) for tasks in halves]
    other, own = (
        torch.cat([_judge(method, *tasks, preconditioner) for method, tasks in zip(order, halves, strict=True)], 1)
        for order in (methods[::-1], methods)
    )
    return other, own


def _part(loss: Quadratic, part: slice) -> Quadratic:
    metric = loss.metric if loss.metric.ndim == 2 else loss.metric[part]
    return Quadratic(metric, loss.target[part], loss.constant[part])


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
