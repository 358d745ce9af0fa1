from dataclasses import dataclass

from baselines.operations import gradient, zero_start
from benchmarks.api import SOLVERS
from memformer import IterativeSolver, Needs, State


@SOLVERS.register("sign_descent", "w - eta sign(g)")
@dataclass(frozen=True)
class SignDescent(IterativeSolver):
    needs = Needs.NOTHING
    eta: float = 0.3

    def init(self, problem):
        return State(*zero_start(problem))

    def step(self, problem, state, k):
        w = state.w - self.eta * state.g.sign()
        return State(w, gradient(problem, w)), None
