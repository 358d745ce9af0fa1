"""What the learned methods share: layers that report their products, and networks of them."""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn

from memformer.ledger import Entry, reports


@reports(lambda layer, vectors: Entry(vectors.shape[:-1].numel()))
def linear(layer: nn.Linear, vectors: Tensor) -> Tensor:
    """A linear layer on vectors `(..., n)`: a matrix-vector product each."""
    return layer(vectors)


class Mlp(nn.Module):
    """Linear layers with GELU between them, of the last of which all numbers are 0 at the start.

    Args:
        sizes: of the input, of what is hidden, and of the output.
    """

    def __init__(self, *sizes: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(n, m) for n, m in pairwise(sizes))
        silence(self.layers[-1])

    def forward(self, vectors: Tensor) -> Tensor:
        for layer in self.layers[:-1]:
            vectors = nn.functional.gelu(linear(layer, vectors))
        return linear(self.layers[-1], vectors)


def silence(layer: nn.Module) -> None:
    """Let a layer give 0 until it is trained."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
