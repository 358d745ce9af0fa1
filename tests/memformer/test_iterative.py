from __future__ import annotations

import pytest
import torch

from memformer.core.iterative import CHECK_INTERVAL, IterativeSolver, State
from memformer.core.problem import Problem, matvec
from memformer.core.solver import Needs
from memformer.core.trace import Outcome
from tests.memformer.helpers import assert_close, random_problem


class Descent(IterativeSolver):
    """Gradient descent whose step is undefined on the second task from step `breaks` on."""

    needs = Needs.NOTHING

    def __init__(self, rate: float, breaks: int = 10**9):
        self.rate, self.breaks = rate, breaks

    def init(self, problem: Problem) -> State:
        return State(torch.zeros_like(problem.moments.b), -problem.moments.b)

    def step(self, problem: Problem, state: State, k: int):
        w = state.w - self.rate * state.g
        undefined = (torch.arange(problem.B) == 1) & (k >= self.breaks)
        return State(w, matvec(problem.moments.H, w) - problem.moments.b), undefined


@pytest.mark.parametrize("num_steps", [0, 1, CHECK_INTERVAL, CHECK_INTERVAL + 1, 3 * CHECK_INTERVAL])
@pytest.mark.parametrize("breaks", [0, 3, CHECK_INTERVAL, CHECK_INTERVAL + 2])
def test_looking_ahead_changes_no_task(num_steps, breaks):
    """A batch in which one task breaks down gives the others what each gives alone."""
    problem = random_problem(B=3, N=12, d=3)
    together = Descent(0.1, breaks).solve(problem, num_steps)
    alone = Descent(0.1).solve(problem, num_steps)
    broken = min(breaks, num_steps)
    assert together.weights is not None
    assert alone.weights is not None
    assert_close(together.weights[:, [0, 2]], alone.weights[:, [0, 2]], atol=1e-15)
    assert_close(together.weights[:, 1], alone.weights[[*range(broken)] + [broken] * (num_steps + 1 - broken), 1])
    breakdown = int(Outcome.BREAKDOWN) if breaks < num_steps else 0
    assert together.outcome.tolist() == [0, breakdown, 0]
    assert together.finished.tolist() == [num_steps, min(breaks + 1, num_steps), num_steps]


def test_divergence_is_found_at_its_step_and_frozen():
    problem = random_problem(B=2, N=12, d=3)
    trace = Descent(1e4).solve(problem, 20)
    assert trace.weights is not None
    assert (trace.outcome == int(Outcome.DIVERGED)).all()
    step = int(trace.finished[0])
    assert step < CHECK_INTERVAL
    assert torch.equal(trace.weights[step, 0], trace.weights[-1, 0])
    assert trace.weights.isfinite().all()
