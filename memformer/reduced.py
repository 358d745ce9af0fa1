"""The reduced form: a Memformer with linear attention never needs its tokens, only the moments H and b.

With `M_0 = I`, `w_0 = 0` and `r = b - H w`, a layer's attention is

    T = M Q M^T,        w <- w - T r,        M <- M + T H M P^T,

summed over heads; memory combines the registers `(T r, T H M P^T)` of past layers. The prediction is `x_query^T w`.
With P = 0, M stays the identity, and the whole model is one linear first-order method with matrix coefficients.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from memformer.associative import join, per_model
from memformer.attention import as_matrix, gated_preconditioners
from memformer.config import MemformerConfig
from memformer.first_order import first_order_method
from memformer.memory import Registers, memory_matrix
from memformer.products import from_left, from_right, task_product


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
        H: `(G, d, d, n)`, n tasks. G divides S, and model s sees group `s // (S/G)`.
        b: `(G, d, n)`.
        live: see `step_coefficients`.

    Returns:
        `(depth, S, d, n)`, after 1, ..., depth layers.
    """
    if not config.covariate_update:
        return first_order_method(step_coefficients(config, parameters, live), H, b, register_window(config))
    models = parameters["Q"].shape[0]
    return _with_covariates(config, parameters, per_model(H, models), per_model(b, models), live)


def _with_covariates(
    config: MemformerConfig, parameters: Mapping[str, Tensor], H: Tensor, b: Tensor, live: Tensor | None
) -> Tensor:
    """The form with `P != 0`; `H` `(S, d, d, n)`, `b` `(S, d, n)`; a leading 1 broadcasts."""
    Q = as_matrix(config, gated_preconditioners(config, parameters))
    Qs, Ps = ([layer.unbind(1) for layer in matrix.unbind(1)] for matrix in (Q, parameters["P"].mT))
    registers = Registers(config, parameters, [lambda g: _label_part(config, g), lambda g: _covariate_part(config, g)])
    b, identity = b.unsqueeze(2), torch.eye(config.d, dtype=b.dtype, device=b.device)[..., None]
    w = b.new_zeros(Q.shape[0], *b.shape[1:])
    M: Tensor | None = None  # of the first layer: the identity
    iterates = []
    for layer in range(config.depth):
        last = layer == config.depth - 1
        r = b - task_product(H, w) if layer else b.expand_as(w)
        K = H if M is None else None
        if M is not None:
            r = task_product(M.transpose(1, 2), r)
            K = None if last else task_product(M.transpose(1, 2), task_product(H, M))
        attention = []
        for head in range(config.heads):
            own = Qs[layer][head]
            Qr = from_left(own, r)
            parts = [Qr if M is None else task_product(M, Qr)]
            if K is not None and not last:  # nobody reads what the last layer does to covariates
                QKP = from_right(from_left(own, K.expand(Q.shape[0], -1, -1, -1)), Ps[layer][head])
                parts.append(QKP if M is None else task_product(M, QKP))
            attention.append(parts)
        step, *growth = registers.step(
            layer, tuple(join(list(part), config.gamma_per_head) for part in zip(*attention, strict=True))
        )
        if live is not None:
            step, *growth = (part * live[:, layer].view(-1, 1, 1, 1) for part in (step, *growth))
        w = w - step
        if growth:
            M = (identity if M is None else M) + growth[0]
        iterates.append(w.squeeze(2))
    return torch.stack(iterates)


def _label_part(config: MemformerConfig, weight: Tensor) -> Tensor:
    """For the part `(S[, heads], d, 1, n)`."""
    return (weight[..., -1] if config.gamma == "feature" else weight)[..., None, None, None]


def _covariate_part(config: MemformerConfig, weight: Tensor) -> Tensor:
    """For the part `(S[, heads], d, d, n)`: feature weights multiply covariates, so M from the right."""
    return weight[..., None, :-1, None] if config.gamma == "feature" else weight[..., None, None, None]
