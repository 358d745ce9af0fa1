"""The kernel of models with P free (GD++): covariates change from layer to layer.

The state is `Z = [M | -w]`, what d unit vectors have become as tokens: covariates `M`, labels `-w`. A layer adds up its
own and past registers,

    Z_{l+1} = Z_l + sum_{j<=l} K[l, j] R_j,        R = M Q M^T [H M | r] [[P^T, 0], [0, 1]],        r = b - H w,

summed over heads. With memory weights for each token no moments do; then the tokens of the context are part of the
state, and `M^T [H M | r]` is a mean over them. Tasks are last in every array.

On a CPU all of it is one compiled function with a gradient of its own (`memformer.covariate_kernel`); elsewhere, and
while `torch.compile` is at work, the same in plain operations.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import pad

from memformer.products import task_product

_KERNEL_D = 64
"""Beyond so many dimensions a library's products of matrices are as fast; at half of them they take twice as long."""

_CHUNK = 512
"""Tasks of a chunk: gradients of chunks are added in order, so that no number of threads changes a digit."""


def runs_compiled(like: Tensor, d: int) -> bool:
    """Whether the kernel is the way to run models on such tasks."""
    known = like.dtype in (torch.float32, torch.float64)
    return known and like.device.type == "cpu" and d <= _KERNEL_D and not torch.compiler.is_compiling()


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
    if runs_compiled(H, Q.shape[-1]):
        return _compiled(K, Q, P, H, b, 0, window)
    return _plain(K, Q, P, H, b, window)


def token_method(
    K: Tensor, Q: Tensor, P: Tensor, X: Tensor, y: Tensor, window: int | None = None
) -> tuple[Tensor, ...]:
    """The same from tokens, for weights of each token; only where `runs_compiled`.

    Args:
        K: `(S, L, L, p, 1 or N + 1, 1 or d + 1)`; unit vectors are queries, which share the last token's weights.
        Q: as for `covariate_method`.
        P: likewise.
        X: `(S, N, d, n)`, n tasks; a leading 1 broadcasts.
        y: `(S, N, n)`; likewise.
        window: as for `covariate_method`.

    Returns:
        `(S, d, n)` of each layer.
    """
    N = X.shape[1]
    return _compiled(K, Q / N, P, X, y, N, window)


def _compiled(
    K: Tensor, Q: Tensor, P: Tensor, features: Tensor, labels: Tensor, N: int, window: int | None
) -> tuple[Tensor, ...]:
    L, d = Q.shape[1], Q.shape[-1]
    K = K.expand(len(Q), -1, -1, -1, N + 1, d + 1)
    return _Kernel.apply(K, Q, _with_labels(P), features, labels, N, window or L)  # pyright: ignore[reportReturnType]


def _with_labels(P: Tensor) -> Tensor:
    """`[[P, 0], [0, 1]]`: labels pass unchanged. `(S, L, heads, d + 1, d + 1)`."""
    d = P.shape[-1]
    corner = pad(P.new_ones(1, 1), (d, 0, d, 0))
    return pad(P, (0, 1, 0, 1)) + corner


class _Kernel(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, K: Tensor, Q: Tensor, P: Tensor, features: Tensor, labels: Tensor, N: int, window: int
    ) -> tuple[Tensor, ...]:
        from memformer import covariate_kernel  # compiles, or loads what was compiled before

        ctx.save_for_backward(K, Q, P, features, labels)
        ctx.context = N, window
        ctx.set_materialize_grads(False)
        w = Q.new_empty(len(Q), Q.shape[1], Q.shape[-1], features.shape[-1])
        given = [_array(tensor) for tensor in (K, Q, P, features, labels)]
        _in_threads(covariate_kernel.forward, len(Q), *given, N, window, w.numpy())
        return w.unbind(1)

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, *grad_w: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        from memformer import covariate_kernel

        K, Q, P, features, labels = ctx.saved_tensors
        n = features.shape[-1]
        shape = (len(Q), Q.shape[-1], n)
        whole = torch.stack([Q.new_zeros(shape) if grad is None else grad for grad in grad_w], 1)
        chunks = -(-n // _CHUNK)
        grads = [tensor.new_empty(len(Q), chunks, *tensor.shape[1:]) for tensor in (K, Q, P)]
        given = [_array(tensor) for tensor in (K, Q, P, features, labels)]
        outs = [_array(grad) for grad in grads]
        _in_threads(covariate_kernel.backward, len(Q) * chunks, *given, *ctx.context, _array(whole), *outs, chunks)
        return (*(grad.sum(1) for grad in grads), None, None, None, None)


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().contiguous().numpy()


def _in_threads(function: Callable[..., None], jobs: int, *arguments: Any) -> None:
    """Share jobs among as many threads as torch has; `function` is given the first and the end of its own."""
    threads = min(torch.get_num_threads(), jobs)
    if threads == 1:
        function(*arguments, 0, jobs)
        return
    cuts = [jobs * i // threads for i in range(threads + 1)]
    own = [_pool(threads, os.getpid()).submit(function, *arguments, *cut) for cut in pairwise(cuts)]
    for one in own:
        one.result()


@functools.cache
def _pool(threads: int, process: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads)


def _plain(K: Tensor, Q: Tensor, P: Tensor, H: Tensor, b: Tensor, window: int | None) -> tuple[Tensor, ...]:
    """The state is kept transposed, `(d + 1, d)`."""
    S, L, heads, d, _ = Q.shape
    unit = torch.eye(d, dtype=H.dtype, device=H.device)[..., None]
    Z = torch.cat([unit, unit.new_zeros(1, d, 1)]).expand(S, -1, -1, b.shape[-1])
    K, P = K.squeeze(4), _with_labels(P)
    iterates, registers = [], []
    for layer in range(L):
        # Of the last layer nobody reads what it does to covariates: it has the row of labels alone.
        height = 1 if layer == L - 1 else d + 1
        change = task_product(Z[:, -height:], H) + pad(b[:, None], (0, 0, 0, 0, height - 1, 0))
        gram = task_product(change, Z[:, :d].transpose(1, 2))
        seen = Q[:, layer, :, None] @ gram[:, None]
        B = (P[:, layer, :, -height:, -height:] @ seen.flatten(3)).view_as(seen)
        if heads > K.shape[3]:
            B = B.sum(1, keepdim=True)
        registers.append(task_product(B.flatten(1, 2), Z[:, :d]).view_as(B))
        Z = Z[:, -height:]
        for source in range(0 if window is None else max(0, layer + 1 - window), layer + 1):
            weight = K[:, layer, source, :, -height:, None, None]
            Z = Z + (weight * registers[source][:, :, -height:]).sum(1)
        iterates.append(-Z[:, -1])
    return tuple(iterates)
