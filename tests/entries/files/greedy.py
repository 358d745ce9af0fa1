# SPDX-License-Identifier: MIT
# /// entry
# name = "greedy"
# authors = ["Ada Lovelace"]
# source = "https://arxiv.org/abs/1802.04434"
# budget = "small"
# ///
"""Draws more training tasks than it may."""

from dataclasses import dataclass, replace

from memformer import Fitting, Needs, Solver, Trace


@dataclass(frozen=True)
class Greedy(Solver):
    """A mean of millions."""

    parameters: dict = None
    needs = Needs.LAW
    fitting = Fitting.RANDOM

    def fit(self, tasks, steps, seed=0):
        return replace(self, parameters={"mean": sum(tasks.sample(10000).w_star.mean(0) for _ in range(1000))})

    def solve(self, problem, num_steps):
        return Trace.direct(self.parameters["mean"].expand(problem.B, -1).contiguous(), num_steps)
