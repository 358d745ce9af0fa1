"""Kernel ridge regression with the covariance of the labels that a law states."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar

import torch
from torch import Tensor

from baselines.operations import blank, finite_tasks
from memformer.core.problem import Problem, TaskSource, matvec
from memformer.core.solver import Fitting, Needs, Solver, check_num_steps
from memformer.core.tensors import factorised, holds_double, moved
from memformer.core.trace import Trace
from memformer.ledger import uncounted

PAIRS = 2**24
"""Kernels of so many pairs of points are held at once: tasks are solved a part at a time, each a multiple of 16."""

_NO_KERNEL = "kernel_ridge needs a law that states the covariance of its labels, and this one does not"


@dataclass(frozen=True)
class KernelRidge(Solver):
    """Predicts `k(x)^T (K + noise_var I)^-1 y`, with the law's kernel and noise; it has no weights.

    Attributes:
        kernel: from points `(B, n, d)` and `(B, m, d)` to the covariance of their labels `(B, n, m)`; found by `fit`.
            A function, so it is not saved among parameters: fitting costs nothing.
        noise_var: variance of the label noise; found by `fit`.

    Needs: the law (its kernel and noise).
    Cost: the kernel at `N^2` pairs of points and one Cholesky factorisation, `O(N^3)`, in float64; eigenvectors
        instead for the tasks whose matrix is singular to rounding, and then the solution of least norm.
    Guarantee: least expected squared loss of all linear functions of the labels; of all estimates where the labels
        are Gaussian given x.
    Source: Rasmussen & Williams, Gaussian Processes for Machine Learning, 2006, equation 2.25.

    Example:
        >>> problem = Problem(torch.eye(2)[None], torch.tensor([[1.0, 3.0]]), torch.tensor([[[0.0, 2.0]]]))
        >>> KernelRidge(kernel=lambda X, X2: X @ X2.mT, noise_var=1.0).solve(problem, 1).predictions[-1].tolist()
        [[3.0]]
    """

    kernel: Callable[[Tensor, Tensor], Tensor] | None = field(default=None, repr=False)
    noise_var: float | None = None

    needs: ClassVar[Needs] = Needs.LAW
    fitting: ClassVar[Fitting] = Fitting.CLOSED_FORM

    def skip(self, tasks: TaskSource) -> tuple[bool, str]:
        why = self._refusal(tasks.objective)
        if not why and getattr(tasks, "kernel", None) is None:
            why = _NO_KERNEL
        return bool(why), why

    def fit(self, tasks: TaskSource, steps: Sequence[int], seed: int = 0) -> KernelRidge:
        skipped, why = self.skip(tasks)
        if skipped:
            raise ValueError(why)
        return replace(self, kernel=getattr(tasks, "kernel", None), noise_var=tasks.noise_var)

    def placed(self, dtype: torch.dtype, device: torch.device) -> KernelRidge:
        move = getattr(self.kernel, "to", None)
        if move is None or device.type == "cpu" or not holds_double(device):
            return self
        return replace(self, kernel=move(torch.float64, device))

    def solve(self, problem: Problem, num_steps: int) -> Trace:
        check_num_steps(num_steps)
        if self.kernel is None or self.noise_var is None:
            raise ValueError("kernel_ridge does not know the law yet; call fit first")
        given = (problem.X, problem.y, problem.x_query)
        if not holds_double(problem.device):
            given = tuple(part.cpu() for part in given)
        finite = finite_tasks(*given)
        together = max(1, PAIRS // problem.N**2 // 16) * 16
        found = []
        for X, y, x_query in zip(*(blank(finite, part).double().split(together) for part in given), strict=True):
            K, across = self.kernel(torch.cat([X, x_query], 1), X).split([problem.N, x_query.shape[1]], 1)
            found.append(matvec(across, regularised(K, y, self.noise_var)))
        found = moved(torch.where(finite[:, None], torch.cat(found), torch.nan), problem.dtype, problem.device)
        return Trace.of_predictions(torch.stack([torch.zeros_like(found)] + [found] * num_steps))


def regularised(K: Tensor, y: Tensor, noise_var: float) -> Tensor:
    """`(K + noise_var I)^-1 y` `(B, N)` for kernel matrices K `(B, N, N)`; of least norm where there are many.

    Example:
        >>> regularised(torch.ones(1, 2, 2), torch.tensor([[2.0, 2.0]]), noise_var=0.0).round(decimals=4).tolist()
        [[1.0, 1.0]]
    """
    with uncounted():  # once for all tasks
        diagonal = noise_var * torch.eye(K.shape[-1], dtype=K.dtype, device=K.device)
    rounding = K.shape[-1] * torch.finfo(K.dtype).eps
    factor, failed = factorised(torch.linalg.cholesky_ex, K + diagonal)
    pivots = factor.diagonal(dim1=-2, dim2=-1).square()
    singular = (failed > 0) | ~(pivots.amin(-1) > rounding * pivots.amax(-1))
    unit = torch.eye(K.shape[-1], dtype=K.dtype, device=K.device)
    alpha = factorised(torch.cholesky_solve, y[..., None], torch.where(singular[:, None, None], unit, factor))[..., 0]
    if bool(singular.any()):
        values, vectors = factorised(torch.linalg.eigh, K[singular])
        values = values.clamp(min=0.0) + noise_var
        kept = values > rounding * values[..., -1:]
        along = matvec(vectors.mT, y[singular]) / torch.where(kept, values, 1.0)
        alpha = alpha.clone()
        alpha[singular] = matvec(vectors, torch.where(kept, along, 0.0))
    return alpha
