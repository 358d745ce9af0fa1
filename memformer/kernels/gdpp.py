"""The kernel of models with P free (GD++): covariates change from layer to layer.

The state is `Z = [M | -w]`, what d unit vectors have become as tokens: covariates `M`, labels `-w`. A layer adds up its
own and past registers,

    Z_{l+1} = Z_l + sum_{j<=l} K[l, j] R_j,        R = M Q M^T [H M | r] [[P^T, 0], [0, 1]],        r = b - H w,

summed over heads. With memory weights for each token moments do not suffice; then the tokens of the context are part
of the state, and `M^T [H M | r]` is a mean over them. With P = 0 only labels move. Tasks are last in every array.

On a CPU all of it is one compiled function with a gradient of its own (`memformer.kernels.gdpp_numba`), and so is the
loss that training asks for; elsewhere, while `torch.compile` is at work or numba must not compile, and where somebody
asks for gradients of tasks, the same in plain operations (`memformer.kernels.gdpp_plain`).
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
from memformer.kernels.gdpp_plain import Given, plain_layers
from memformer.kernels.judge import Judge, no_judge
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
    return _method(_given(weights, H, b, 0))


def token_method(weights: Weights, X: Tensor, y: Tensor) -> tuple[Tensor, ...]:
    """The same from N tokens, `X` `(G, N, d, n)` and `y` `(G, N, n)`: for weights of each token, and for P = 0 too.

    Unit vectors are queries, which share the last token's weights. All else is as for `covariate_method`.

    Example:
        >>> one = torch.ones(1, 1, 1, 1)
        >>> K, Q = one[..., None, None], torch.full((1, 1, 1, 1, 1), -0.5)
        >>> [w.item() for w in token_method(Weights(K, Q, None), one, one[0])]
        [0.5]
    """
    return _method(_given(weights, X, y, X.shape[1]))


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
    given = _given(weights, features, labels, features.shape[1] if tokens else 0)
    return _Loss.apply(*given, judge)  # pyright: ignore[reportReturnType]


def _given(weights: Weights, features: Tensor, labels: Tensor, N: int) -> Given:
    K, Q, P, window = weights
    L, heads, d = Q.shape[1:4]
    if features.shape[2] != d:  # a compiled function would not notice
        raise ValueError(f"tasks have d = {features.shape[2]}; these layers are of d = {d}")
    with uncounted():  # parameters alone, once for all tasks
        K = K[..., -1:] if P is None else K.expand(*K.shape[:-1], d + 1)
        K = K.expand(len(Q), -1, -1, -1, N + 1, -1)
        P = Q.new_empty(len(Q), L, heads, 0, 0) if P is None else _with_labels(P)
        return Given(K, Q / N if N else Q, P, features, labels, N, window or L)


def _work(given: Given) -> Entry:
    """In each layer, a product of each column of `[H M | r]` with H, `M^T`, Q, P (covariates alone) and M.

    The first layer knows `[H M | r] = [H | b]` and its product with `M^T`; of the last one only the label is read. From
    tokens, one product with the context's covariates stands for those with H and `M^T`. Where covariates are fixed
    there is one column, and M is the context's, for there unit vectors have theirs already.
    """
    (S, L, heads, d), N = given.Q.shape[:4], given.N
    fixed, p, products, flops = given.P.shape[-1] == 0, given.K.shape[3], 0, 0
    for layer in range(L):
        last = layer == L - 1
        columns, rows, moved = 1 if last or fixed else d + 1, d if last else N + d, 0 if last or fixed else d
        multiplied = 0 if last and fixed else N if fixed else rows
        grams, size = (1, N * d) if N else (2 * (layer > 0), d * d)
        products += (grams + heads + (p if multiplied else 0)) * columns + heads * moved
        flops += 2 * grams * size * columns + 2 * heads * d * columns * (d + (0 if fixed else columns))
        flops += 2 * p * columns * (multiplied * d + rows * min(given.window, layer + 1))
    tasks = S * given.features.shape[-1]
    return Entry(products * tasks, flops * tasks)


@reports(_work)  # the same, whichever of the two ways is taken
def _method(given: Given) -> tuple[Tensor, ...]:
    """From moments (N = 0) or tokens; by the kernel, where it knows the device and the kind of numbers."""
    of_tasks = torch.is_grad_enabled() and (given.features.requires_grad or given.labels.requires_grad)
    if given.Q.shape[-1] > _KERNEL_D or of_tasks or not compiles(given.Q):
        return plain_layers(given)
    return _Kernel.apply(*given)  # pyright: ignore[reportReturnType]


def _with_labels(P: Tensor) -> Tensor:
    """`[[P, 0], [0, 1]]`: labels pass unchanged. `(S, L, heads, d + 1, d + 1)`."""
    d = P.shape[-1]
    corner = pad(P.new_ones(1, 1), (d, 0, d, 0))
    return pad(P, (0, 1, 0, 1)) + corner


def _work_back(ctx: Any, *_: Tensor | None) -> Entry:
    """By convention the gradient of a product takes two of its size; what is computed again is not counted."""
    forward = _work(Given(*ctx.saved_tensors, *ctx.numbers))
    return Entry(2 * forward.products, 2 * (forward.flops or 0))


class _Kernel(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *given: Any) -> tuple[Tensor, ...]:
        from memformer.kernels.gdpp_numba import FORWARD  # only where it is needed: numba takes a second to import

        ctx.save_for_backward(*given[:5])
        ctx.numbers = given[5:]
        ctx.set_materialize_grads(False)
        Q, n, arrays = given[1], given[3].shape[-1], Given(*given).arrays()
        w = Q.new_empty(len(Q), Q.shape[1], Q.shape[-1], n)
        in_threads(FORWARD[arrays[0].dtype.name], len(Q), n, *arrays, w.numpy())
        return w.unbind(1)

    @staticmethod
    @once_differentiable
    @reports(_work_back)
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, *grad_w: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        given = Given(*ctx.saved_tensors, *ctx.numbers)
        S, d, n = len(given.Q), given.Q.shape[-1], given.features.shape[-1]
        whole = torch.stack([given.Q.new_zeros(S, d, n) if grad is None else grad for grad in grad_w], 1)
        grads, _ = _adjoint(given, whole, no_judge(1, d, whole))
        return (*grads, None, None, None, None)


class _Loss(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *arguments: Any) -> Tensor:
        given, judge = Given(*arguments[:-1]), arguments[-1]
        needed = any(ctx.needs_input_grad[:3])
        nothing = given.Q.new_empty(*given.Q.shape[:2], given.Q.shape[-1], 0)
        grads, losses = _adjoint(given, nothing, judge.arrays(), needed)
        if needed:
            ctx.save_for_backward(*grads)
        return losses / judge.counted

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        own = (grad.view(-1, *[1] * (tensor.ndim - 1)) * tensor for tensor in ctx.saved_tensors)
        return (*own, None, None, None, None, None)


def _adjoint(
    given: Given, grad_w: Tensor, judge: tuple[np.ndarray, ...], needed: bool = True
) -> tuple[list[Tensor], Tensor]:
    """Gradients of K, Q and P, where needed, and the sum of losses `(S,)`, where somebody judges."""
    from memformer.kernels.gdpp_numba import ADJOINT

    S, n, arrays = len(given.Q), given.features.shape[-1], given.arrays()
    grads = [tensor.new_empty(S if needed else 0, chunks(n), *tensor.shape[1:]) for tensor in given[:3]]
    losses = given.Q.new_empty(S, chunks(n))
    written = [array(tensor) for tensor in (*grads, losses)]
    in_threads(ADJOINT[arrays[0].dtype.name], S, n, *arrays, array(grad_w), judge, *written)
    return [grad.sum(1) for grad in grads], losses.sum(1)


@cache
def prepare(dtype: torch.dtype, device: torch.device, fits: bool = True) -> None:
    """Compile the kernel, or load what this machine compiled before; otherwise the first use does.

    Args:
        dtype: of the tasks.
        device: of the tasks.
        fits: whether its gradient will be asked for too, which takes longer to compile.
    """
    one = torch.ones(1, 1, 1, 1, 1, dtype=dtype, device=device)
    Q = one.clone().requires_grad_(fits)
    weights = Weights(one[..., None], Q, one)
    if serves(weights):
        (w,) = covariate_method(weights, one[0], one[0, 0])
        if fits:
            torch.autograd.grad(w.sum(), Q)
