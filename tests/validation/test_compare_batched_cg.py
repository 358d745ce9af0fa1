"""The study's way of fusing steps computes what the plain steps compute."""

from __future__ import annotations

import shutil

import pytest
import torch

from baselines.krylov import ConjugateGradient
from benchmarks.validation.compare_batched_cg import fused_steps
from memformer.core.iterative import IterativeSolver
from tests.memformer.helpers import assert_close, random_problem


@pytest.mark.skipif(shutil.which("g++") is None and shutil.which("clang++") is None, reason="needs a C++ compiler")
@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
def test_fused_steps_agree():
    solver = ConjugateGradient()
    problem = random_problem(B=50, N=12, d=3)
    plain, steps = solver.solve(problem, 2), IterativeSolver._run_ahead
    with fused_steps():
        assert IterativeSolver._run_ahead is not steps
        fused = solver.solve(problem, 2)
    assert_close(fused.weights, plain.weights)
    assert torch.equal(fused.outcome, plain.outcome)
