"""Metrics: pure functions of a problem and a solver's trace, one number for each task and number of steps."""

from __future__ import annotations

from torch import Tensor

from baselines.objective import excess_loss
from memformer.core.problem import Problem
from memformer.core.solver import Trace


def test_loss(problem: Problem, trace: Trace) -> Tensor | None:
    """Error of the prediction at the held-back points, averaged over a task's queries.

    The error is the squared one for least squares, and minus the log likelihood of the label for logistic regression:
    see `memformer.core.objective.Objective.error`.

    Returns:
        `(num_steps + 1, B)` in units of y squared, or nats, nan where the solver gave no finite answer; None for a
        problem without query labels.
    """
    if problem.y_query is None:
        return None
    return problem.objective.error(trace.predict(problem.x_query), problem.y_query).mean(-1)


def expected_test_loss(problem: Problem, trace: Trace) -> Tensor | None:
    """Expectation of `test_loss` over the query point and its label, given the true weights.

    For least squares it is `(w - w_star)^T E[x x^T] (w - w_star) + noise_var`. It has the mean of `test_loss` and far
    less variance, and it needs weights and a law that states its moments.

    Returns:
        `(num_steps + 1, B)` in units of y squared; None where trace or problem lacks what it needs.
    """
    if trace.weights is None or problem.w_star is None or problem.second_moment is None or problem.noise_var is None:
        return None
    known = problem.objective.irreducible(problem.w_star, problem.second_moment, problem.noise_var)
    return excess_loss(problem, trace.weights) + known


test_loss.__test__ = False  # type: ignore[attr-defined]  # its name is the field's term, not a pytest case
