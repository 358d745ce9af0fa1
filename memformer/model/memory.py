"""Memory registers: how a layer combines the attention of past layers, whatever the attention is stored as."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from memformer.kernels.gdpp import Weights
from memformer.ledger import combine, uncounted
from memformer.model.attention import as_matrix, gated_preconditioners
from memformer.model.config import MemformerConfig

Part = Callable[[Tensor], Tensor]
"""Brings memory weights `(S[, heads], *gamma_shape)` to a shape that multiplies one part of a register."""


class Registers:
    """The memory of one forward pass.

    A register is a tuple of tensors, of `(S, ...)` each (`(S, heads, ...)` with `gamma_per_head`): the token array, or
    the labels of the context and those of the unit vectors.

    Args:
        config: which memory.
        parameters: S models, as `MemformerConfig.shapes` says.
        parts: for each tensor of a register, how memory weights multiply it.
    """

    def __init__(self, config: MemformerConfig, parameters: Mapping[str, Tensor], parts: Sequence[Part]) -> None:
        self.config = config
        self.parameters = parameters
        self.parts = parts
        self._kept: list[tuple[Tensor, ...]] = []
        self._past: tuple[Tensor, ...] | None = None

    def step(self, layer: int, attention: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """What layer number `layer` adds to the state, given its attention; heads are summed, `(S, ...)` each."""
        if self.config.memory == "none":
            return attention
        if self.config.memory == "conjugate":
            step = self._conjugate(layer, attention)
        elif self.config.gamma_sharing == "none" or self.config.window is not None:
            step = self._first_order(layer, attention)
        else:
            step = self._shared(layer, attention)
        return tuple(part.sum(1) for part in step) if self.config.gamma_per_head else step

    def _scale(self, weight: Tensor, register: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return tuple(part(weight) * tensor for part, tensor in zip(self.parts, register, strict=True))

    def _conjugate(self, layer: int, attention: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        if self._past is not None:
            attention = _add(attention, self._scale(self.parameters["gamma"][:, layer], self._past))
        self._past = attention
        return self._scale(self.parameters["alpha"][:, layer], attention)

    def _first_order(self, layer: int, attention: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        self._kept = [*self._kept, attention]
        if self.config.window is not None:
            self._kept = self._kept[-self.config.window :]
        first = layer + 1 - len(self._kept)
        if self.config.gamma == "scalar" and self.config.gamma_sharing == "none" and not self.config.gamma_per_head:
            # One product in place of a scaled sum over registers.
            weights = self.parameters["gamma"][:, layer, None, first : layer + 1]
            past = [torch.stack(parts, 1) for parts in zip(*self._kept, strict=True)]
            return tuple(combine(weights, part.flatten(2)).view_as(part[:, 0]) for part in past)
        return reduce(_add, (self._weighted(layer, *kept) for kept in enumerate(self._kept, first)))

    def _weighted(self, layer: int, source: int, register: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        gamma = self.parameters["gamma"]
        if self.config.gamma_sharing == "none":
            return self._scale(gamma[:, layer, source], register)
        if self.config.gamma_sharing == "past" and source == layer:
            return register
        return self._scale(gamma[:, source], register)

    def _shared(self, layer: int, attention: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        # Weights that do not depend on the target layer make the sum over past registers one running sum.
        scaled = self._scale(self.parameters["gamma"][:, layer], attention)
        past, self._past = self._past, scaled if self._past is None else _add(self._past, scaled)
        if self.config.gamma_sharing == "all":
            return self._past
        return attention if past is None else _add(past, attention)


def _add(left: tuple[Tensor, ...], right: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return tuple(a + b for a, b in zip(left, right, strict=True))


def memory_matrix(config: MemformerConfig, parameters: Mapping[str, Tensor], channels: bool = False) -> Tensor:
    """Weight of source layer j's attention in what target layer l adds to the labels.

    Any memory is linear, so `Z_{l+1} = Z_l + sum_{j<=l} K[l, j] Attn(Z_j)` for one lower triangle K. Conjugate
    memory solves `R_l - gamma_l R_{l-1} = Attn(Z_l)`, a bidiagonal system: `K = diag(alpha) (I - N)^{-1}`.

    Args:
        config: any; where weights are token-shaped, only those of unit vectors' labels without `channels`.
        parameters: S models.
        channels: whether to give the matrices of all tokens and features; else that of labels alone.

    Returns:
        `(S[, heads][, N + 1][, d + 1], depth, depth)`, target before source; heads with `gamma_per_head`, tokens and
        features with `channels` where weights are shaped so.
    """
    like = parameters["Q"]
    identity = torch.eye(config.depth, dtype=like.dtype, device=like.device)
    if config.memory == "none":
        return identity.expand(like.shape[0], -1, -1)
    gamma = _layers_last(config, parameters["gamma"], channels)
    if config.memory == "conjugate":
        alpha = _layers_last(config, parameters["alpha"], channels)
        return alpha[..., None] * _Recurrence.apply(gamma, identity)  # pyright: ignore[reportOperatorIssue]
    if config.gamma_sharing == "none":
        matrix = gamma.tril()
    elif config.gamma_sharing == "all":
        matrix = gamma[..., None, :].expand(*gamma.shape, config.depth).tril()
    else:
        matrix = gamma[..., None, :].expand(*gamma.shape, config.depth).tril(-1) + identity
    return matrix if config.window is None else matrix.triu(1 - config.window)


class _Recurrence(torch.autograd.Function):
    """`T = (I - N)^{-1}`, with gamma_1, gamma_2, ... below the diagonal of N; `dT = T dN T`."""

    @staticmethod
    def forward(ctx: Any, gamma: Tensor, identity: Tensor) -> Tensor:
        system = identity - torch.diag_embed(gamma[..., 1:], -1)
        kind = torch.promote_types(system.dtype, torch.float32)  # no half numbers here
        of_kind = system.to(kind), identity.to(kind)
        T = torch.linalg.solve_triangular(*of_kind, upper=False, unitriangular=True).to(system)
        ctx.save_for_backward(T)
        return T

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, grad_T: Tensor
    ) -> tuple[Tensor, None]:
        (T,) = ctx.saved_tensors
        below = (T.mT @ grad_T @ T.mT).diagonal(-1, -2, -1)
        return torch.nn.functional.pad(below, (1, 0)), None


def _layers_last(config: MemformerConfig, weights: Tensor, channels: bool) -> Tensor:
    """Heads, and tokens and features if `channels`, brought to the front of layers; else the last ones' weights."""
    shaped = len(config.gamma_shape)
    if channels and shaped:
        weights = weights.movedim(tuple(range(-shaped, 0)), tuple(range(1, shaped + 1)))
    for _ in range(0 if channels else shaped):
        weights = weights[..., -1]
    return weights.movedim(-1, 1) if config.gamma_per_head else weights


def register_weights(config: MemformerConfig, parameters: Mapping[str, Tensor], live: Tensor | None = None) -> Tensor:
    """What each layer's registers weigh in every later step, `(S, depth, depth, p, 1 or N + 1, 1 or d + 1)`.

    Target layer before source; p is the number of heads where heads have weights of their own, else 1; tokens and
    features where weights are shaped so.
    """
    K = memory_matrix(config, parameters, channels=True)
    if config.memory == "none" or not config.gamma_per_head:
        K = K[:, None]
    for _ in range(2 - len(config.gamma_shape)):
        K = K[:, :, None]
    K = K.movedim((-2, -1), (1, 2))
    return K if live is None else K * live[..., None, None, None, None]


def layer_weights(config: MemformerConfig, parameters: Mapping[str, Tensor], live: Tensor | None = None) -> Weights:
    """What `memformer.kernels.gdpp` needs of S models; heads that share registers and covariates are one head."""
    with uncounted():  # parameters alone, once for all tasks
        Q = as_matrix(config, gated_preconditioners(config, parameters))
        if not config.covariate_update and not config.gamma_per_head:
            Q = Q.sum(2, keepdim=True)
        K = register_weights(config, parameters, live)
    return Weights(K, Q, parameters["P"] if config.covariate_update else None, register_window(config))


def register_window(config: MemformerConfig) -> int | None:
    """How many past registers a layer reads: None is all of them."""
    return 1 if config.memory == "none" else config.window
