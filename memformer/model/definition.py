"""The Memformer on tokens, by its definition: the reference that the faster forms are held to."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from memformer.kernels.products import per_model
from memformer.ledger import uncounted
from memformer.model.attention import as_matrix, attention_by_definition
from memformer.model.config import MemformerConfig
from memformer.model.memory import Registers


def prompts(X: Tensor, y: Tensor, x_query: Tensor) -> Tensor:
    """Token arrays `Z_0`: rows `(x_i, y_i)`, then rows `(x_query, 0)`.

    Args:
        X: `(..., N, d)`.
        y: `(..., N)`.
        x_query: `(..., q, d)`.

    Returns:
        `(..., N + q, d + 1)`.
    """
    labels = torch.cat([y, torch.zeros_like(x_query[..., 0])], -1)
    return torch.cat([torch.cat([X, x_query], -2), labels.unsqueeze(-1)], -1)


def token_forward(
    config: MemformerConfig,
    parameters: Mapping[str, Tensor],
    X: Tensor,
    y: Tensor,
    x_query: Tensor,
    live: Tensor | None = None,
) -> Tensor:
    """Predicted labels after every layer: `O(T^2 d)` a layer and task for T = N + q tokens.

    Args:
        config: any Memformer.
        parameters: S models.
        X: `(G, B, N, d)` contexts of G groups of models; G divides S, and model s sees group `s // (S/G)`.
        y: `(G, B, N)`.
        x_query: `(G, B, q, d)`.
        live: `(S, depth)`, 1 where a model has that layer and 0 where the layer does nothing; None is all 1.

    Returns:
        `(depth + 1, S, B, q)`.
    """
    N, q = X.shape[-2], x_query.shape[-2]
    with uncounted():  # parameters alone, once for all tasks
        Q = as_matrix(config, parameters["Q"])
    P = parameters["P"] if config.covariate_update else torch.zeros_like(Q)
    Z = prompts(*(per_model(tensor, len(Q)) for tensor in (X, y, x_query))).expand(len(Q), -1, -1, -1)
    registers = Registers(config, parameters, [lambda weight: _over_tokens(config, weight, N, q)])
    predictions = [-Z[..., N:, -1]]
    for layer in range(config.depth):
        heads = attention_by_definition(Z[:, None], Q[:, layer, :, None], P[:, layer, :, None], N, config.attention)
        if config.gates != "none":
            gates = parameters["gates"][:, layer] if config.gates == "layer" else parameters["gates"]
            heads = gates[..., None, None, None] * heads
        (step,) = registers.step(layer, (heads if config.gamma_per_head else heads.sum(1),))
        Z = Z + (step if live is None else step * live[:, layer, None, None, None])
        predictions.append(-Z[..., N:, -1])
    return torch.stack(predictions)


def _over_tokens(config: MemformerConfig, weight: Tensor, N: int, q: int) -> Tensor:
    """Memory weights `(S[, heads], *gamma_shape)` in the shape of a register `(S[, heads], B, T, d + 1)`."""
    if config.gamma == "scalar":
        return weight[..., None, None, None]
    if config.gamma == "feature":
        return weight[..., None, None, :]
    tokens = torch.cat([weight[..., :N, :], weight[..., N:, :].expand(*weight.shape[:-2], q, -1)], -2)
    return tokens.unsqueeze(-3)
