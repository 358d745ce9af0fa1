"""Batched cg against a plain loop over tasks with the same arithmetic: moments, then cg.

Run it: `python -m benchmarks.validation.compare_batched_cg`.
"""

from __future__ import annotations

import functools
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor

from baselines.krylov import ConjugateGradient
from benchmarks.validation.interleaved import interleaved
from memformer.core.iterative import IterativeSolver
from memformer.core.problem import Problem

TASKS, N, D, STEPS = 1000, 20, 5, 4
ROUNDS = 9


def fused_steps() -> Any:
    """A context within which iterative solvers run their steps through `torch.compile`, as one kernel where it can.

    Compiling takes seconds for each solver, problem size and number of steps; a small problem is then solved in about
    two thirds of the time. It needs a C++ compiler. Numbers agree to rounding.
    """
    return patch.object(IterativeSolver, "_run_ahead", _compiled())


@functools.cache
def _compiled() -> Any:
    return torch.compile(IterativeSolver._run_ahead)


def loop_over_tasks(X: Tensor, y: Tensor, num_steps: int) -> Tensor:
    """Textbook cg on one task after the other, keeping the iterates and stopping at the same tolerance.

    Returns:
        `(num_steps + 1, B, d)`, as the library's trace.
    """
    traces = []
    rtol = 8 * torch.finfo(X.dtype).eps
    for i in range(X.shape[0]):
        H = X[i].T @ X[i] / X.shape[1]
        b = X[i].T @ y[i] / X.shape[1]
        w = torch.zeros_like(b)
        g = -b
        p = -g
        gg = g @ g
        tolerance = rtol * torch.linalg.vector_norm(g)
        iterates = [w]
        for _ in range(num_steps):
            if torch.linalg.vector_norm(g) <= tolerance:
                iterates.append(w)
                continue
            Hp = H @ p
            alpha = gg / (p @ Hp)
            w = w + alpha * p
            g = g + alpha * Hp
            following = g @ g
            p = following / gg * p - g
            gg = following
            iterates.append(w)
        traces.append(torch.stack(iterates))
    return torch.stack(traces, 1)


def compare(dtype: torch.dtype, generator: torch.Generator) -> None:
    """Measure all in turn and print medians and their ratios."""
    X = torch.randn(TASKS, N, D, generator=generator, dtype=torch.float64).to(dtype)
    y = torch.randn(TASKS, N, generator=generator, dtype=torch.float64).to(dtype)

    def loop() -> Tensor:
        return loop_over_tasks(X, y, STEPS)

    def batched() -> Tensor:
        """The same by the library; a new problem each time, so that its moments are computed anew."""
        weights = ConjugateGradient().solve(Problem(X, y, X[:, :1]), STEPS).weights
        assert weights is not None
        return weights

    def fused() -> Tensor:
        with fused_steps():
            return batched()

    expected, ours = loop(), {"batched": batched, "batched, fused": fused}
    ms = interleaved({"loop": loop, **ours}, ROUNDS)
    print(f"{dtype}: loop {ms['loop']:.1f} ms")
    for name, solve in ours.items():
        difference = float((solve() - expected).abs().max() / expected.abs().max())
        ratio = f"ratio {ms['loop'] / ms[name]:.0f} (largest relative difference {difference:.1e})"
        print(f"  {name}: {ms[name]:.3f} ms, {ratio}")


def main() -> None:
    """Both precisions, from the same tasks."""
    generator = torch.Generator().manual_seed(0)
    print(f"cg, {TASKS} tasks, N={N}, d={D}, {STEPS} steps, moments included, {torch.get_num_threads()} threads")
    for dtype in (torch.float64, torch.float32):
        compare(dtype, generator)


if __name__ == "__main__":
    main()
