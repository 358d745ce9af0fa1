"""Problems that the tests of the baselines share."""

from __future__ import annotations

import torch
from torch import Tensor

from benchmarks.tasks.gaussian import Isotropic
from benchmarks.tasks.law import Purpose
from benchmarks.tasks.stream import TaskStream
from memformer.core.problem import Problem


def training(law: Isotropic, seed: int = 1) -> TaskStream:
    return law.stream(seed, Purpose.TRAIN)


def scored(law: Isotropic, batch: int, seed: int = 7) -> Problem:
    return law.stream(seed, Purpose.SCORE).sample(batch)


def quadratic(eigenvalues: Tensor, w_star: Tensor) -> Problem:
    """Tasks whose H is `diag(eigenvalues)` `(B, d)` and whose solution is `w_star` `(B, d)`."""
    d = eigenvalues.shape[-1]
    X = torch.diag_embed((d * eigenvalues).sqrt())
    y = (X @ w_star.unsqueeze(-1)).squeeze(-1)
    return Problem(X, y, torch.ones_like(w_star)[:, None], w_star=w_star)


def weights_of(solver, problem: Problem, num_steps: int) -> Tensor:
    weights = solver.solve(problem, num_steps).weights
    assert weights is not None
    return weights


def true_weights(problem: Problem) -> Tensor:
    assert problem.w_star is not None
    return problem.w_star
