"""The layers of `memformer.kernels.gdpp` in operations of torch: for any device, differentiable in the tasks too."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from memformer.kernels.compiled import array
from memformer.kernels.products import from_left, from_right, per_model, task_product


class Given(NamedTuple):
    """L layers of S models in full, and what n tasks give them.

    Attributes:
        K: `(S, L, L, p, N + 1, d + 1)` weights of registers; without P `(..., 1)`, of labels alone.
        Q: `(S, L, heads, d, d)`; divided by N, if there are tokens.
        P: `(S, L, heads, d + 1, d + 1)`, labels unchanged; `(S, L, heads, 0, 0)` without P.
        features: H `(G, d, d, n)`, or X of tokens `(G, N, d, n)`.
        labels: b `(G, d, n)`, or y `(G, N, n)`.
        N: tokens; 0 with moments.
        window: of registers; L reads all.
    """

    K: Tensor
    Q: Tensor
    P: Tensor
    features: Tensor
    labels: Tensor
    N: int
    window: int

    def arrays(self) -> tuple[Any, ...]:
        """The same for a compiled function."""
        return (*(array(tensor) for tensor in self[:5]), self.N, self.window)


def plain_layers(given: Given) -> tuple[Tensor, ...]:
    """`w` after every layer, `(S, d, n)` each."""
    K, Q, P, features, labels, N, window = given
    S, L, heads, d, _ = Q.shape
    n, p, fixed = features.shape[-1], K.shape[3], P.shape[-1] == 0
    features, labels = per_model(features, S), per_model(labels, S)
    Z = torch.eye(d, d + 1, dtype=Q.dtype, device=Q.device)[..., None].expand(S, -1, -1, n)
    if N:
        context = torch.cat([features, labels.unsqueeze(2)], 2)
        Z = torch.cat([context.expand(S, -1, -1, -1), Z], 1)
        # Unit vectors share the last token's weights.
        K = torch.cat([K[..., :N, :], K[..., N:, :].expand(*K.shape[:-2], d, -1)], 4)
    iterates, registers, M = [], [], Z[:, :, :d]
    if fixed:
        Z = Z[:, :, d:]
    for layer in range(L):
        # What the last layer does to covariates and to the context is read nowhere, so it is not computed.
        rows, columns = slice(N if layer == L - 1 else 0, None), slice(d if layer == L - 1 and not fixed else 0, None)
        M = M if fixed else Z[:, :, :d]
        if N:
            gram = task_product(M[:, :N].transpose(1, 2), Z[:, :N, columns])
        elif layer == 0:
            gram = torch.cat([features, labels.unsqueeze(2)], 2)[:, :, columns]
        else:
            change = task_product(features, Z[:, :, columns])
            gram = task_product(M.transpose(1, 2), change + pad(labels[:, :, None], (0, 0, change.shape[2] - 1, 0)))
        seen = from_left(Q[:, layer], gram[:, None])
        if not fixed:
            seen = from_right(seen, P[:, layer, :, columns, columns].mT)
        if heads > p:
            seen = seen.sum(1, keepdim=True)
        # Where covariates are fixed unit vectors are what they were, and their own products are known.
        moved = [task_product(M[:, rows if not fixed else slice(rows.start, N)], seen[:, q]) for q in range(p)]
        registers.append(torch.stack(moved, 1) if not fixed else torch.cat([torch.stack(moved, 1), seen], 2))
        Z = Z[:, rows, columns]
        for source in range(max(0, layer + 1 - window), layer + 1):
            weights = K[:, layer, source, :, rows, columns, None]
            weighted = weights * registers[source][:, :, -Z.shape[1] :, -Z.shape[2] :]
            Z = Z + (weighted[:, 0] if p == 1 else weighted.sum(1))
        iterates.append(-Z[:, -d:, -1])
    return tuple(iterates)
