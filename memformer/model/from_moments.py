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

from memformer.kernels.first_order import first_order_iterates
from memformer.kernels.gdpp import covariate_method
from memformer.ledger import uncounted
from memformer.model.attention import gated_preconditioners
from memformer.model.config import MemformerConfig
from memformer.model.memory import layer_weights, memory_matrix, register_window


def step_coefficients(config: MemformerConfig, parameters: Mapping[str, Tensor], live: Tensor | None = None) -> Tensor:
    """Coefficients `C` of the first-order method that a model with P = 0 is: `C[l, j] = sum_h K_h[l, j] g_h Q_{j,h}`.

    Args:
        config: must be reducible, with P = 0.
        parameters: S models.
        live: `(S, depth)`, 1 where a model has that layer and 0 where the layer does nothing; None is all 1.

    Returns:
        `(S, depth, depth)` for scalar Q, `(S, depth, d, depth * d)` for full Q: what `first_order_iterates` takes.
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


def reduced_forward(
    config: MemformerConfig, parameters: Mapping[str, Tensor], H: Tensor, b: Tensor, live: Tensor | None = None
) -> tuple[Tensor, ...]:
    """`w` after every layer.

    Args:
        config: must be reducible.
        parameters: S models.
        H: `(G, d, d, n)`, n tasks. G divides S, and model s sees group `s // (S/G)`.
        b: `(G, d, n)`.
        live: see `step_coefficients`.

    Returns:
        `(S, d, n)`, after 1, ..., depth layers.
    """
    if not config.covariate_update:
        with uncounted():  # parameters alone, once for all tasks
            C = step_coefficients(config, parameters, live)
        return first_order_iterates(C, H, b, register_window(config))
    return covariate_method(layer_weights(config, parameters, live), H, b)
