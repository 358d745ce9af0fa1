"""Pictures of what training found, as matplotlib `Figure`s to save or show (the extra `figures`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from benchmarks.reports.style import figure
from memformer.model.attention import as_matrix
from memformer.model.config import MemformerConfig
from memformer.model.inspect import polynomials, residual_polynomial, step_sizes, whitened
from memformer.training.recipe import History

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def plot_history(history: History, names: Sequence[str], floors: Sequence[float] | None = None) -> Figure:
    """Validation loss of each model while it trained.

    Args:
        history: of S models.
        names: S labels.
        floors: S log losses that theory gives, drawn as dashed lines.
    """
    drawn, (axes,) = figure(6, 4)
    steps = [record.step for record in history.records]
    for i, name in enumerate(names):
        loss = torch.tensor([record.validation[i] for record in history.records], dtype=torch.float64).log()
        (line,) = axes.plot(steps, loss.tolist(), label=name)
        if floors is not None:
            axes.axhline(floors[i], color=line.get_color(), linestyle="--", linewidth=1)
    axes.set(xlabel=f"training step ({history.method})", ylabel="log validation loss")
    axes.legend()
    return drawn


def plot_preconditioners(
    config: MemformerConfig, parameters: Mapping[str, Tensor], second_moment: Tensor, N: int, model: int = 0
) -> Figure:
    """Each layer's whitened Q, in units of the closed form `-N/(N+1+d)`; the best single layer is the identity.

    Args:
        config: of the models.
        parameters: S models.
        second_moment: Sigma of the law, `(d, d)`.
        N: context length.
        model: which of the S.
    """
    Q = whitened(as_matrix(config, parameters["Q"].detach()[model : model + 1]), second_moment)[0].sum(1)
    relative = (Q / (-N / (N + 1 + config.d))).cpu()
    largest = relative.abs().max().item()
    drawn, all_axes = figure(2.4 * config.depth + 0.8, 2.8, config.depth)
    images = [
        axes.imshow(matrix.tolist(), cmap="PuOr", vmin=-largest, vmax=largest)
        for axes, matrix in zip(all_axes, relative, strict=True)
    ]
    for layer, axes in enumerate(all_axes):
        axes.set(title=f"layer {layer + 1}", xticks=[], yticks=[])
    drawn.colorbar(images[0], ax=all_axes, label="whitened Q / closed form")
    return drawn


def plot_polynomial(
    config: MemformerConfig,
    parameters: Mapping[str, Tensor],
    eigenvalues: Tensor,
    optimal: Tensor | None = None,
    second_moment: Tensor | None = None,
    model: int = 0,
) -> Figure:
    """The residual polynomial `1 - lambda p(lambda)` of a model with P = 0, over the spectrum it has to work on.

    Args:
        config: see `memformer.model.inspect.step_sizes`.
        parameters: S models.
        eigenvalues: of many tasks' H (whitened, where `second_moment` is given), any shape; drawn as a histogram.
        optimal: `(depth,)` coefficients of the best polynomial.
        second_moment: Sigma, for full Q.
        model: which of the S.
    """
    spectrum = eigenvalues.flatten().cpu()
    grid = torch.linspace(0, spectrum.quantile(0.999).item() if len(spectrum) < 2**24 else spectrum.max().item(), 400)
    grid = grid.to(spectrum)
    learned = polynomials(step_sizes(config, parameters, second_moment))[model, -1].to(grid)
    drawn, (axes,) = figure(6, 4)
    axes.axhline(0, color="0.8", linewidth=1)
    axes.plot(grid.tolist(), residual_polynomial(learned, grid).tolist(), label="learned")
    if optimal is not None:
        axes.plot(grid.tolist(), residual_polynomial(optimal.to(grid), grid).tolist(), "--", label="optimal")
    axes.set(xlabel="eigenvalue of H", ylabel="residual polynomial", ylim=(-1.1, 1.1), xlim=(0, grid[-1].item()))
    axes.legend()
    density = axes.twinx()
    density.hist(spectrum.tolist(), bins=80, range=(0, grid[-1].item()), density=True, color="0.85", zorder=0)
    density.set(yticks=[], ylabel="spectrum")
    axes.set_zorder(density.get_zorder() + 1)
    axes.patch.set_visible(False)
    return drawn
