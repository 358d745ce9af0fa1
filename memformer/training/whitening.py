"""The coordinates training moves in: flat vectors, in which the law's covariates look white."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from memformer.core.problem import TaskSource
from memformer.core.roots import symmetric_roots
from memformer.core.tensors import factorised
from memformer.model.config import MemformerConfig

_RELATIVE_RANK = 1e-10
"""Directions whose second moment is below this share of the largest are not stretched further."""


class Coordinates:
    """Flat vectors `theta` `(S, n)` and the parameters they stand for.

    With `Sigma = E[x x^T]` of a model's law, `Q = Sigma^{-1/2} Q~ Sigma^{-1/2}` and `P = Sigma^{1/2} P~ Sigma^{-1/2}`
    (a scalar `Q = q~ d / tr Sigma`): a model in these coordinates is a model of whitened covariates, whose best `Q~` is
    near a multiple of the identity however badly Sigma is conditioned. It is a change of variables, not of the model.

    Args:
        config: which parameters there are.
        second_moments: `(S, d, d)`, each model's Sigma; None leaves the parameters as they are.
    """

    def __init__(self, config: MemformerConfig, second_moments: Tensor | None) -> None:
        self.config = config
        self.shapes = config.shapes()
        self.sizes = [torch.Size(shape).numel() for shape in self.shapes.values()]
        self.scale = self.root = self.inverse_root = None
        if second_moments is None:
            return
        if config.preconditioner == "scalar":
            self.scale = config.d / second_moments.diagonal(dim1=-2, dim2=-1).sum(-1)[:, None, None]
        if config.preconditioner == "full" or config.covariate_update:
            # They multiply matrices `(S, depth, heads, d, d)`.
            self.root, self.inverse_root = symmetric_roots(second_moments[:, None, None], _RELATIVE_RANK)

    def of(self, rows: Tensor) -> Coordinates:
        """Those of the models in `rows` `(S',)`."""
        found = Coordinates(self.config, None)
        for name in ("scale", "root", "inverse_root"):
            own = getattr(self, name)
            setattr(found, name, None if own is None else own[rows])
        return found

    def parameters(self, theta: Tensor) -> dict[str, Tensor]:
        """The parameters that `theta` `(S, n)` stands for; differentiable."""
        parts = theta.split(self.sizes, 1)
        found = {name: part.view(-1, *shape) for (name, shape), part in zip(self.shapes.items(), parts, strict=True)}
        if self.scale is not None:
            found["Q"] = found["Q"] * self.scale
        if self.root is not None and self.inverse_root is not None:
            if self.scale is None:
                found["Q"] = self.inverse_root @ found["Q"] @ self.inverse_root
            if "P" in found:
                found["P"] = self.root @ found["P"] @ self.inverse_root
        return found

    def theta(self, parameters: Mapping[str, Tensor]) -> Tensor:
        """The flat vectors of given parameters: the inverse of `parameters`."""
        found = dict(parameters)
        if self.scale is not None:
            found["Q"] = found["Q"] / self.scale
        if self.root is not None and self.inverse_root is not None:
            if self.scale is None:
                found["Q"] = self.root @ found["Q"] @ self.root
            if "P" in found:
                found["P"] = self.inverse_root @ found["P"] @ self.root
        return torch.cat([found[name].flatten(1) for name in self.shapes], 1)


def coordinates_of(config: MemformerConfig, sources: Sequence[TaskSource], members: int, whiten: bool) -> Coordinates:
    """Coordinates for `members` models of each source."""
    if not whiten:
        return Coordinates(config, None)
    return Coordinates(config, torch.stack([source.second_moment for source in sources]).repeat_interleave(members, 0))


def initial_theta(
    coordinates: Coordinates, step_sizes: Tensor, generators: Sequence[torch.Generator], noise: float
) -> Tensor:
    """Where training starts: gradient descent, `Q_l = -step_sizes[l] I`, with memory that is not used yet.

    Args:
        coordinates: which parameters there are; the start is near the identity in them.
        step_sizes: `(S, depth)`; their dtype and device are the parameters'.
        generators: of each model's random deviations, on the CPU.
        noise: their standard deviation, relative to the step size for Q; they let heads differ, and seeds.

    Returns:
        `(S, n)`.
    """
    config, parts = coordinates.config, []
    for name, shape in coordinates.shapes.items():
        deviation = noise * _normal(shape, generators, step_sizes)
        value = _start(config, name, deviation) + deviation
        if name == "Q":
            value = value * step_sizes.view(*step_sizes.shape, *[1] * (len(shape) - 1)) / config.heads
        parts.append(value.flatten(1))
    return torch.cat(parts, 1)


def random_theta(
    coordinates: Coordinates, generators: Sequence[torch.Generator], scale: float, memory_scale: float, like: Tensor
) -> Tensor:
    """A random start: entries of Q and P from `N(0, scale^2 / d)`, memory that is hardly used yet.

    Args:
        coordinates: which parameters there are.
        generators: of each model's numbers, on the CPU.
        scale: of Q and P; also of a scalar Q, which is not divided by the root of d.
        memory_scale: standard deviation of what memory weights and gates deviate by.
        like: gives dtype and device.

    Returns:
        `(S, n)`.
    """
    config, parts = coordinates.config, []
    for name, shape in coordinates.shapes.items():
        normal = _normal(shape, generators, like)
        matrix = name in ("Q", "P") and len(shape) == 4
        value = (memory_scale if name not in ("Q", "P") else scale / config.d**0.5 if matrix else scale) * normal
        parts.append((value if name == "Q" else value + _start(config, name, normal)).flatten(1))
    return torch.cat(parts, 1)


def _normal(shape: Sequence[int], generators: Sequence[torch.Generator], like: Tensor) -> Tensor:
    """Independent standard normals of each model, `(S, ...)`, of the dtype and on the device of `like`."""
    drawn = [torch.randn(*shape, generator=generator, dtype=torch.float64, device="cpu") for generator in generators]
    return torch.stack(drawn).to(like)


def _start(config: MemformerConfig, name: str, like: Tensor) -> Tensor:
    """The start of one parameter, `(S, ...)`, without its deviation and step size."""
    if name == "Q":
        if config.preconditioner == "scalar":
            return -torch.ones_like(like)
        return -torch.eye(config.d, dtype=like.dtype, device=like.device).expand_as(like)
    if name in ("gates", "alpha"):
        return torch.ones_like(like)
    start = torch.zeros_like(like)
    if name == "gamma" and config.memory == "first_order":
        if config.gamma_sharing == "all":
            return torch.ones_like(like)
        if config.gamma_sharing == "none":
            for layer in range(config.depth):
                start[:, layer, layer] = 1.0
    return start


def chebyshev_steps(
    coordinates: Coordinates, contexts: Tensor, depths: Sequence[int], depth: int, margin: float = 1.0
) -> Tensor:
    """Step sizes of gradient descent with the best minimax polynomial for the mean spectrum, `(S, depth)`.

    From equal steps, a symmetric point, models without memory train twice as long.

    Args:
        coordinates: those of training.
        contexts: `(S, B, d, d)` moments H of some tasks.
        depths: S numbers of layers; step sizes beyond them do not matter.
        depth: the largest.
        margin: factor on the mean largest eigenvalue, for laws whose tasks lie far from the mean.
    """
    return minimax_steps(mean_spectrum(coordinates, contexts), depths, depth, margin)


def mean_spectrum(coordinates: Coordinates, contexts: Tensor) -> Tensor:
    """Mean eigenvalues of the Hessians that training sees, ascending, `(S, d)`; see `chebyshev_steps`."""
    if coordinates.inverse_root is not None and coordinates.scale is None:
        inverse_root = coordinates.inverse_root[:, 0]
        contexts = inverse_root @ contexts @ inverse_root
    elif coordinates.scale is not None:
        contexts = contexts * coordinates.scale[..., None]
    return factorised(torch.linalg.eigvalsh, contexts).mean(1)


def minimax_steps(values: Tensor, depths: Sequence[int], depth: int, margin: float = 1.0) -> Tensor:
    """The step sizes of `chebyshev_steps`, `(S, depth)`, given `mean_spectrum`."""
    mu, L = values[:, :1], margin * values[:, -1:]
    number = torch.tensor(list(depths), device=values.device)[:, None]
    layer = torch.arange(depth, device=values.device).clamp(max=number - 1)
    angle = torch.pi * (2 * layer + 1).to(values) / (2 * number)
    return 2 / (L + mu + (L - mu) * angle.cos())
