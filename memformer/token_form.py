"""The Memformer on tokens: carries all N + q of them from layer to layer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor

from memformer.attention import (
    as_matrix,
    attention_by_associativity,
    attention_by_definition,
    gated_preconditioners,
)
from memformer.config import MemformerConfig
from memformer.memory import Registers

TokenForm = Literal["definition", "associative"]


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
    form: TokenForm = "definition",
    live: Tensor | None = None,
) -> Tensor:
    """Predicted labels after every layer, from tokens.

    Args:
        config: any Memformer for `"definition"`; linear attention for `"associative"`.
        parameters: S models.
        X: `(G, B, N, d)` contexts of G groups of models; G divides S, and model s sees group `s // (S/G)`.
        y: `(G, B, N)`.
        x_query: `(G, B, q, d)`.
        form: `"definition"` is the reference, `O(T^2 d)` a layer; `"associative"` is `O(T d^2)`.
        live: `(S, depth)`, 1 where a model has that layer and 0 where the layer does nothing; None is all 1.

    Returns:
        `(depth + 1, S, B, q)`.
    """
    N, q = X.shape[-2], x_query.shape[-2]
    models = parameters["Q"].shape[0]
    X, y, x_query = (per_model(tensor, models) for tensor in (X, y, x_query))
    Z = prompts(X, y, x_query)
    frozen_covariates = form == "associative" and not config.covariate_update
    layer_attention = (
        _Associative(config, parameters, N) if form == "associative" else _Definition(config, parameters, N)
    )
    covariates = Z[..., :-1] if frozen_covariates else None
    state = (Z[..., -1:] if frozen_covariates else Z).expand(models, -1, -1, -1)
    registers = Registers(config, parameters, [lambda weight: _over_tokens(config, weight, N, q, frozen_covariates)])
    predictions = [torch.zeros_like(state[..., N:, -1])]
    for layer in range(config.depth):
        Z = state if covariates is None else torch.cat([covariates.expand(*state.shape[:-1], -1), state], -1)
        (step,) = registers.step(layer, (layer_attention(Z, layer),))
        if live is not None:
            step = step * live[:, layer, None, None, None]
        state = state + step
        predictions.append(-state[..., N:, -1])
    return torch.stack(predictions)


def per_model(tensor: Tensor, models: int) -> Tensor:
    """`(G, ...)` to `(S, ...)`, or to what broadcasts against it."""
    groups = tensor.shape[0]
    return tensor if groups in (1, models) else tensor.repeat_interleave(models // groups, 0)


def _over_tokens(config: MemformerConfig, weight: Tensor, N: int, q: int, labels_only: bool) -> Tensor:
    """Memory weights `(S[, heads], *gamma_shape)` in the shape of a register `(S[, heads], B, T, features)`."""
    if config.gamma == "scalar":
        return weight[..., None, None, None]
    if labels_only:
        weight = weight[..., -1:]
    if config.gamma == "feature":
        return weight[..., None, None, :]
    tokens = torch.cat([weight[..., :N, :], weight[..., N:, :].expand(*weight.shape[:-2], q, -1)], -2)
    return tokens.unsqueeze(-3)


class _Definition:
    """Heads' attention by its definition, `(S[, heads], B, T, d + 1)`."""

    def __init__(self, config: MemformerConfig, parameters: Mapping[str, Tensor], num_context: int) -> None:
        self.config, self.num_context = config, num_context
        self.Q = as_matrix(config, parameters["Q"])
        self.P = parameters["P"] if config.covariate_update else torch.zeros_like(self.Q)
        self.gates = None
        if config.gates != "none":
            gates = parameters["gates"] if config.gates == "layer" else parameters["gates"][:, None]
            self.gates = gates.expand(-1, config.depth, -1)

    def __call__(self, Z: Tensor, layer: int) -> Tensor:
        Q, P = (matrix[:, layer, :, None] for matrix in (self.Q, self.P))
        heads = attention_by_definition(Z[:, None], Q, P, self.num_context, self.config.attention)
        if self.gates is not None:
            heads = heads * self.gates[:, layer, :, None, None, None]
        return heads if self.config.gamma_per_head else heads.sum(1)


class _Associative:
    """Heads' linear attention by associativity; the label feature alone if P = 0."""

    def __init__(self, config: MemformerConfig, parameters: Mapping[str, Tensor], num_context: int) -> None:
        self.config, self.num_context = config, num_context
        self.Q = as_matrix(config, gated_preconditioners(config, parameters))
        self.P = parameters["P"] if config.covariate_update else None
        if self.P is None and not config.gamma_per_head:
            # Heads that share covariates, values and registers are one head.
            self.Q = self.Q.sum(2, keepdim=True)

    def __call__(self, Z: Tensor, layer: int) -> Tensor:
        Q = self.Q[:, layer, :, None]
        P = None if self.P is None else self.P[:, layer, :, None]
        if Q.shape[1] == 1:
            attention = attention_by_associativity(Z, Q[:, 0], None if P is None else P[:, 0], self.num_context)
            return attention[:, None] if self.config.gamma_per_head else attention
        heads = attention_by_associativity(Z[:, None], Q, P, self.num_context)
        return heads if self.config.gamma_per_head else heads.sum(1)
