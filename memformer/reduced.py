"""The reduced form: a Memformer with linear attention never needs its tokens, only the moments H and b.

With `M_0 = I`, `w_0 = 0` and `r = b - H w`, a layer's attention is

    T = M Q M^T,        w <- w - T r,        M <- M + T H M P^T,

summed over heads; memory combines the registers `(T r, T H M P^T)` of past layers. The prediction is `x_query^T w`.
With P = 0, M stays the identity, and the whole model is one linear first-order method with matrix coefficients.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from memformer.attention import as_matrix, gated_preconditioners
from memformer.config import MemformerConfig
from memformer.first_order import first_order_method
from memformer.memory import Registers, memory_matrix
from memformer.problem import matvec
from memformer.token_form import per_model


def step_coefficients(config: MemformerConfig, parameters: Mapping[str, Tensor], live: Tensor | None = None) -> Tensor:
    """Coefficients `C` of the first-order method that a model with P = 0 is: `C[l, j] = sum_h K_h[l, j] g_h Q_{j,h}`.

    Args:
        config: must be reducible, with P = 0.
        parameters: S models.
        live: `(S, depth)`, 1 where a model has that layer and 0 where the layer does nothing; None is all 1.

    Returns:
        `(S, depth, depth)` for scalar Q, `(S, depth, d, depth * d)` for full Q: what `first_order_method` takes.
    """
    K = memory_matrix(config, parameters)
    if live is not None:
        K = K * live[..., None] if not config.gamma_per_head else K * live[:, None, :, None]
    Q = gated_preconditioners(config, parameters)
    if not config.gamma_per_head:
        Q = Q[:, :, 0] if config.heads == 1 else Q.sum(2)
        if config.preconditioner == "scalar":
            return K * Q[:, None]
        blocks = K[:, :, None, :, None] * Q.transpose(1, 2)[:, None]
    elif config.preconditioner == "scalar":
        return (K * Q.transpose(1, 2)[:, :, None]).sum(1)
    else:
        blocks = torch.einsum("shlj,sjhab->slajb", K, Q)
    return blocks.flatten(3)


def register_window(config: MemformerConfig) -> int | None:
    """How many past residuals a layer reads: None is all of them."""
    return 1 if config.memory == "none" else config.window


def reduced_forward(
    config: MemformerConfig, parameters: Mapping[str, Tensor], H: Tensor, b: Tensor, live: Tensor | None = None
) -> Tensor:
    """`w` after every layer.

    Args:
        config: must be reducible.
        parameters: S models.
        H: `(G, d, d, B)`: tasks last. G divides S, and model s sees group `s // (S/G)`.
        b: `(G, d, B)`.
        live: see `step_coefficients`.

    Returns:
        `(depth, S, d, B)`, after 1, ..., depth layers.
    """
    if not config.covariate_update:
        return first_order_method(step_coefficients(config, parameters, live), H, b, register_window(config))
    models = parameters["Q"].shape[0]
    H, b = (per_model(tensor.movedim(-1, 1), models) for tensor in (H, b))
    return _with_covariates(config, parameters, H, b, live)


def _with_covariates(
    config: MemformerConfig, parameters: Mapping[str, Tensor], H: Tensor, b: Tensor, live: Tensor | None
) -> Tensor:
    """The form with `P != 0`; `H` `(S, B, d, d)`, `b` `(S, B, d)`; leading 1 broadcasts."""
    Q, P = as_matrix(config, gated_preconditioners(config, parameters)), parameters["P"]
    registers = Registers(config, parameters, [lambda g: _label_part(config, g), lambda g: _covariate_part(config, g)])
    models, per_head = Q.shape[0], config.gamma_per_head
    w = b.new_zeros(models, *b.shape[1:])
    M: Tensor | None = None
    iterates = []
    for layer in range(config.depth):
        r = b - matvec(H, w) if layer else b.expand_as(w)
        last = layer == config.depth - 1
        transformed, K = (r, H) if M is None else (matvec(M.mT, r), M.mT @ (H @ M))
        attention = []
        for head in range(config.heads):
            # The first layer has M = I.
            MQ = Q[:, layer, head, None] if M is None else _from_right(M, Q[:, layer, head])
            parts = [matvec(MQ, transformed)]
            if not last:  # nobody reads what the last layer does to covariates
                parts.append(_from_right(MQ @ K, P[:, layer, head].mT))
            attention.append(parts)
        step, *growth = registers.step(layer, tuple(_join(part, per_head) for part in zip(*attention, strict=True)))
        w = w - (step if live is None else step * live[:, layer, None, None])
        if growth:
            identity = torch.eye(config.d, dtype=w.dtype, device=w.device)
            M = (identity if M is None else M) + (
                growth[0] if live is None else growth[0] * live[:, layer, None, None, None]
            )
        iterates.append(w)
    return torch.stack(iterates).transpose(-1, -2)


def _from_right(left: Tensor, right: Tensor) -> Tensor:
    """`left @ right` for `(S, B, d, d)` and one matrix a model `(S, d, d)`: one product a model, not one a task."""
    return (left.flatten(1, 2) @ right).view(left.shape) if left.shape[0] == right.shape[0] else left @ right[:, None]


def _join(heads: Sequence[Tensor], per_head: bool) -> Tensor:
    if per_head:
        return torch.stack(list(heads), 1)
    return heads[0] if len(heads) == 1 else torch.stack(list(heads)).sum(0)


def _label_part(config: MemformerConfig, weight: Tensor) -> Tensor:
    """For the part `(S[, heads], B, d)`."""
    return (weight[..., -1] if config.gamma == "feature" else weight)[..., None, None]


def _covariate_part(config: MemformerConfig, weight: Tensor) -> Tensor:
    """For the part `(S[, heads], B, d, d)`: feature weights multiply covariates, so M from the right."""
    return weight[..., None, None, :-1] if config.gamma == "feature" else weight[..., None, None, None]
