"""What a regression problem is: a batch of tasks, their moments, and a source of tasks.

Its objective is normalised by the context length N. Unless a problem says otherwise (`memformer.core.objective`) it is

    f(w) = ||X w - y||^2 / (2 N),      grad f(w) = H w - b,      H = X^T X / N,  b = X^T y / N.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from memformer.core.checks import require_number
from memformer.core.objective import LEAST_SQUARES, LeastSquares, Objective
from memformer.core.tensors import factorised, moved, require_tensor
from memformer.kernels.recurrences import compiles, extreme_eigenvalues
from memformer.ledger import Entry, matmul, reports


def _vectors(matrix: Tensor, vector: Tensor) -> Entry:
    return Entry(math.prod(torch.broadcast_shapes(matrix.shape[:-2], vector.shape[:-1])))


@reports(_vectors)
def matvec(matrix: Tensor, vector: Tensor) -> Tensor:
    """Batched matrix-vector product.

    Args:
        matrix: `(..., n, m)`.
        vector: `(..., m)`, batch dimensions broadcast against those of `matrix`.

    Returns:
        `(..., n)`.

    Example:
        >>> matvec(torch.eye(2).expand(3, 2, 2), torch.ones(3, 2)).shape
        torch.Size([3, 2])
    """
    return (matrix @ vector.unsqueeze(-1)).squeeze(-1)


def dot(left: Tensor, right: Tensor) -> Tensor:
    """Inner product over the last dimension, kept as a column: `(..., d), (..., d) -> (..., 1)`."""
    return (left * right).sum(-1, keepdim=True)


class Moments(NamedTuple):
    """`H = X^T X / N`, shape `(B, d, d)`, and `b = X^T y / N`, shape `(B, d)`."""

    H: Tensor
    b: Tensor


class Spectrum(NamedTuple):
    """Smallest and largest eigenvalue `mu`, `L` of each task's Hessian, shape `(B,)` each; `mu >= 0`.

    The Hessian of least squares is `H`. Of another objective, which has one at every w, these are bounds on them all.
    """

    mu: Tensor
    L: Tensor


@dataclass(frozen=True, eq=False)
class Prior:
    """Gaussian-mixture prior of `w_star` given a context's covariates, as a task law knows it.

    Attributes:
        mean: `(C, d)`, mean of each of the C components.
        covariance: `(C, d, d)`, covariance of each component.
        log_weights: `(C,)` or `(B, C)`: log probability of the components, given `X` where it tells.
    """

    mean: Tensor
    covariance: Tensor
    log_weights: Tensor


@dataclass(frozen=True, eq=False)
class Problem:
    """A batch of B >= 1 regression tasks, with held-back queries. Two problems are equal if they are one object.

    Attributes:
        X: `(B, N, d)` context covariates.
        y: `(B, N)` context labels.
        x_query: `(B, q, d)` covariates of the held-back points.
        y_query: `(B, q)` labels of the held-back points; None where they are hidden from a solver.
        w_star: `(B, d)` true weights, where the law has them.
        second_moment: `E[x x^T]` of a query point, `(d, d)` or `(B, d, d)`, where the law knows it (the
            covariance of x, for a centred law).
        noise_var: variance of the label noise, in units of `y` squared, where the law knows it.
        weights: `(B,)`, where tasks were drawn more or less often than the law draws them: the mean over the law is
            that of weight times value.
        objective: what is to be minimised on the context, and what a prediction is judged by.

    Raises:
        ValueError: if something is no dense tensor of floating-point numbers, or a shape, dtype or device does not fit.

    Example:
        >>> p = Problem(torch.ones(2, 3, 1), torch.ones(2, 3), torch.ones(2, 1, 1))
        >>> p.B, p.N, p.d, p.moments.b.tolist()
        (2, 3, 1, [[1.0], [1.0]])
    """

    X: Tensor
    y: Tensor
    x_query: Tensor
    y_query: Tensor | None = None
    w_star: Tensor | None = None
    second_moment: Tensor | None = None
    noise_var: float | None = None
    weights: Tensor | None = None
    objective: Objective = LEAST_SQUARES

    def __post_init__(self) -> None:
        maybe = ("y_query", "w_star", "second_moment", "weights")
        optional = [name for name in maybe if getattr(self, name) is not None]
        for name in ("X", "y", "x_query", *optional):
            object.__setattr__(self, name, require_tensor(name, getattr(self, name)))
        if self.X.ndim != 3 or 0 in self.X.shape:
            raise ValueError(f"X has shape {tuple(self.X.shape)}; it must be (B, N, d), each 1 or more")
        if self.x_query.ndim != 3:
            raise ValueError(f"x_query has shape {tuple(self.x_query.shape)}; it must be (B, q, d)")
        B, N, d = self.X.shape
        q = self.x_query.shape[1]
        fitting = {"y": [(B, N)], "x_query": [(B, q, d)], "y_query": [(B, q)], "w_star": [(B, d)]}
        fitting |= {"second_moment": [(d, d), (B, d, d)], "weights": [(B,)]}
        for name in ("y", "x_query", *optional):
            tensor = getattr(self, name)
            if tuple(tensor.shape) not in fitting[name]:
                wanted = " or ".join(str(shape) for shape in fitting[name])
                shape, given = tuple(tensor.shape), tuple(self.X.shape)
                raise ValueError(f"{name} has shape {shape}; with X of shape {given} it must be {wanted}")
            kind, wanted = (tensor.dtype, tensor.device), (self.X.dtype, self.X.device)
            if kind != wanted:
                both = f"{name} is {kind[0]} on {kind[1]}; X is {wanted[0]} on {wanted[1]}"
                raise ValueError(f"{both} and they must agree")
        if self.noise_var is not None:
            require_number("noise_var", self.noise_var, least=0.0)
        for labels in (self.y, *(() if self.y_query is None else (self.y_query,))):
            self.objective.check(labels)

    @property
    def B(self) -> int:
        """Number of tasks."""
        return self.X.shape[0]

    @property
    def N(self) -> int:
        """Context length."""
        return self.X.shape[1]

    @property
    def d(self) -> int:
        """Covariate dimension."""
        return self.X.shape[2]

    @property
    def dtype(self) -> torch.dtype:
        """Floating-point type of every tensor."""
        return self.X.dtype

    @property
    def device(self) -> torch.device:
        """Device of every tensor."""
        return self.X.device

    @cached_property
    def moments(self) -> Moments:
        """`H` and `b`, computed once and kept: d + 1 products with `X^T`."""
        Xt = self.X.mT
        return Moments(matmul(Xt, self.X) / self.N, matvec(Xt, self.y) / self.N)

    @cached_property
    def spectrum(self) -> Spectrum:
        """Extreme eigenvalues of the Hessian, or bounds, computed once and kept (nan where `H` is not finite)."""
        H = self.moments.H
        finite = H.isfinite().all(-1).all(-1)
        ends = extremes(torch.where(finite[:, None, None], H, 0.0))
        ends = (torch.where(finite, values.clamp(min=0.0), torch.nan) for values in ends)
        return Spectrum(
            *(c * values + self.objective.ridge for c, values in zip(self.objective.curvature, ends, strict=True))
        )

    @property
    def is_least_squares(self) -> bool:
        """Whether its moments tell all of the objective."""
        return isinstance(self.objective, LeastSquares) and not self.objective.ridge

    def weighted(self, values: Tensor) -> Tensor:
        """Values `(..., B)` of the tasks, times their weights if they have any: the plain mean is that over the law."""
        return values if self.weights is None else values * self.weights

    def _with_tensors(self, change: Callable[[Tensor], Tensor]) -> Problem:
        given = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        changed = {name: change(value) for name, value in given.items() if isinstance(value, Tensor)}
        return dataclasses.replace(self, **changed)

    def to(self, dtype: torch.dtype | None = None, device: torch.device | str | None = None) -> Problem:
        """The same tasks in another floating-point type or on another device."""
        return self._with_tensors(lambda tensor: moved(tensor, dtype, device))

    def first(self, count: int) -> Problem:
        """The first `count` tasks."""
        return self.select(slice(count))

    def select(self, index: slice | Tensor) -> Problem:
        """Some of the tasks, by slice or by index tensor."""
        moment = self.second_moment

        def choose(tensor: Tensor) -> Tensor:
            return tensor if tensor is moment and tensor.ndim == 2 else tensor[index]

        return self._with_tensors(choose)

    def blinded(self) -> Problem:
        """What a solver may see of a scored task: the context and the query points, nothing it is judged by."""
        return Problem(self.X, self.y, self.x_query, objective=self.objective)


def extremes(H: Tensor) -> tuple[Tensor, Tensor]:
    """Smallest and largest eigenvalue of symmetric matrices `(B, d, d)` of finite numbers, `(B,)` each."""
    if compiles(H):
        return extreme_eigenvalues(H)
    values = factorised(torch.linalg.eigvalsh, H)
    return values[:, 0], values[:, -1]


SPREAD = 2.1
"""How far training tasks are spread unless there is a reason: `TaskSource.spread`. Plain draws hold so few of the tasks
that carry the mean loss from 4 steps on that what is fitted on them fits those few."""


class TaskSource(Protocol):
    """A stream of training tasks and what its law knows about all of them; what `Solver.fit` learns from."""

    @property
    def d(self) -> int:
        """Covariate dimension."""
        ...

    @property
    def N(self) -> int:
        """Context length."""
        ...

    @property
    def noise_var(self) -> float:
        """Variance of the label noise."""
        ...

    @property
    def objective(self) -> Objective:
        """That of its tasks."""
        ...

    @property
    def second_moment(self) -> Tensor:
        """`E[x x^T]` over all tasks of the law, `(d, d)`."""
        ...

    @property
    def whitens_to_isotropic(self) -> bool:
        """Whether, with S the second moment, `x ~ N(0, S)` and `w_star ~ N(0, v S^-1)` for some v, independently."""
        ...

    def sample(self, batch: int) -> Problem:
        """The next `batch` tasks, never drawn before."""
        ...

    def prior(self, X: Tensor) -> Prior | None:
        """The prior of `w_star` given context covariates `X` `(B, N, d)`; None where the law cannot state it."""
        ...

    def validation(self) -> TaskSource:
        """Other tasks of the same law, to choose by among what was fitted; the same ones at every call."""
        ...

    def spread(self, width: float) -> TaskSource:
        """The same tasks from the first on, drawn so that rare ill-conditioned ones are not rare, with `weights`.

        Largest eigenvalues are up to `width` times as large. Plain tasks where that is 1, or the law does not know the
        weights.
        """
        ...
