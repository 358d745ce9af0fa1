"""Conjugate gradient on a batch of tasks: the compiled function against what else there is, in one sitting.

    python -m benchmarks.validation.compare_batched_cg [--output results/studies/batched_cg.md]

All start from X and y, and form what they need of them. The anchors: textbook cg, one task after the other; SciPy's
`cg` in such a loop; the project's own loop over steps in torch, plain and through `torch.compile`; and
linear_operator's batched `linear_cg` (`pip install linear-operator`, left out without it). The share of memory
bandwidth is that of reading X once, whose rate is measured beside the rest.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any
from unittest.mock import patch

import numpy as np
import scipy
import torch
from scipy.sparse.linalg import cg
from torch import Tensor
from typer import Option, run

from baselines.krylov import ConjugateGradient
from benchmarks.reports.template import render
from benchmarks.runs.environment import machine
from benchmarks.validation.interleaved import interleaved
from memformer.core import iterative
from memformer.core.problem import Problem
from memformer.kernels.recurrences import conjugate_gradient

TASKS, N, D, STEPS = 1000, 20, 5, 4
ROUNDS = 9


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


def scipy_loop(X: Tensor, y: Tensor, num_steps: int) -> Tensor:
    """SciPy's cg on one task after the other: the last iterates alone, `(B, d)`."""
    found = []
    for A, c in zip(X.numpy(), y.numpy(), strict=True):
        found.append(cg(A.T @ A / len(A), A.T @ c / len(A), rtol=0, atol=0, maxiter=num_steps)[0])
    return torch.from_numpy(np.stack(found))


def contenders(X: Tensor, y: Tensor) -> dict[str, Callable[[], Tensor]]:
    """What is compared: each gives the iterates `(STEPS + 1, B, d)`, or the last alone."""

    def solve() -> Tensor:
        """A new problem each time, so that nothing is known of it."""
        weights = ConjugateGradient().solve(Problem(X, y, X[:, :1]), STEPS).weights
        assert weights is not None
        return weights

    def in_torch() -> Tensor:
        with patch.object(iterative, "compiles", lambda *_: False):
            return solve()

    steps = torch.compile(iterative.IterativeSolver._run_ahead)

    def through_compile() -> Tensor:
        with patch.object(iterative.IterativeSolver, "_run_ahead", steps):
            return in_torch()

    found = {
        "a loop over tasks": lambda: loop_over_tasks(X, y, STEPS),
        "SciPy's cg in a loop": lambda: scipy_loop(X, y, STEPS),
        "the solver `cg`, steps in torch": in_torch,
        "the same through `torch.compile`": through_compile,
        "the solver `cg`": solve,
        "its compiled function alone": lambda: conjugate_gradient(X, y, STEPS).weights,
        "reading X once": lambda: X.sum(),
    }
    with suppress(ImportError):
        found["linear_operator's `linear_cg`"] = _linear_operator(X, y)
    return found


def _linear_operator(X: Tensor, y: Tensor) -> Callable[[], Tensor]:
    from linear_operator import settings  # pyright: ignore[reportMissingImports] -- an anchor, of no extra
    from linear_operator.utils.linear_cg import linear_cg  # pyright: ignore[reportMissingImports]

    def solve() -> Tensor:
        H, b = X.mT @ X / X.shape[1], X.mT @ y[..., None] / X.shape[1]
        with settings.cg_tolerance(0.0):
            found: Any = linear_cg(H.matmul, b, max_iter=STEPS, max_tridiag_iter=0, tolerance=0.0)
            return found[..., 0]

    return solve


def compare(dtype: torch.dtype) -> list[list[str]]:
    """Rows of the table: milliseconds, how many times as fast as the loop, and how far from it."""
    generator = torch.Generator().manual_seed(0)
    X = torch.randn(TASKS, N, D, generator=generator, dtype=torch.float64).to(dtype)
    y = torch.randn(TASKS, N, generator=generator, dtype=torch.float64).to(dtype)
    calls = contenders(X, y)
    expected = calls["a loop over tasks"]()
    ms, rows = interleaved(calls, ROUNDS), []
    for name, call in calls.items():
        found, far = call(), ""
        if found.ndim > 1:
            known = expected if found.ndim == 3 else expected[-1]
            far = f"{float((found - known).abs().max() / known.abs().max()):.0e}"
        ratio, share = ms["a loop over tasks"] / ms[name], ms["reading X once"] / ms[name]
        told = ("", "") if name == "reading X once" else (f"{ratio:,.0f}", f"{share:.1%}")
        rows.append([name, str(dtype).removeprefix("torch."), f"{ms[name]:.3f}", *told, far])
    return rows


def main(output: Annotated[Path | None, Option(help="Markdown file; by default the page is printed")] = None) -> None:
    """Both precisions, from the same tasks."""
    torch.set_num_threads(1)
    rows: list[list[Any]] = [row for dtype in (torch.float64, torch.float32) for row in compare(dtype)]
    sizes = {"tasks": f"{TASKS:,}", "N": N, "d": D, "steps": STEPS, "rounds": ROUNDS, "scipy": scipy.__version__}
    here = machine(torch.device("cpu"))
    page = render("benchmarks.validation", "compare_batched_cg.md.jinja", rows=rows, machine=here, **sizes)
    if output is None:
        print(page)
    else:
        output.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    run(main)
