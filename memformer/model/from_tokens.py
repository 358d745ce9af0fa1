"""The Memformer on tokens by associativity: `(Z Q' Z^T) M (Z P'^T) = Z Q' (Z^T M Z) P'^T`, without T×T scores.

Linear attention makes predictions linear in the query. So instead of queries, the weights `w` are carried along: the
tokens of d unit vectors, `x_query = e_1, ..., e_d`, whose labels are `-w`. With P = 0 covariates never change, and only
the context's labels and `w` are carried. Tasks are the last dimension.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from memformer.kernels.gdpp import token_method
from memformer.model.config import MemformerConfig
from memformer.model.memory import layer_weights


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
    return token_method(layer_weights(config, parameters, live), X, y)
