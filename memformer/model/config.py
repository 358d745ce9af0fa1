"""The parts a Memformer is put together from: attention, memory, memory weights, heads and gates."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, get_args

from torch import Tensor

from memformer.core.checks import require_choice, store_ints

Memory = Literal["none", "conjugate", "first_order"]
Preconditioner = Literal["scalar", "full"]
GammaShape = Literal["scalar", "feature", "token"]
GammaSharing = Literal["none", "past", "all"]
Gates = Literal["none", "shared", "layer"]
Attention = Literal["linear", "softmax", "relu"]

_CHOICES = {
    "memory": Memory,
    "preconditioner": Preconditioner,
    "gamma": GammaShape,
    "gamma_sharing": GammaSharing,
    "gates": Gates,
    "attention": Attention,
}


@dataclass(frozen=True, kw_only=True)
class MemformerConfig:
    """What a Memformer is made of; checked on construction.

    A layer adds up its heads' attention `Attn(Z) = (1/N) (Z Q' Z^T) M (Z P'^T)` and passes it through memory:

    * `none`:         `Z_{l+1} = Z_l + Attn(Z_l)`
    * `conjugate`:    `R_l = Attn(Z_l) + gamma_l R_{l-1}`, `Z_{l+1} = Z_l + alpha_l R_l`
    * `first_order`:  `R_l = Attn(Z_l)`, `Z_{l+1} = Z_l + sum_{j<=l} Gamma_j^l R_j`

    Attributes:
        d: covariate dimension.
        depth: number of layers.
        memory: which of the three.
        preconditioner: `Q` is a number times the identity (`"scalar"`), or any d×d matrix (`"full"`).
        covariate_update: whether `P` is free (a GD++ model), so that layers change covariates too; else `P = 0`.
        gamma: a memory weight is a number, a vector over the d + 1 features, or an `(N + 1, d + 1)` array over
            tokens and features (all query points share the last row).
        gamma_sharing: first-order memory: `"none"`, a weight for each pair of layers j <= l; `"past"`, weights
            `Gamma_j` that all later layers share, and 1 for the layer's own register; `"all"`, shared weights,
            the own register's included.
        gamma_per_head: whether each head has memory weights, and so registers, of its own.
        window: first-order memory: keep the last `window` registers only, the layer's own included.
        heads: number of attention heads.
        gates: weights of the heads' attention: all 1 (`"none"`), one a head (`"shared"`), one a layer and head.
        attention: `"linear"` as above; `"softmax"` puts `softmax(Z Q' Z^T)` over the context, and `"relu"`
            `relu(Z Q' Z^T)/N`, in its place. Their weights are never negative, so to descend they need gates or
            memory weights that are.
        num_tokens: context length N, for token-shaped memory weights.

    Raises:
        ValueError: if a value is out of its range, or a combination makes no sense.

    Source: Dutta & Sra, arXiv 2410.07263, equations 9-17; GD++: von Oswald et al., arXiv 2212.07677.

    Example:
        >>> MemformerConfig(d=5, depth=4, memory="first_order").shapes()
        {'Q': (4, 1, 5, 5), 'gamma': (4, 4)}
        >>> MemformerConfig(d=5, depth=4, window=2)
        Traceback (most recent call last):
        ValueError: window=2 needs memory='first_order'; memory='none' keeps no registers to choose from
    """

    d: int
    depth: int
    memory: Memory = "none"
    preconditioner: Preconditioner = "full"
    covariate_update: bool = False
    gamma: GammaShape = "scalar"
    gamma_sharing: GammaSharing = "none"
    gamma_per_head: bool = False
    window: int | None = None
    heads: int = 1
    gates: Gates = "none"
    attention: Attention = "linear"
    num_tokens: int | None = None

    def __post_init__(self) -> None:
        given = (name for name in ("window", "num_tokens") if getattr(self, name) is not None)
        store_ints(self, "d", "depth", "heads", *given, least=1)
        for name, choice in _CHOICES.items():
            require_choice(name, getattr(self, name), get_args(choice))
        for wrong, sentence in self._contradictions():
            if wrong:
                raise ValueError(sentence)

    def _contradictions(self) -> Iterator[tuple[bool, str]]:
        memory, no_pairs, token = f"memory={self.memory!r}", self.memory != "first_order", self.gamma == "token"
        kept = "keeps no registers to choose from" if self.memory == "none" else "keeps one register"
        needs = f"needs memory='first_order'; {memory}"
        yield no_pairs and self.window is not None, f"window={self.window} {needs} {kept}"
        sharing = f"gamma_sharing={self.gamma_sharing!r}"
        yield no_pairs and self.gamma_sharing != "none", f"{sharing} {needs} has no pairs of layers"
        for name, given in (("gamma", self.gamma != "scalar"), ("gamma_per_head", self.gamma_per_head)):
            value = getattr(self, name)
            yield given and self.memory == "none", f"{name}={value!r} needs memory weights; {memory} has none"
        missing = "gamma='token' needs num_tokens, the context length N its arrays are made for"
        yield token and self.num_tokens is None, missing
        free = f"is for gamma='token'; with gamma={self.gamma!r} any context length fits"
        yield not token and self.num_tokens is not None, f"num_tokens={self.num_tokens} {free}"

    @property
    def reducible(self) -> bool:
        """Whether the form of `memformer.model.from_moments` is exact: linear attention, no token-shaped weights."""
        return self.attention == "linear" and self.gamma != "token"

    @property
    def gamma_shape(self) -> tuple[int, ...]:
        """Shape of one memory weight."""
        if self.gamma == "scalar":
            return ()
        if self.gamma == "feature":
            return (self.d + 1,)
        assert self.num_tokens is not None
        return (self.num_tokens + 1, self.d + 1)

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of each parameter of one model; `memformer.model.forward.forward` takes S models, stacked in front.

        `Q`, `P`: `(depth, heads[, d, d])`. `gates`: `([depth,] heads)`. `alpha` and, for conjugate or shared
        weights, `gamma`: `(depth[, heads], ...)`; `gamma` of first-order memory, target layer before source:
        `(depth, depth[, heads], ...)`.
        """
        layers, matrix = (self.depth, self.heads), (self.d, self.d)
        weight = (self.heads,) * self.gamma_per_head + self.gamma_shape
        shapes: dict[str, tuple[int, ...]] = {"Q": layers + matrix * (self.preconditioner == "full")}
        if self.covariate_update:
            shapes["P"] = layers + matrix
        if self.memory == "conjugate":
            shapes["alpha"] = shapes["gamma"] = (self.depth, *weight)
        if self.memory == "first_order":
            pairs = (self.depth,) * (2 if self.gamma_sharing == "none" else 1)
            shapes["gamma"] = (*pairs, *weight)
        if self.gates != "none":
            shapes["gates"] = layers if self.gates == "layer" else (self.heads,)
        return shapes

    def check(self, parameters: dict[str, Tensor] | Any) -> int:
        """Number of models S that `parameters` holds.

        Raises:
            ValueError: if a parameter is missing, unknown, or of a shape that does not fit.
        """
        shapes = self.shapes()
        if set(parameters) != set(shapes):
            raise ValueError(f"parameters are {sorted(parameters)}; this Memformer has {sorted(shapes)}")
        models = parameters["Q"].shape[:1]
        for name, shape in shapes.items():
            if tuple(parameters[name].shape) != (*models, *shape):
                wanted = ("S", *shape)
                raise ValueError(f"{name} has shape {tuple(parameters[name].shape)}; this Memformer needs {wanted}")
        return models[0]
