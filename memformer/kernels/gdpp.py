"""The kernel of models with P free (GD++): covariates change from layer to layer.

The state is `Z = [M | -w]`, what d unit vectors have become as tokens: covariates `M`, labels `-w`. A layer adds up its
own and past registers,

    Z_{l+1} = Z_l + sum_{j<=l} K[l, j] R_j,        R = M Q M^T [H M | r] [[P^T, 0], [0, 1]],        r = b - H w,

summed over heads. With memory weights for each token moments do not suffice; then the tokens of the context are part
of the state, and `M^T [H M | r]` is a mean over them. With P = 0 only labels move. Tasks are last in every array.

On a CPU all of it is one compiled function with a gradient of its own (`memformer.kernels.gdpp_numba`), and so is the
loss that training asks for; elsewhere, while `torch.compile` is at work or numba must not compile, and where somebody
asks for gradients of tasks, the same in plain operations.
"""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import pad

from memformer.kernels.compiled import array, chunks, compiles, in_threads
from memformer.kernels.judge import Judge, no_judge
from memformer.kernels.products import from_left, from_right, per_model, task_product
from memformer.ledger import Entry, reports, uncounted

_KERNEL_D = 64
"""Beyond so many dimensions the kernel is no faster than a library's products of matrices."""


class Weights(NamedTuple):
    """What L layers of S models are made of.

    Attributes:
        K: `(S, L, L, p, 1 or N + 1, 1 or d + 1)` weights of registers, target layer before source, of tokens and
            features; only j <= l is read. p is 1, or `heads` for registers of each head.
        Q: `(S, L, heads, d, d)`.
        P: `(S, L, heads, d, d)`; None is 0, and covariates never change.
        window: only registers j > l - window are read; None reads all.
    """

    K: Tensor
    Q: Tensor
    P: Tensor | None
    window: int | None = None


def serves(weights: Weights) -> bool:
    """Whether the kernel is there for these layers."""
    return weights.Q.shape[-1] <= _KERNEL_D and compiles(weights.Q)


def covariate_method(weights: Weights, H: Tensor, b: Tensor) -> tuple[Tensor, ...]:
    """`w` after every layer, all S models and all tasks at once; differentiable in the weights.

    Args:
        weights: of one token (K has no weights of their own for tokens), with a P.
        H: `(G, d, d, n)` symmetric, n tasks. G divides S, and model s sees group `s // (S/G)`.
        b: `(G, d, n)`.

    Returns:
        `(S, d, n)` of each layer.

    Example:
        >>> one = torch.ones(1, 1, 1, 1)
        >>> K, Q = torch.eye(2).view(1, 2, 2, 1, 1, 1), torch.full((1, 2, 1, 1, 1), -0.5)
        >>> [w.item() for w in covariate_method(Weights(K, Q, torch.zeros_like(Q)), one, one[0])]
        [0.5, 0.75]
    """
    return _method(*_arguments(weights, H, 0), H, b, 0, weights.window or weights.Q.shape[1])


def token_method(weights: Weights, X: Tensor, y: Tensor) -> tuple[Tensor, ...]:
    """The same from N tokens, `X` `(G, N, d, n)` and `y` `(G, N, n)`: for weights of each token, and for P = 0 too.

    Unit vectors are queries, which share the last token's weights. All else is as for `covariate_method`.

    Example:
        >>> one = torch.ones(1, 1, 1, 1)
        >>> K, Q = one[..., None, None], torch.full((1, 1, 1, 1, 1), -0.5)
        >>> [w.item() for w in token_method(Weights(K, Q, None), one, one[0])]
        [0.5]
    """
    N = X.shape[1]
    return _method(*_arguments(weights, X, N), X, y, N, weights.window or weights.Q.shape[1])


def layers_loss(weights: Weights, features: Tensor, labels: Tensor, judge: Judge, tokens: bool = False) -> Tensor:
    """Mean loss of each of S models on its group's tasks after the last layer, `(S,)`; differentiable in the weights.

    Args:
        weights: that the kernel `serves`.
        features: H, or with `tokens` X.
        labels: b, or y.
        judge: of the last layer's w.
        tokens: which of the two methods it is.

    Example:
        >>> one = torch.ones(1, 1, 1, 1)
        >>> weights = Weights(one[..., None, None], torch.full((1, 1, 1, 1, 1), -0.5), torch.zeros(1, 1, 1, 1, 1))
        >>> layers_loss(weights, one, one[0], Judge(one[0], one[0], None, None, None)).item()
        0.25
    """
    N = features.shape[1] if tokens else 0
    given = (*_arguments(weights, features, N), features, labels, N, weights.window or weights.Q.shape[1], judge)
    return _Loss.apply(*given)  # pyright: ignore[reportReturnType]


def _arguments(weights: Weights, features: Tensor, N: int) -> tuple[Tensor, Tensor, Tensor]:
    """K, Q and P as the kernel takes them; see there."""
    K, Q, P, _ = weights
    d = Q.shape[-1]
    if features.shape[2] != d:  # a compiled function would not notice
        raise ValueError(f"tasks have d = {features.shape[2]}; these layers are of d = {d}")
    with uncounted():  # parameters alone, once for all tasks
        K = K[..., -1:] if P is None else K.expand(*K.shape[:-1], d + 1)
        K = K.expand(len(Q), -1, -1, -1, N + 1, -1)
        return K, Q / N if N else Q, Q.new_empty(*Q.shape[:3], 0, 0) if P is None else _with_labels(P)


def _work(K: Tensor, Q: Tensor, P: Tensor, features: Tensor, labels: Tensor, N: int, window: int) -> Entry:
    """In each layer, a product of each column of `[H M | r]` with H, `M^T`, Q, P (covariates alone) and M.

    The first layer knows `[H M | r] = [H | b]` and its product with `M^T`; of the last one only the label is read. From
    tokens, one product with the context's covariates stands for those with H and `M^T`. Where covariates are fixed
    there is one column, and M is the context's, for there unit vectors have theirs already.
    """
    S, L, heads, d = Q.shape[:4]
    fixed, p, products, flops = P.shape[-1] == 0, K.shape[3], 0, 0
    for layer in range(L):
        last = layer == L - 1
        columns, rows, moved = 1 if last or fixed else d + 1, d if last else N + d, 0 if last or fixed else d
        multiplied = 0 if last and fixed else N if fixed else rows
        grams, size = (1, N * d) if N else (2 * (layer > 0), d * d)
        products += (grams + heads + (p if multiplied else 0)) * columns + heads * moved
        flops += 2 * grams * size * columns + 2 * heads * d * columns * (d + (0 if fixed else columns))
        flops += 2 * p * columns * (multiplied * d + rows * min(window, layer + 1))
    tasks = S * features.shape[-1]
    return Entry(products * tasks, flops * tasks)


@reports(_work)  # the same, whichever of the two ways is taken
def _method(
    K: Tensor, Q: Tensor, P: Tensor, features: Tensor, labels: Tensor, N: int, window: int
) -> tuple[Tensor, ...]:
    """From moments (N = 0) or tokens; by the kernel, where it knows the device and the kind of numbers."""
    given = (K, Q, P, features, labels, N, window)
    of_tasks = torch.is_grad_enabled() and (features.requires_grad or labels.requires_grad)
    if Q.shape[-1] > _KERNEL_D or of_tasks or not compiles(Q):
        return _plain(*given)
    return _Kernel.apply(*given)  # pyright: ignore[reportReturnType]


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
        K, Q, P, features, labels = ctx.saved_tensors
        d, n = Q.shape[-1], features.shape[-1]
        whole = torch.stack([Q.new_zeros(len(Q), d, n) if grad is None else grad for grad in grad_w], 1)
        N, window = ctx.context
        grads, _ = _adjoint(K, Q, P, features, labels, N, window, whole, no_judge(1, d, Q))
        return (*grads, None, None, None, None)


class _Loss(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        K: Tensor,
        Q: Tensor,
        P: Tensor,
        features: Tensor,
        labels: Tensor,
        N: int,
        window: int,
        judge: Judge,
    ) -> Tensor:
        needed = any(ctx.needs_input_grad[:3])
        nothing = Q.new_empty(len(Q), Q.shape[1], Q.shape[-1], 0)
        grads, losses = _adjoint(K, Q, P, features, labels, N, window, nothing, judge.arrays(), needed)
        if needed:
            ctx.save_for_backward(*grads)
        return losses / judge.counted

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        own = (grad.view(-1, *[1] * (tensor.ndim - 1)) * tensor for tensor in ctx.saved_tensors)
        return (*own, None, None, None, None, None)


def _adjoint(
    K: Tensor,
    Q: Tensor,
    P: Tensor,
    features: Tensor,
    labels: Tensor,
    N: int,
    window: int,
    grad_w: Tensor,
    judge: tuple[np.ndarray, ...],
    needed: bool = True,
) -> tuple[list[Tensor], Tensor]:
    """Gradients of K, Q and P, where needed, and the sum of losses `(S,)`, where somebody judges."""
    from memformer.kernels.gdpp_numba import ADJOINT

    S, n = len(Q), features.shape[-1]
    grads = [tensor.new_empty(S if needed else 0, chunks(n), *tensor.shape[1:]) for tensor in (K, Q, P)]
    losses, given = Q.new_empty(S, chunks(n)), [array(tensor) for tensor in (K, Q, P, features, labels)]
    written = [array(tensor) for tensor in (*grads, losses)]
    in_threads(ADJOINT[given[0].dtype.name], S, n, *given, N, window, array(grad_w), judge, *written)
    return [grad.sum(1) for grad in grads], losses.sum(1)


@cache
def prepare(dtype: torch.dtype, device: torch.device) -> None:
    """Compile the kernel, or load what this machine compiled before; otherwise the first use does."""
    one = torch.ones(1, 1, 1, 1, 1, dtype=dtype, device=device)
    Q = one.clone().requires_grad_()
    weights = Weights(one[..., None], Q, one)
    if serves(weights):
        (w,) = covariate_method(weights, one[0], one[0, 0])
        torch.autograd.grad(w.sum(), Q)


def _plain(
    K: Tensor, Q: Tensor, P: Tensor, features: Tensor, labels: Tensor, N: int, window: int
) -> tuple[Tensor, ...]:
    """What the kernel does, in operations of torch."""
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
