"""The Memformer on tokens by associativity: `(Z Q' Z^T) M (Z P'^T) = Z Q' (Z^T M Z) P'^T`, without T×T scores.

Linear attention makes predictions linear in the query. So instead of queries, the weights `w` are carried along: the
tokens of d unit vectors, `x_query = e_1, ..., e_d`, whose labels are `-w`. With P = 0 covariates never change, and only
the context's labels and `w` are carried. Tasks are the last dimension.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import torch
from torch import Tensor

from memformer.kernels.gdpp import token_method
from memformer.kernels.products import from_left, task_product
from memformer.ledger import uncounted
from memformer.model.attention import as_matrix, gated_preconditioners
from memformer.model.config import MemformerConfig
from memformer.model.memory import Registers, register_weights, register_window


def associative_forward(
    config: MemformerConfig, parameters: Mapping[str, Tensor], X: Tensor, y: Tensor, live: Tensor | None = None
) -> tuple[Tensor, ...]:
    """`w` after every layer, from tokens: `O(N d^2)` a layer and task, `O(N d)` with P = 0.

    Args:
        config: must have linear attention.
        parameters: S models.
        X: `(G, N, d, n)`, n tasks. G divides S, and model s sees group `s // (S/G)`.
        y: `(G, N, n)`.
        live: `(S, depth)`, 1 where a model has that layer and 0 where the layer does nothing; None is all 1.

    Returns:
        `(S, d, n)`, after 1, ..., depth layers.
    """
    models = parameters["Q"].shape[0]
    X, y = per_model(X, models), per_model(y, models)
    with uncounted():  # parameters alone, once for all tasks
        Q = as_matrix(config, gated_preconditioners(config, parameters))
        K = register_weights(config, parameters, live) if config.covariate_update else None
    if K is not None:
        return token_method(K, Q, parameters["P"], X, y, register_window(config))
    return _labels_only(config, parameters, Q, X, y.unsqueeze(2).expand(models, -1, -1, -1), live)


def per_model(tensor: Tensor, models: int) -> Tensor:
    """`(G, ...)` to `(S, ...)`, or to what broadcasts against it."""
    groups = tensor.shape[0]
    return tensor if groups in (1, models) else tensor.repeat_interleave(models // groups, 0)


def _labels_only(
    config: MemformerConfig, parameters: Mapping[str, Tensor], Q: Tensor, X: Tensor, y: Tensor, live: Tensor | None
) -> tuple[Tensor, ...]:
    """P = 0. `X` `(S, N, d, n)`, `y` `(S, N, 1, n)`."""
    N = X.shape[1]
    parts = [partial(_label_weights, config, slice(N)), partial(_label_weights, config, slice(N, None))]
    registers = Registers(config, parameters, parts)
    if not config.gamma_per_head:
        # Heads that share covariates, values and registers are one head.
        with uncounted():
            Q = Q.sum(2, keepdim=True)
    labels, w = y, y.new_zeros(y.shape[0], config.d, 1, y.shape[-1])
    iterates = []
    for layer in range(config.depth):
        gram = task_product(X.transpose(1, 2), labels) / N
        seen = [from_left(Q[:, layer, head], gram) for head in range(Q.shape[2])]
        attention = (join([task_product(X, head) for head in seen], config.gamma_per_head),)
        step = registers.step(layer, (*attention, join(seen, config.gamma_per_head)))
        if live is not None:
            step = tuple(part * live[:, layer].view(-1, 1, 1, 1) for part in step)
        labels, w = labels + step[0], w - step[1]
        iterates.append(w.squeeze(2))
    return tuple(iterates)


def join(heads: list[Tensor], per_head: bool) -> Tensor:
    """What all heads add, `(S, ...)`, or each of them, `(S, heads, ...)`."""
    if per_head:
        return torch.stack(heads, 1)
    return heads[0] if len(heads) == 1 else torch.stack(heads).sum(0)


def _label_weights(config: MemformerConfig, tokens: slice, weight: Tensor) -> Tensor:
    """Labels' weights for `(S[, heads], tokens, 1, n)`; the unit vectors are queries, which share the last row."""
    if config.gamma == "scalar":
        return weight[..., None, None, None]
    return weight[..., None, -1:, None] if config.gamma == "feature" else weight[..., tokens, -1:, None]
