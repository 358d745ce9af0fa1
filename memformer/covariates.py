"""The kernel of models with P free (GD++): covariates change from layer to layer. Its gradient is written by hand.

The state is `Z = [M | -w]`, what d unit vectors have become as tokens: covariates `M`, labels `-w`. A layer adds up its
own and past registers,

    Z_{l+1} = Z_l + sum_{j<=l} K[l, j] R_j,        R = M Q M^T [H M | r] [[P^T, 0], [0, 1]],        r = b - H w,

summed over heads. All of it is kept transposed, `(d + 1, d)`, with tasks last; recorded by autograd operation by
operation it would take twice as long.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from memformer.products import multiply


def covariate_method(
    K: Tensor, Q: Tensor, P: Tensor, H: Tensor, b: Tensor, window: int | None = None
) -> tuple[Tensor, ...]:
    """`w` after every layer, all S models and all tasks at once; differentiable in `K`, `Q` and `P`.

    Args:
        K: `(S, c, L, L, p)` weights of registers, target layer before source; only j <= l is read. c is 1, or d + 1
            for a weight for each feature; p is 1, or `heads` for registers of each head.
        Q: `(S, L, heads, d, d)`.
        P: `(S, L, heads, d, d)`.
        H: `(S, d, d, n)` symmetric, n tasks; a leading 1 broadcasts.
        b: `(S, d, n)`; likewise.
        window: only registers j > l - window are read; None reads all.

    Returns:
        `(S, d, n)` of each layer.

    Example:
        >>> one = torch.ones(1, 1, 1, 1)
        >>> K, Q = torch.eye(2).view(1, 1, 2, 2, 1), torch.full((1, 2, 1, 1, 1), -0.5)
        >>> [w.item() for w in covariate_method(K, Q, torch.zeros_like(Q), one, one[0])]
        [0.5, 0.75]
    """
    if torch.compiler.is_compiling():
        return _run(_Unrolled(K, window), Q, P, H, b)[0]
    return _CovariateMethod.apply(K, Q, P, H, b, window)  # pyright: ignore[reportReturnType]


class _Layer(NamedTuple):
    """What a layer leaves for the backward pass; the last layer has the row of labels alone, nobody reads its others.

    Attributes:
        Z: `(S, d + 1, d, n)` its state: covariates, then `-w`.
        N: `(S, d + 1, d, n)` `[H M | r]`, transposed.
        A: `(S, d + 1, d, n)` `M^T [H M | r]`, transposed.
        V: `(S, heads, d + 1, d, n)` `Q M^T [H M | r]`, transposed.
        B: `(S, p, d + 1, d, n)` the same times `[[P^T, 0], [0, 1]]`; the register is `M` times that.
    """

    Z: Tensor
    N: Tensor
    A: Tensor
    V: Tensor
    B: Tensor


class _CovariateMethod(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, K: Tensor, Q: Tensor, P: Tensor, H: Tensor, b: Tensor, window: int | None
    ) -> tuple[Tensor, ...]:
        memory = _Memory(K, window, _registers(K, Q, b))
        w, layers = _run(memory, Q, P, H, b)
        ctx.save_for_backward(K, Q, P, H, b, memory.registers, *(tensor for layer in layers for tensor in layer))
        ctx.window = window
        ctx.set_materialize_grads(False)
        return w

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, *grad_w: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        K, Q, P, H, b, registers, *saved = ctx.saved_tensors
        (S, L, heads, d, _), size = Q.shape, len(_Layer._fields)
        memory = _Memory(K, ctx.window, registers)
        slope = _Memory(K.new_zeros(K.shape), ctx.window, torch.zeros_like(registers))
        P = _with_labels(P)
        grad_Q, grad_P = torch.zeros_like(Q), torch.zeros_like(P)
        grad_Z = slope.registers.new_zeros(S, d + 1, d, b.shape[-1])
        for layer in reversed(range(L)):
            Z, N, A, V, B = saved[size * layer : size * (layer + 1)]
            rows, M = _rows(layer, L, d), Z[:, :d]
            own = grad_w[layer]
            if own is not None:  # where only the last iterate is judged, no other has a gradient of its own
                grad_Z[:, d] -= own
            memory.backward(layer, grad_Z, slope)
            grad_R = slope.register(layer)[:, :, rows]
            grad_B = multiply(grad_R.flatten(1, 2), M.transpose(1, 2)).view_as(B) if layer else grad_R
            grad_V = grad_B = grad_B.expand(-1, heads, -1, -1, -1)
            if layer < L - 1:
                flat = grad_B.flatten(3)
                grad_P[:, layer] = flat @ V.flatten(3).mT
                grad_V = (P[:, layer].mT @ flat).view_as(V)
            grad_Q[:, layer] = (grad_V @ A[:, None].mT).sum(2)
            if layer == 0:
                break
            grad_A = (Q[:, layer, :, None].mT @ grad_V).sum(1)
            grad_Z[:, rows] += multiply(multiply(grad_A, M), H)
            grad_Z[:, :d] += multiply(B.flatten(1, 2).transpose(1, 2), grad_R.flatten(1, 2))
            grad_Z[:, :d] += multiply(grad_A.transpose(1, 2), N)
        return slope.K, grad_Q, grad_P[..., :d, :d], None, None, None


def _run(
    memory: _Memory | _Unrolled, Q: Tensor, P: Tensor, H: Tensor, b: Tensor
) -> tuple[tuple[Tensor, ...], list[_Layer]]:
    """Iterates, and what the layers leave."""
    S, L, heads, d, _ = Q.shape
    unit = torch.eye(d, dtype=H.dtype, device=H.device)[..., None]
    Z = torch.cat([unit, unit.new_zeros(1, d, 1)]).expand(S, -1, -1, b.shape[-1]).contiguous()
    iterates, layers = [], []
    P = _with_labels(P)
    for layer in range(L):
        rows = _rows(layer, L, d)
        if layer:
            N = multiply(Z[:, rows], H)
            N[:, -1] += b
            A = multiply(N, Z[:, :d].transpose(1, 2))
        else:
            N = A = torch.cat([H, b[:, None]], 1)[:, rows]
        V = Q[:, layer, :, None] @ A[:, None]
        B = V if layer == L - 1 else (P[:, layer] @ V.flatten(3)).view_as(V)
        if heads > memory.p:
            B = B.sum(1, keepdim=True)
        R = multiply(B.flatten(1, 2), Z[:, :d]).view_as(B) if layer else B
        layers.append(_Layer(Z, N, A, V, B))
        Z = memory.step(layer, Z, R)
        iterates.append(-Z[:, -1])
    return tuple(iterates), layers


def _with_labels(P: Tensor) -> Tensor:
    """`[[P, 0], [0, 1]]`: labels pass unchanged. `(S, L, heads, d + 1, d + 1)`."""
    d = P.shape[-1]
    whole = torch.nn.functional.pad(P, (0, 1, 0, 1))
    whole[..., d, d] = 1.0
    return whole


def _rows(layer: int, layers: int, d: int) -> slice:
    """Rows of the transposed state that a layer needs: of the last one nobody reads what it does to covariates."""
    return slice(d if layer == layers - 1 else 0, None)


def _start(layer: int, window: int | None) -> int:
    """The first register that a layer reads."""
    return 0 if window is None else max(0, layer + 1 - window)


def _registers(K: Tensor, Q: Tensor, b: Tensor) -> Tensor:
    """Room for all of them, `(S, c, L, p, (d + 1) / c, d, n)`: with weights for each feature, features come first."""
    (S, c, L, _, p), d = K.shape, Q.shape[-1]
    return Q.new_empty(S, c, L, p, (d + 1) // c, d, b.shape[-1])


class _Memory:
    """Weights and registers, side by side, so that a layer's sum over its past is one product."""

    def __init__(self, K: Tensor, window: int | None, registers: Tensor) -> None:
        self.K, self.window, self.registers = K, window, registers
        self.c, self.p = K.shape[1], K.shape[-1]

    def register(self, layer: int) -> Tensor:
        """`(S, p, d + 1, d, n)`, a view."""
        return self.registers[:, :, layer].movedim(2, 1).flatten(2, 3)

    def step(self, layer: int, Z: Tensor, R: Tensor) -> Tensor:
        """Keep a register and return the next state, of the rows that it has."""
        self.register(layer)[:, :, -R.shape[2] :].copy_(R)
        weights, past = self._past(layer, R.shape[2])
        rows = Z[:, -R.shape[2] :].reshape(len(past), 1, -1)
        return torch.baddbmm(rows, weights, past).view(len(Z), R.shape[2], *Z.shape[2:])

    def backward(self, layer: int, grad_Z: Tensor, slope: _Memory) -> None:
        """Add to the gradients of weights and registers what the state after this layer hands back."""
        last = layer == self.K.shape[2] - 1
        height = 1 if last else grad_Z.shape[1]
        weights, past = self._past(layer, height)
        grad_weights, grad_past = slope._past(layer, height)
        grad = grad_Z[:, -height:].reshape(len(past), 1, -1)
        grad_weights.copy_(grad @ past.mT)
        grad_past.baddbmm_(weights.mT, grad)

    def _past(self, layer: int, height: int) -> tuple[Tensor, Tensor]:
        """Weights `(S c, 1, k)` of the registers that a layer reads, and their last `height` rows `(S c, k, ...)`."""
        start = _start(layer, self.window)
        weights, registers = self.K[:, :, layer, start : layer + 1], self.registers[:, :, start : layer + 1]
        if height == 1:
            weights, registers = weights[:, -1:], registers[:, -1:, :, :, -1:]
        return weights.flatten(2).flatten(0, 1)[:, None], registers.flatten(4).flatten(2, 3).flatten(0, 1)


class _Unrolled:
    """The same from plain operations, which `torch.compile` fuses."""

    def __init__(self, K: Tensor, window: int | None) -> None:
        self.K, self.window, self.p = K, window, K.shape[-1]
        self.kept: list[Tensor] = []

    def step(self, layer: int, Z: Tensor, R: Tensor) -> Tensor:
        """Keep a register and return the next state, of the rows that it has."""
        self.kept.append(R)
        height, Z = R.shape[2], Z[:, -R.shape[2] :]
        for source in range(_start(layer, self.window), layer + 1):
            weight = self.K[:, -height:, layer, source].mT[..., None, None]
            Z = Z + (weight * self.kept[source][:, :, -height:]).sum(1)
        return Z
