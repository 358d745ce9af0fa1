"""Mixtures of experts: Memformers trained on one component each, joined as gated heads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from memformer.core.modes import learns
from memformer.core.problem import Problem, TaskSource
from memformer.model.config import MemformerConfig
from memformer.model.forward import Output, forward, forward_paired
from memformer.training.recipe import ProgressCallback, Recipe
from memformer.training.train import train


@dataclass(frozen=True, eq=False)
class Mixture:
    """Experts as the heads of one Memformer.

    Attributes:
        config: of the whole, with a gate and memory weights for every head.
        parameters: one model, or one for each task of the problem it was adapted to.
    """

    config: MemformerConfig
    parameters: dict[str, Tensor]

    @property
    def gates(self) -> Tensor:
        """`(S, heads)`."""
        return self.parameters["gates"]

    def __call__(self, problem: Problem) -> Output:
        """Weights `(depth + 1, B, d)` and predictions `(depth + 1, B, q)` after every layer."""
        if len(self.gates) > 1:
            return forward_paired(self.config, self.parameters, problem)
        weights, predictions = forward(self.config, self.parameters, problem)
        return Output(None if weights is None else weights[:, 0], predictions[:, 0])


@learns
def train_experts(
    config: MemformerConfig,
    components: Sequence[TaskSource],
    seed: int = 0,
    recipe: Recipe | None = None,
    progress: ProgressCallback | None = None,
) -> Mixture:
    """Train one expert for each component of a law, all as one batch, and join them with equal gates.

    Args:
        config: of one expert: one head, no gates.
        components: training tasks of each component, alike in N, d, dtype and device.
        seed: of the random start, which all experts share.
        recipe: how to train.
        progress: called now and then.

    Raises:
        TrainingError: if an expert never trained.

    Source: Dutta & Sra, arXiv 2410.07263, section 4.3.
    """
    _require_expert(config)
    trained = train(config, components, [config.depth], [seed] * len(components), recipe, progress=progress)
    return assemble(config, trained.parameters)


def assemble(config: MemformerConfig, experts: Mapping[str, Tensor], gates: Tensor | None = None) -> Mixture:
    """Join experts: `Z_{l+1} = Z_l + sum_h g_h T_{l,h}`, with `T_{l,h}` what expert h's memory makes of its attention.

    Args:
        config: of one expert: one head, no gates.
        experts: H models of that config.
        gates: `(H,)`; None is 1/H each.

    Returns:
        A mixture of H heads. With one gate 1 and the others 0 it is that expert.

    Raises:
        ValueError: if the config is not of a single expert, or parameters do not fit.

    Example:
        >>> config = MemformerConfig(d=1, depth=1, preconditioner="scalar")
        >>> assemble(config, {"Q": torch.tensor([[[-1.0]], [[-3.0]]])}).parameters["Q"].tolist()
        [[[-1.0, -3.0]]]
    """
    _require_expert(config)
    heads = config.check(experts)
    joined = {}
    for name, tensor in experts.items():
        if name in ("Q", "P"):
            joined[name] = tensor[:, :, 0].movedim(0, 1)[None]
        else:
            # Heads come after the layers: two dimensions of them where weights belong to pairs of layers.
            joined[name] = tensor.movedim(0, tensor.ndim - len(config.gamma_shape) - 1)[None]
    if gates is None:
        gates = torch.full_like(experts["Q"].flatten()[:heads], 1 / heads)
    joined["gates"] = gates[None]
    whole = replace(config, heads=heads, gates="shared", gamma_per_head=config.memory != "none")
    whole.check(joined)
    return Mixture(whole, joined)


def _require_expert(config: MemformerConfig) -> None:
    if config.heads != 1 or config.gates != "none":
        raise ValueError(f"an expert has one head and no gates; this config has heads={config.heads}, {config.gates!r}")
