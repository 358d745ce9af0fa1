"""One layer's attention on tokens, by its definition, and the preconditioners that all forms of it share."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from memformer.ledger import matmul, uncounted
from memformer.model.config import Attention, MemformerConfig


def attention_by_definition(Z: Tensor, Q: Tensor, P: Tensor, num_context: int, kind: Attention = "linear") -> Tensor:
    """`Attn(Z) = (1/N) (Z Q' Z^T) M (Z P'^T)`, as written: `O(T^2 d)` for T tokens.

    `Q' = [[Q, 0], [0, 0]]`, `P' = [[P, 0], [0, 1]]`, and `M` keeps the first N tokens, the context.

    Args:
        Z: `(..., T, d + 1)` tokens, context first; labels are the last feature.
        Q: `(..., d, d)`.
        P: `(..., d, d)`.
        num_context: N.
        kind: `"softmax"` and `"relu"` change the scores, see `MemformerConfig`.

    Returns:
        `(..., T, d + 1)`.

    Source: Dutta & Sra, arXiv 2410.07263, equation 4; Ahn et al., arXiv 2306.00297, equation 3.

    Example:
        >>> Z = torch.tensor([[1.0, 2.0], [3.0, 0.0]])
        >>> attention_by_definition(Z, -torch.eye(1), torch.zeros(1, 1), 1).tolist()
        [[0.0, -2.0], [0.0, -6.0]]
    """
    T, d = Z.shape[-2], Z.shape[-1] - 1
    M = torch.diag((torch.arange(T, device=Z.device) < num_context).to(Z.dtype))
    with uncounted():  # parameters alone, once for all tasks
        last = torch.zeros(d + 1, d + 1, dtype=Z.dtype, device=Z.device)
        last[d, d] = 1.0
        Q_hat = torch.nn.functional.pad(Q, (0, 1, 0, 1))
        P_hat = torch.nn.functional.pad(P, (0, 1, 0, 1)) + last
    scores, values = matmul(matmul(Z, Q_hat), Z.mT), matmul(Z, P_hat.mT)
    if kind == "softmax":
        masked = scores.masked_fill(M.diagonal() == 0, -torch.inf)
        return matmul(matmul(masked.softmax(-1), M), values)
    if kind == "relu":
        scores = scores.relu()
    return matmul(matmul(scores, M), values) / num_context


def gated_preconditioners(config: MemformerConfig, parameters: Mapping[str, Tensor]) -> Tensor:
    """`g_h Q_h` for every layer and head, `(S, depth, heads[, d, d])`: gates only ever multiply attention."""
    Q = parameters["Q"]
    if config.gates == "none":
        return Q
    gates = parameters["gates"] if config.gates == "layer" else parameters["gates"][:, None]
    return gates[..., None, None] * Q if config.preconditioner == "full" else gates * Q


def as_matrix(config: MemformerConfig, Q: Tensor) -> Tensor:
    """`Q` as d×d matrices, whatever it is stored as: `(..., d, d)`."""
    if config.preconditioner == "full":
        return Q
    return Q[..., None, None] * torch.eye(config.d, dtype=Q.dtype, device=Q.device)
