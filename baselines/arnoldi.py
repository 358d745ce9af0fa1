"""Arnoldi's process over a batch of tasks, with one recurrence for each task or one shared by all."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from baselines.objective import Quadratic
from memformer.core.objective import apply_metric

EXHAUSTED = 1e-12
"""A direction that orthogonalising shrinks below this multiple of itself lies in the span of the earlier ones."""


class Krylov(NamedTuple):
    """An orthonormal Krylov basis and the best coefficients in it.

    Attributes:
        basis: `(k, B, d)`; a vector beyond the Krylov dimension is zero.
        coefficients: `a_j = <v_j, w_star>`, `(k, 1)` shared, or `(k, B)`.
        recurrence: `(k, k, 1)` or `(k, k, B)`: row j removes the earlier vectors from `H v_{j-1}`.
        inverse_norm: `(k, 1)` or `(k, B)`: what then scales it to `v_j`.
    """

    basis: Tensor
    coefficients: Tensor
    recurrence: Tensor
    inverse_norm: Tensor


def arnoldi(apply: Callable[[Tensor], Tensor], start: Tensor, loss: Quadratic, num_steps: int, shared: bool) -> Krylov:
    """Orthonormalise `start, apply(start), ...` in the metric of a loss, and expand its minimiser.

    `w_k = sum_{j<k} a_j v_j` minimises the loss over the Krylov space of dimension k: for each task, or, with
    `shared`, its mean over tasks among all methods with coefficients common to them (the batch is one stacked
    operator, the inner product is `mean_B u^T Sigma v`). The coefficients are nested: w_k needs no other run.

    Args:
        apply: product with each task's matrix, `(B, d) -> (B, d)`.
        start: `(B, d)`.
        loss: the metric and its target, from `quadratic_loss`.
        num_steps: dimension of the basis.
        shared: whether one recurrence serves all tasks.

    Cost: one product, and 4 j passes over the batch, for vector j (orthogonalised twice, so it stays stable).
    Source: Saad, Iterative Methods for Sparse Linear Systems, algorithm 6.2.

    Example:
        >>> unit = Quadratic(torch.eye(2), torch.tensor([[3.0, 4.0]]), torch.tensor([25.0]))
        >>> found = arnoldi(lambda v: v * torch.tensor([1.0, 2.0]), torch.ones(1, 2), unit, 2, shared=False)
        >>> (found.coefficients[:, :, None] * found.basis).sum(0).round(decimals=4).tolist()
        [[3.0, 4.0]]
    """
    columns = 1 if shared else start.shape[0]
    basis = start.new_zeros(num_steps, *start.shape)
    dual = torch.zeros_like(basis)
    coefficients = start.new_zeros(num_steps, columns)
    inverse_norm = torch.zeros_like(coefficients)
    recurrence = start.new_zeros(num_steps, num_steps, columns)

    def inner(left: Tensor, right: Tensor) -> Tensor:
        if shared:  # one matrix-vector product over all numbers of the batch
            return (left.flatten(-2) @ right.flatten() / start.shape[0]).unsqueeze(-1)
        return torch.einsum("...bd,bd->...b", left, right)

    def combine(weights: Tensor, vectors: Tensor) -> Tensor:
        if shared:
            return torch.tensordot(weights[:, 0], vectors, dims=1)
        return torch.einsum("jb,jbd->bd", weights, vectors)

    vector = start
    for j in range(num_steps):
        before = inner(vector, apply_metric(loss.metric, vector)).clamp(min=0).sqrt()
        for _ in range(2):
            overlap = inner(dual[:j], vector)
            vector = vector - combine(overlap, basis[:j])
            recurrence[j, :j] += overlap
        norm = inner(vector, apply_metric(loss.metric, vector)).clamp(min=0).sqrt()
        inverse_norm[j] = torch.where(norm > EXHAUSTED * before, 1 / norm, 0.0)
        basis[j] = vector * inverse_norm[j][:, None]
        dual[j] = apply_metric(loss.metric, basis[j])
        coefficients[j] = inner(basis[j], loss.target)
        vector = apply(basis[j])
    return Krylov(basis, coefficients, recurrence, inverse_norm)
