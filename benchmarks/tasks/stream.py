"""A stream of tasks of one law, drawn in blocks, each with a seed of its own; and what stands in for one."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from benchmarks.tasks.importance import Sampling, stretched, stretches_to
from benchmarks.tasks.randomness import make_generator
from memformer.core.checks import require_int
from memformer.core.objective import Objective
from memformer.core.problem import Prior, Problem, TaskSource

if TYPE_CHECKING:
    from benchmarks.tasks.law import Draw, Law, Purpose

BLOCK_NUMBERS = 2**18
"""A block of tasks holds about this many numbers; tasks are drawn and seeded a block at a time."""

MAX_BLOCK = 256
"""No block holds more tasks than this."""

_TASKS, _NOISE, _STRETCHES = 0, 1, 2
"""Last number of the key of a block's generators: label noise has its own, and so have the factors of importance
sampling, so that both ways of drawing share all other numbers."""


class TaskStream:
    """Tasks of one law under one seed and purpose: a `memformer.core.problem.TaskSource`.

    Tasks are drawn on the CPU in float64, in blocks that are seeded one by one: the first n tasks do not
    depend on how many more are asked for, nor on the sizes of the requests, the dtype or the device. Label
    noise has its own seeds, so laws that differ only in `noise_std` share everything else.

    Drawn by importance sampling (see `benchmarks.tasks.importance`), tasks have `weights`.

    Attributes:
        d, N: covariate dimension and context length.

    Raises:
        ValueError: if the law cannot be drawn so.
    """

    def __init__(
        self,
        law: Law,
        seed: int,
        purpose: Purpose,
        dtype: torch.dtype,
        device: torch.device | str,
        draw: Sampling = "plain",
    ) -> None:
        self.seed = require_int("seed", seed, least=0)
        if draw == "importance" and not law.gaussian_covariates:
            name = law.metadata.name
            raise ValueError(f"importance sampling needs linear labels of Gaussian covariates, which {name!r} has not")
        self.draw: Sampling = draw
        self.law = law.under(self.seed, purpose)
        self.d, self.N, self._source = self.law.d, self.law.N, self.law.drawn
        self.purpose = purpose
        self.dtype = dtype
        self.device = torch.device(device)
        self.block_size = max(1, min(MAX_BLOCK, BLOCK_NUMBERS // (max(self._source.N, law.d) * law.d)))
        self._next_block = 0
        self._left: dict[str, np.ndarray] | None = None

    @property
    def noise_var(self) -> float:
        """Variance of the label noise."""
        return self.law.noise_var

    @property
    def objective(self) -> Objective:
        """See `Law.objective`."""
        return self.law.objective

    @property
    def second_moment(self) -> Tensor:
        """`E[x x^T]` over all tasks of the law, `(d, d)`, in the stream's dtype and on its device."""
        return self._second_moment

    @cached_property
    def _second_moment(self) -> Tensor:
        return self.law.second_moment.to(self.dtype).to(self.device)

    @property
    def whitens_to_isotropic(self) -> bool:
        """See `Law.whitens_to_isotropic`."""
        return self.law.whitens_to_isotropic

    def prior(self, X: Tensor) -> Prior | None:
        """See `Law.prior`."""
        return self.law.prior(X)

    def validation(self) -> TaskStream:
        """Tasks to choose by among what was fitted, of the same law and seed; the same ones at every call."""
        return self.law.stream(self.seed, type(self.purpose).VALIDATION, self.dtype, self.device)

    def spread(self, width: float) -> TaskSource:
        """The same tasks from the first on, spread over rare ones if covariates are Gaussian; see `SpreadStream`."""
        plain = self.law.stream(self.seed, self.purpose, self.dtype, self.device)
        if width > 1 and self.law.whitens_to_isotropic and self.d <= self.N:
            return SpreadStream(plain, width, self.seed, int(self.purpose))
        return plain

    def sample(self, batch: int) -> Problem:
        """The next `batch >= 1` tasks."""
        require_int("batch", batch, least=1)
        dtype = np.float32 if self.dtype is torch.float32 else np.float64
        arrays: dict[str, np.ndarray] = {}
        filled = 0
        while filled < batch:
            block = self._left or self._draw_block()
            arrays = arrays or {name: np.empty((batch, *part.shape[1:]), dtype) for name, part in block.items()}
            taken = min(batch - filled, len(block["X"]))
            for name, part in block.items():
                arrays[name][filled : filled + taken] = part[:taken]
            self._left = {name: part[taken:] for name, part in block.items()} if taken < len(block["X"]) else None
            filled += taken
        known = sent({name: torch.from_numpy(array).to(self.dtype) for name, array in arrays.items()}, self.device)
        if self.law.synthetic:  # of real rows nobody knows it
            known.setdefault("second_moment", self.second_moment)
        noise_var = self.noise_var if self.law.synthetic else None
        return Problem(**known, noise_var=noise_var, objective=self.objective)  # type: ignore[arg-type]

    def _draw_block(self) -> dict[str, np.ndarray]:
        """The next block, by attribute of `Problem`; second moments only where the tasks have their own."""
        keys = ((int(self.purpose), self._next_block, kind) for kind in (_TASKS, _NOISE, _STRETCHES))
        tasks, noises, stretches = (make_generator(self.seed, *key) for key in keys)
        self._next_block += 1
        drawn, weights = self._source.draw(self.block_size, tasks), None
        if self.draw == "importance":
            moment = self.law.second_moment.numpy() if drawn.second_moment is None else drawn.second_moment
            X, weights = stretched(drawn.X, moment, stretches)
            drawn = dataclasses.replace(drawn, X=X)
        y, y_query = _labels(drawn)
        if self.law.noise_std > 0:
            y += self.law.noise_std * noises.standard_normal(y.shape)
            y_query += self.law.noise_std * noises.standard_normal(y_query.shape)
        X, y = drawn.X[:, : self.N], y[:, : self.N]
        block = {"X": X, "y": y, "x_query": drawn.x_query, "y_query": y_query, "w_star": drawn.w_star}
        block |= {"second_moment": drawn.second_moment, "weights": weights}
        return {name: part for name, part in block.items() if part is not None}


def sent(tensors: dict[str, Tensor], device: torch.device) -> dict[str, Tensor]:
    """Tensors of the CPU, alike in dtype, on a device: in one copy, each then in memory of its own."""
    if device.type == "cpu":
        return tensors
    together = torch.cat([tensor.flatten() for tensor in tensors.values()]).to(device)
    parts = together.split([tensor.numel() for tensor in tensors.values()])
    return {name: part.view(one.shape).clone() for (name, one), part in zip(tensors.items(), parts, strict=True)}


class StandIn(ABC):
    """Other tasks in place of those of a stream: a `TaskSource` that tells of the law what the stream tells.

    A subclass says in `sample` which tasks, and hides what they must not tell. Its `d` and `N` are the stream's.
    """

    def __init__(self, stream: TaskSource) -> None:
        self._stream = stream
        self.d, self.N = stream.d, stream.N

    @property
    def noise_var(self) -> float:
        """Variance of the label noise."""
        return self._stream.noise_var

    @property
    def objective(self) -> Objective:
        """That of its tasks."""
        return self._stream.objective

    @property
    def second_moment(self) -> Tensor:
        """`E[x x^T]` over all tasks of the law, `(d, d)`."""
        return self._stream.second_moment

    @property
    def whitens_to_isotropic(self) -> bool:
        """False: what is fitted here is fitted to these tasks, not to the exact moments of their law."""
        return False

    def prior(self, X: Tensor) -> Prior | None:
        """See `Law.prior`."""
        return self._stream.prior(X)

    @property
    def kernel(self) -> Callable[[Tensor, Tensor], Tensor] | None:
        """See `benchmarks.tasks.kernels.KernelLaw`; None where the law states none."""
        return getattr(self._stream, "kernel", None)

    def validation(self) -> TaskSource:
        """The very same tasks: there are no others."""
        return self

    def spread(self, width: float) -> TaskSource:
        """Itself: the tasks are what they are."""
        return self

    @abstractmethod
    def sample(self, batch: int) -> Problem:
        """The next `batch` tasks."""


class SpreadStream(StandIn):
    """A stream whose contexts are stretched (see `benchmarks.tasks.importance`): a `memformer.core.problem.TaskSource`.

    Args:
        plain: the stream; its covariates are Gaussian, and its tasks share one second moment.
        width: the largest factor on a largest eigenvalue, 1 or more.
        seed: of the factors.
        purpose: number of the stream's purpose.
    """

    def __init__(self, plain: TaskSource, width: float, seed: int, purpose: int) -> None:
        super().__init__(plain)
        self._width, self._generator = width, make_generator(seed, purpose, _STRETCHES)

    def validation(self) -> TaskSource:
        """Spread likewise."""
        return self._stream.validation().spread(self._width)

    def sample(self, batch: int) -> Problem:
        """The next tasks, with `weights`."""
        problem = self._stream.sample(batch)
        plain = problem.X.cpu().double().numpy()
        covariance = self.second_moment.cpu().double().numpy()
        X, weights = stretched(plain, covariance, self._generator, stretches_to(self._width))
        change = torch.from_numpy(np.ascontiguousarray(X - plain)).to(problem.X)
        y = problem.y
        if problem.w_star is not None:
            y = y + (change @ problem.w_star[..., None])[..., 0]
        return dataclasses.replace(problem, X=problem.X + change, y=y, weights=torch.from_numpy(weights).to(problem.X))


def _labels(drawn: Draw) -> tuple[np.ndarray, np.ndarray]:
    """Labels `(B, N)` of the contexts and `(B, q)` of the queries, without the noise that a law adds."""
    if drawn.y is not None and drawn.y_query is not None:
        return drawn.y, drawn.y_query
    if drawn.w_star is None:
        raise ValueError("a law drew tasks with neither w_star nor labels y and y_query")
    columns = drawn.w_star[:, :, None]
    return (drawn.X @ columns)[:, :, 0], (drawn.x_query @ columns)[:, :, 0]
