"""Classical methods for least squares as compiled functions, tasks in lanes, in place of a loop in torch.

A loop calls a dozen operations a step, and each reads and writes all tasks. Here a task is read once. The loops stay:
they serve every device, dtype and objective, are differentiable, and say what is meant
(`memformer.core.iterative.IterativeSolver`). Both agree to rounding.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import torch
from torch import Tensor

from memformer.kernels import compiled
from memformer.ledger import is_counting

MOST_D = 64
"""Beyond so many dimensions a library's products of matrices are as fast."""


class Iterates(NamedTuple):
    """Every step of every task, whether or not it had finished before.

    Attributes:
        weights: `(K + 1, B, d)`.
        norms: `(K + 1, B)` of the gradient.
        undefined: `(K, B)`, tasks on which a step is undefined; None if none can be.
    """

    weights: Tensor
    norms: Tensor
    undefined: Tensor | None


def compiles(*tensors: Tensor) -> bool:
    """Whether the functions here take these: dense numbers of a CPU that nobody differentiates, counts or traces.

    Args:
        tensors: of one dtype; the last dimension of the first is d.
    """
    if is_counting() or tensors[0].shape[-1] > MOST_D or not compiled.compiles(tensors[0]):
        return False
    needed = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)
    return not needed and all(type(tensor) in (Tensor, torch.nn.Parameter) for tensor in tensors)


def conjugate_gradient(X: Tensor, y: Tensor, num_steps: int) -> Iterates:
    """Conjugate gradient on `X^T X w = X^T y` from zero.

    Args:
        X: `(B, N, d)`.
        y: `(B, N)`.
        num_steps: K.

    Source: Hestenes & Stiefel 1952; Saad, Iterative Methods for Sparse Linear Systems, algorithm 6.18.

    Example:
        >>> conjugate_gradient(torch.eye(2)[None], torch.ones(1, 2), 1).weights[-1].tolist()
        [[1.0, 1.0]]
    """
    from memformer.kernels.recurrences_numba import CONJUGATE_GRADIENT

    weights, norms = _empty(X, num_steps)
    curvatures = X.new_empty(num_steps, X.shape[0])
    CONJUGATE_GRADIENT[_name(X)](*_arrays(X, y, weights, norms, curvatures))
    return Iterates(weights, norms.sqrt_(), curvatures <= 0)


def three_term(
    X: Tensor, y: Tensor, eta: Tensor, momentum: Tensor | float = 0.0, shift: Tensor | float = 0.0
) -> Iterates:
    """A step, some of the last one, and a gradient that looks ahead; from zero, with gradients g of least squares.

    `w_{k+1} = w_k + momentum_k (w_k - w_{k-1}) - eta_k (g_k + shift_k (g_k - g_{k-1}))`.

    Args:
        X: `(B, N, d)`.
        y: `(B, N)`.
        eta: `(K, B)`.
        momentum: what broadcasts to the same.
        shift: likewise.

    Example:
        >>> three_term(torch.eye(2)[None], torch.ones(1, 2), torch.ones(1, 1)).weights[-1].tolist()
        [[0.5, 0.5]]
    """
    from memformer.kernels.recurrences_numba import THREE_TERM

    K, B = len(eta), X.shape[0]
    of_step = [torch.as_tensor(one, dtype=X.dtype, device=X.device).expand(K, B) for one in (eta, momentum, shift)]
    weights, norms = _empty(X, K)
    THREE_TERM[_name(X)](*_arrays(X, y, *of_step, weights, norms))
    return Iterates(weights, norms.sqrt_(), None)


def extreme_eigenvalues(H: Tensor) -> tuple[Tensor, Tensor]:
    """Smallest and largest eigenvalue of symmetric matrices `(B, d, d)` of finite numbers, `(B,)` each.

    Right to a few units of rounding of the largest in size, as a library's are.

    Source: Golub & Van Loan, Matrix Computations, 4th ed., algorithm 8.3.1 (tridiagonal form); Parlett,
        "Laguerre's method applied to the matrix eigenvalue problem", Math. Comp. 18 (1964) 464-485.

    Example:
        >>> [found.tolist() for found in extreme_eigenvalues(torch.diag(torch.tensor([3.0, 1.0, 2.0]))[None])]
        [[1.0], [3.0]]
    """
    from memformer.kernels.eigenvalues_numba import EXTREME_EIGENVALUES

    largest = H.abs().amax((1, 2))
    unit = torch.where(largest > 0, torch.ldexp(torch.ones_like(largest), torch.frexp(largest).exponent - 1), 1.0)
    least, most = torch.empty_like(largest), torch.empty_like(largest)
    EXTREME_EIGENVALUES[_name(H)](*_arrays(H / unit[:, None, None], least, most))
    return least * unit, most * unit


@functools.cache
def prepare(dtype: torch.dtype) -> None:
    """Compile all of them, or load what this machine compiled before; otherwise the first use of each does."""
    one = torch.ones(1, 1, 1, dtype=dtype, device="cpu")
    if compiles(one):
        conjugate_gradient(one, one[0], 1)
        three_term(one, one[0], one[0])
        extreme_eigenvalues(one)


def _empty(X: Tensor, num_steps: int) -> tuple[Tensor, Tensor]:
    B, _, d = X.shape
    return X.new_empty(num_steps + 1, B, d), X.new_empty(num_steps + 1, B)


def _name(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _arrays(*tensors: Tensor) -> list:
    return [compiled.array(tensor) for tensor in tensors]
