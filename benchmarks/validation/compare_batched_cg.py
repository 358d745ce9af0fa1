"""Batched cg against a plain loop over tasks with the same arithmetic: moments, then cg.

Run it: `python -m benchmarks.validation.compare_batched_cg`.
"""

from __future__ import annotations

import functools
import statistics
import time
from collections.abc import Callable
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor

from baselines.krylov import ConjugateGradient
from memformer.core.iterative import IterativeSolver
from memformer.core.problem import Problem

TASKS, N, D, STEPS = 1000, 20, 5, 4
ROUNDS, BATCHED_RUNS = 9, 20


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


def batched(X: Tensor, y: Tensor, x_query: Tensor, num_steps: int) -> Tensor:
    """The same by the library; a new problem each time, so that its moments are computed anew."""
    weights = ConjugateGradient().solve(Problem(X, y, x_query), num_steps).weights
    assert weights is not None
    return weights


def seconds(run: Callable[[], Tensor], runs: int = 1) -> float:
    """Mean wall-clock time of one of `runs` runs."""
    start = time.perf_counter()
    for _ in range(runs):
        run()
    return (time.perf_counter() - start) / runs


def main() -> None:
    """Measure all in turn and print medians and their ratios."""
    generator = torch.Generator().manual_seed(0)
    print(f"cg, {TASKS} tasks, N={N}, d={D}, {STEPS} steps, moments included, {torch.get_num_threads()} threads")
    for dtype in (torch.float64, torch.float32):
        X = torch.randn(TASKS, N, D, generator=generator, dtype=torch.float64).to(dtype)
        y = torch.randn(TASKS, N, generator=generator, dtype=torch.float64).to(dtype)
        x_query = X[:, :1]

        def solve(X: Tensor = X, y: Tensor = y, x_query: Tensor = x_query) -> Tensor:
            return batched(X, y, x_query, STEPS)

        def fused(solve: Callable[[], Tensor] = solve) -> Tensor:
            with fused_steps():
                return solve()

        def loop(X: Tensor = X, y: Tensor = y) -> Tensor:
            return loop_over_tasks(X, y, STEPS)

        expected = loop()
        times: dict[str, list[float]] = {"loop": [], "batched": [], "batched, fused": []}
        differences = {
            name: float((run() - expected).abs().max() / expected.abs().max())
            for name, run in (("batched", solve), ("batched, fused", fused))
        }
        for _ in range(ROUNDS):
            times["loop"].append(seconds(loop))
            times["batched"].append(seconds(solve, BATCHED_RUNS))
            times["batched, fused"].append(seconds(fused, BATCHED_RUNS))
        medians = {name: statistics.median(taken) for name, taken in times.items()}
        print(f"{dtype}: loop {medians['loop'] * 1e3:.1f} ms")
        for name, difference in differences.items():
            print(
                f"  {name}: {medians[name] * 1e3:.3f} ms, ratio {medians['loop'] / medians[name]:.0f} "
                f"(largest relative difference {difference:.1e})"
            )


if __name__ == "__main__":
    main()
