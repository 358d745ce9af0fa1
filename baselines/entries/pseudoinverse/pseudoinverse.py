# SPDX-License-Identifier: MIT
# /// entry
# name = "pseudoinverse"
# authors = ["The memformer-bench developers"]
# source = "https://doi.org/10.1137/0702016"
# budget = "none"
# ///
"""Least squares by torch."""

from dataclasses import dataclass

import torch

from memformer import Needs, Solver, Trace


@dataclass(frozen=True)
class Direct(Solver):
    """pinv."""

    needs = Needs.DIRECT

    def solve(self, problem, num_steps):
        finite = problem.X.isfinite().all(-1).all(-1) & problem.y.isfinite().all(-1)
        X = torch.where(finite[:, None, None], problem.X, 0.0)
        y = torch.where(finite[:, None], problem.y, 0.0)
        w = (torch.linalg.pinv(X) @ y[..., None])[..., 0]
        return Trace.direct(torch.where(finite[:, None], w, torch.nan), num_steps)
