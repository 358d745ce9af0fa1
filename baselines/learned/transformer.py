"""Transformers that read a context as tokens: softmax or ReLU attention, layers of their own or one layer looped."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from baselines.learned.parts import linear
from memformer.core.checks import require_choice, store_ints
from memformer.core.objective import Objective
from memformer.ledger import matmul
from memformer.solvers.learned import LearnedSolver


@dataclass(frozen=True)
class Transformer(LearnedSolver):
    """A Transformer with layer norm before attention and before a network of one hidden layer; a readout a layer.

    Tokens are `(x_i, y_i)` of the context and `(x, 0)` of the query points, which are marked. All of them look at the
    context alone, so how many queries there are changes no answer. What is read out at a query token after layer k is
    the prediction after k steps. Looped, one layer is applied again and again, with the first tokens added each time.

    Attributes:
        width: of tokens; twice that in the hidden layer.
        heads: of attention, a divisor of the width.
        attention: `"softmax"`, or `"relu"`: scores below 0 count nothing, the others their value divided by N.
        looped: whether all layers are the same.

    Needs: the law (training tasks of it).
    Cost: with N + q tokens, `(N + q)(4 + 2 h)` matrix-vector products or so a layer with h heads, of which most are of
        m² numbers for width m.
    Parameters: 34,820 for d = 5, width 32 and 4 layers; 8,897 looped.
    Source: Garg et al., What can Transformers learn in-context?, arXiv 2208.01066; von Oswald et al., arXiv 2212.07677;
        ReLU: Bai et al., arXiv 2306.04637; looped: Yang et al., arXiv 2311.12424. Theirs are decoders of 12 layers and
        256 numbers a token that predict at every prefix, x and y tokens of their own; ours read x and y in one token,
        predict for a whole context, and have a readout at every layer.
    """

    width: int = 32
    heads: int = 4
    attention: Literal["softmax", "relu"] = "softmax"
    looped: bool = False
    iterations: int = 1000
    batch: int = 64
    learning_rate: float = 2e-3

    nested: ClassVar[bool] = True
    version: ClassVar[int] = 2
    serves: ClassVar[type[Objective]] = Objective

    def __post_init__(self) -> None:
        super().__post_init__()
        store_ints(self, "width", "heads", least=1)
        require_choice("attention", self.attention, ("softmax", "relu"))
        if self.width % self.heads:
            raise ValueError(f"heads is {self.heads}; it must be a divisor of the width, {self.width}")

    @property
    def repeats(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride] -- read on instances
        """Whether one layer is applied again and again."""
        return self.looped

    def build(self, d: int, N: int, steps: int) -> nn.Module:
        return _Transformer(self, d, steps)


class _Transformer(nn.Module):
    def __init__(self, of: Transformer, d: int, steps: int) -> None:
        super().__init__()
        self.steps, self.looped, number = steps, of.looped, 1 if of.looped else steps
        self.embed = nn.Linear(d + 1, of.width)
        self.mark = nn.Parameter(torch.zeros(of.width))
        self.layers = nn.ModuleList(_Layer(of.width, of.heads, of.attention) for _ in range(number))
        self.norms = nn.ModuleList(nn.LayerNorm(of.width) for _ in range(number))
        self.readouts = nn.ModuleList(nn.Linear(of.width, 1) for _ in range(number))

    def forward(self, X: Tensor, y: Tensor, x_query: Tensor) -> Tensor:
        context = linear(self.embed, torch.cat([X, y[..., None]], -1))
        query = linear(self.embed, torch.cat([x_query, torch.zeros_like(x_query[..., :1])], -1)) + self.mark
        first = context, query
        predictions = []
        for k in range(self.steps):
            number = 0 if self.looped else k
            if self.looped and k > 0:
                context, query = context + first[0], query + first[1]
            context, query = self.layers[number](context, query, last=k + 1 == self.steps)
            predictions.append(linear(self.readouts[number], self.norms[number](query))[..., 0])
        return torch.stack(predictions)


class _Layer(nn.Module):
    def __init__(self, width: int, heads: int, attention: str) -> None:
        super().__init__()
        self.heads, self.attention = heads, attention
        self.before_attention, self.before_network = nn.LayerNorm(width), nn.LayerNorm(width)
        self.ask, self.tell = nn.Linear(width, width), nn.Linear(width, 2 * width)
        self.join = nn.Linear(width, width)
        self.widen, self.narrow = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)

    def forward(self, context: Tensor, query: Tensor, last: bool) -> tuple[Tensor, Tensor]:
        """Tokens of the context `(B, N, m)` and of the queries `(B, q, m)`, which alone matter in the last layer."""
        N = context.shape[1]
        tokens = query if last else torch.cat([context, query], 1)
        told = linear(self.tell, self.before_attention(context)).unflatten(-1, (2, self.heads, -1))
        keys, values = told.permute(2, 0, 3, 1, 4)
        asked = linear(self.ask, self.before_attention(tokens)).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        scores = matmul(asked, keys.mT) / keys.shape[-1] ** 0.5
        weights = scores.softmax(-1) if self.attention == "softmax" else scores.relu() / N
        tokens = tokens + linear(self.join, matmul(weights, values).transpose(1, 2).flatten(2))
        hidden = nn.functional.gelu(linear(self.widen, self.before_network(tokens)))
        tokens = tokens + linear(self.narrow, hidden)
        return (context, tokens) if last else (tokens[:, :N], tokens[:, N:])
