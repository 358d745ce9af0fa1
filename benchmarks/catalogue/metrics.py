"""Metrics: pure functions of a problem and a solver's trace, one number for each task and number of steps."""

from __future__ import annotations

from torch import Tensor

from baselines.objective import excess_loss
from memformer.core.problem import Problem, matvec
from memformer.core.trace import Trace


def test_loss(problem: Problem, trace: Trace) -> Tensor | None:
    """Error of the prediction at the held-back points, averaged over a task's queries.

    The error is the squared one for least squares. For logistic regression it is minus the log likelihood of the label,
    averaged over the label where the law knows its chance: the same mean, less variance. See
    `memformer.core.objective.Objective.error`.

    Returns:
        `(num_steps + 1, B)` in units of y squared, or nats, nan where the solver gave no finite answer; None for a
        problem without query labels.
    """
    if problem.y_query is None:
        return None
    labels = problem.y_query
    if problem.w_star is not None and not problem.objective.linear_prediction:
        labels = problem.objective.mean(matvec(problem.x_query, problem.w_star))
    return problem.objective.error(trace.predict(problem.x_query), labels).mean(-1)


def expected_test_loss(problem: Problem, trace: Trace) -> Tensor | None:
    """Expectation of `test_loss` over the query point and its label, given the true weights.

    For least squares it is `(w - w_star)^T E[x x^T] (w - w_star) + noise_var`. It has the mean of `test_loss` and far
    less variance, and it needs weights and a law that states its moments. Where the best prediction is no `x^T w`, as
    in logistic regression, all methods are judged by `test_loss`.

    Returns:
        `(num_steps + 1, B)` in units of y squared; None where trace or problem lacks what it needs.
    """
    if trace.weights is None or problem.w_star is None or problem.second_moment is None or problem.noise_var is None:
        return None
    if not problem.objective.linear_prediction:
        return None
    known = problem.objective.irreducible(problem.w_star, problem.second_moment, problem.noise_var)
    return excess_loss(problem, trace.weights) + known


test_loss.__test__ = False  # type: ignore[attr-defined]  # its name is the field's term, not a pytest case
