"""The kernel of models with P free (GD++): covariates change from layer to layer.

The state is `Z = [M | -w]`, what d unit vectors have become as tokens: covariates `M`, labels `-w`. A layer adds up its
own and past registers,

    Z_{l+1} = Z_l + sum_{j<=l} K[l, j] R_j,        R = M Q M^T [H M | r] [[P^T, 0], [0, 1]],        r = b - H w,

summed over heads. With memory weights for each token moments do not suffice; then the tokens of the context are part
of the state, and `M^T [H M | r]` is a mean over them. Tasks are last in every array.

On a CPU all of it is one compiled function with a gradient of its own (`memformer.kernels.gdpp_numba`); elsewhere, and
while `torch.compile` is at work or numba must not compile, the same in plain operations.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import pad

from memformer.kernels.compiled import array, chunks, compiles, in_threads
from memformer.kernels.products import from_left, from_right, task_product
from memformer.ledger import Entry, reports

_KERNEL_D = 64
"""Beyond so many dimensions the kernel is no faster than a library's products of matrices."""


def covariate_method(
    K: Tensor, Q: Tensor, P: Tensor, H: Tensor, b: Tensor, window: int | None = None
) -> tuple[Tensor, ...]:
    """`w` after every layer, all S models and all tasks at once; differentiable in `K`, `Q` and `P`.

    Args:
        K: `(S, L, L, p, 1, c)` weights of registers, target layer before source; only j <= l is read. c is 1, or
            d + 1 for a weight for each feature; p is 1, or `heads` for registers of each head.
        Q: `(S, L, heads, d, d)`.
        P: `(S, L, heads, d, d)`.
        H: `(S, d, d, n)` symmetric, n tasks; a leading 1 broadcasts.
        b: `(S, d, n)`; likewise.
        window: only registers j > l - window are read; None reads all.

    Returns:
        `(S, d, n)` of each layer.

    Example:
        >>> one = torch.ones(1, 1, 1, 1)
        >>> K, Q = torch.eye(2).view(1, 2, 2, 1, 1, 1), torch.full((1, 2, 1, 1, 1), -0.5)
        >>> [w.item() for w in covariate_method(K, Q, torch.zeros_like(Q), one, one[0])]
        [0.5, 0.75]
    """
    return _method(K, Q, P, H, b, 0, window)


def token_method(
    K: Tensor, Q: Tensor, P: Tensor, X: Tensor, y: Tensor, window: int | None = None
) -> tuple[Tensor, ...]:
    """The same from N tokens, for weights of each token; differentiable in `K`, `Q` and `P`.

    `X` is `(S, N, d, n)` and `y` `(S, N, n)`; a leading 1 broadcasts. `K` is `(S, L, L, p, 1 or N + 1, 1 or d + 1)`;
    unit vectors are queries, which share the last token's weights. All else is as for `covariate_method`.

    Example:
        >>> one = torch.ones(1, 1, 1, 1)
        >>> K, Q = one[..., None, None], torch.full((1, 1, 1, 1, 1), -0.5)
        >>> [w.item() for w in token_method(K, Q, torch.zeros_like(Q), one, one[0])]
        [0.5]
    """
    return _method(K, Q, P, X, y, X.shape[1], window)


def _work(K: Tensor, Q: Tensor, P: Tensor, features: Tensor, labels: Tensor, N: int, window: int | None) -> Entry:
    """In each layer, a product of each column of `[H M | r]` with H, `M^T`, Q, P (covariates alone) and M.

    The first layer knows `[H M | r] = [H | b]` and its product with `M^T`; of the last one only the label is read. From
    tokens, one product with the context's covariates stands for those with H and `M^T`.
    """
    S, L, heads, d = Q.shape[:4]
    p, products, flops = K.shape[3], 0, 0
    for layer in range(L):
        columns, rows = (1, d) if layer == L - 1 else (d + 1, N + d)
        grams, size = (1, N * d) if N else (2 * (layer > 0), d * d)
        products += (grams + heads + p) * columns + heads * (0 if layer == L - 1 else d)
        flops += 2 * grams * size * columns + 2 * heads * d * columns * (d + columns)
        flops += 2 * p * rows * columns * (d + min(window or L, layer + 1))
    tasks = S * features.shape[-1]
    return Entry(products * tasks, flops * tasks)


@reports(_work)  # the same, whichever of the two ways is taken
def _method(
    K: Tensor, Q: Tensor, P: Tensor, features: Tensor, labels: Tensor, N: int, window: int | None
) -> tuple[Tensor, ...]:
    """From moments (N = 0) or tokens; by the kernel, where it knows the device and the kind of numbers."""
    d, window = Q.shape[-1], window or Q.shape[1]
    K = K.expand(len(Q), -1, -1, -1, N + 1, d + 1)
    given = (K, Q / N if N else Q, _with_labels(P), features, labels, N, window)
    if d <= _KERNEL_D and compiles(Q):
        return _Kernel.apply(*given)  # pyright: ignore[reportReturnType]
    return _plain(*given)


def _with_labels(P: Tensor) -> Tensor:
    """`[[P, 0], [0, 1]]`: labels pass unchanged. `(S, L, heads, d + 1, d + 1)`."""
    d = P.shape[-1]
    corner = pad(P.new_ones(1, 1), (d, 0, d, 0))
    return pad(P, (0, 1, 0, 1)) + corner


def _work_back(ctx: Any, *_: Tensor | None) -> Entry:
    """By convention the gradient of a product takes two of its size; what is computed again is not counted."""
    forward = _work(*ctx.saved_tensors, *ctx.context)
    return Entry(2 * forward.products, 2 * (forward.flops or 0))


class _Kernel(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, K: Tensor, Q: Tensor, P: Tensor, features: Tensor, labels: Tensor, N: int, window: int
    ) -> tuple[Tensor, ...]:
        from memformer.kernels.gdpp_numba import FORWARD  # only where it is needed: numba takes a second to import

        ctx.save_for_backward(K, Q, P, features, labels)
        ctx.context = N, window
        ctx.set_materialize_grads(False)
        w = Q.new_empty(len(Q), Q.shape[1], Q.shape[-1], features.shape[-1])
        given = [array(tensor) for tensor in (K, Q, P, features, labels)]
        in_threads(FORWARD[given[0].dtype.name], len(Q), features.shape[-1], *given, N, window, w.numpy())
        return w.unbind(1)

    @staticmethod
    @once_differentiable
    @reports(_work_back)
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, *grad_w: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        from memformer.kernels.gdpp_numba import BACKWARD

        K, Q, P, features, labels = ctx.saved_tensors
        n = features.shape[-1]
        shape = (len(Q), Q.shape[-1], n)
        whole = torch.stack([Q.new_zeros(shape) if grad is None else grad for grad in grad_w], 1)
        grads = [tensor.new_empty(len(Q), chunks(n), *tensor.shape[1:]) for tensor in (K, Q, P)]
        given = [array(tensor) for tensor in (K, Q, P, features, labels)]
        outs = [array(grad) for grad in grads]
        in_threads(BACKWARD[given[0].dtype.name], len(Q), n, *given, *ctx.context, array(whole), *outs)
        return (*(grad.sum(1) for grad in grads), None, None, None, None)


def prepare(dtype: torch.dtype, device: torch.device) -> None:
    """Compile the kernel, or load what this machine compiled before; otherwise the first use does."""
    one = torch.ones(1, 1, 1, 1, 1, dtype=dtype, device=device)
    w = covariate_method(one[..., None], one.requires_grad_(), one, one[0], one[0, 0])
    torch.autograd.grad(w[-1].sum(), one)


def _plain(
    K: Tensor, Q: Tensor, P: Tensor, features: Tensor, labels: Tensor, N: int, window: int
) -> tuple[Tensor, ...]:
    """What the kernel does, in operations of torch."""
    S, L, heads, d, _ = Q.shape
    n, p = features.shape[-1], K.shape[3]
    Z = torch.eye(d, d + 1, dtype=Q.dtype, device=Q.device)[..., None].expand(S, -1, -1, n)
    if N:
        context = torch.cat([features, labels.unsqueeze(2)], 2)
        Z = torch.cat([context.expand(S, -1, -1, -1), Z], 1)
        # Unit vectors share the last token's weights.
        K = torch.cat([K[..., :N, :], K[..., N:, :].expand(*K.shape[:-2], d, -1)], 4)
    iterates, registers = [], []
    for layer in range(L):
        # What the last layer does to covariates and to the context is read nowhere, so it is not computed.
        rows, columns = (slice(N, None), slice(d, None)) if layer == L - 1 else (slice(None), slice(None))
        if N:
            gram = task_product(Z[:, :N, :d].transpose(1, 2), Z[:, :N, columns])
        elif layer == 0:
            gram = torch.cat([features, labels.unsqueeze(2)], 2)[:, :, columns]
        else:
            change = task_product(features, Z[:, :, columns])
            gram = task_product(
                Z[:, :, :d].transpose(1, 2), change + pad(labels[:, :, None], (0, 0, change.shape[2] - 1, 0))
            )
        seen = from_right(from_left(Q[:, layer], gram[:, None]), P[:, layer, :, columns, columns].mT)
        if heads > p:
            seen = seen.sum(1, keepdim=True)
        registers.append(torch.stack([task_product(Z[:, rows, :d], seen[:, q]) for q in range(p)], 1))
        Z = Z[:, rows, columns]
        for source in range(max(0, layer + 1 - window), layer + 1):
            weights = K[:, layer, source, :, rows, columns, None]
            Z = Z + (weights * registers[source][:, :, -Z.shape[1] :, -Z.shape[2] :]).sum(1)
        iterates.append(-Z[:, -d:, -1])
    return tuple(iterates)
