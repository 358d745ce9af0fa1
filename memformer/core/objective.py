"""What a problem asks to be minimised: a mean of losses of linear predictors, each loss defined once.

    f(w) = sum_i loss(x_i^T w, y_i) / N + ridge ||w||^2 / 2

Whatever is said of an objective here is for all tasks of a problem at once. Where weights are `(B, d, R)`, each task
has R of them, as columns: one product serves them all.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from memformer.core.checks import require_number
from memformer.core.gaussian_means import mean_entropy, mean_logistic_derivative, mean_softplus
from memformer.ledger import matmul

if TYPE_CHECKING:
    from memformer.core.problem import Problem


@dataclass(frozen=True)
class Objective(ABC):
    """A convex loss of the linear predictor `eta = x^T w` and the label.

    A subclass defines the loss and its two derivatives in `eta`; what a method asks of f follows from them. What tells
    how good a prediction is, `error`, need not be what f averages: least squares average half of the squared error.

    Attributes:
        ridge: at least 0, in units of the loss over w squared.

    Class attributes:
        name: for tables and messages.
        curvature: the least and the largest second derivative of the loss in `eta`.
        linear_prediction: whether the best prediction is `x^T w` for some w. If not, weights are judged as predictions
            are, at the queries.

    Raises:
        ValueError: if `ridge` is negative or not finite.
    """

    ridge: float = 0.0

    name: ClassVar[str]
    curvature: ClassVar[tuple[float, float]]
    linear_prediction: ClassVar[bool] = True

    def __post_init__(self) -> None:
        require_number("ridge", self.ridge, least=0.0)

    @abstractmethod
    def loss(self, eta: Tensor, y: Tensor) -> Tensor:
        """What f averages, of predictors and labels of one shape."""

    @abstractmethod
    def derivative(self, eta: Tensor, y: Tensor) -> Tensor:
        """Its derivative in `eta`."""

    @abstractmethod
    def second_derivative(self, eta: Tensor, y: Tensor) -> Tensor:
        """Its second derivative in `eta`."""

    def mean(self, eta: Tensor) -> Tensor:
        """Expected label where the predictor is that of the true weights."""
        return eta

    def check(self, y: Tensor) -> None:  # noqa: B027 - any label will do, unless an objective says otherwise
        """Raise ValueError unless these can be labels."""

    def error(self, eta: Tensor, y: Tensor) -> Tensor:
        """What a prediction `eta` is judged by where the label is y."""
        return self.loss(eta, y)

    @abstractmethod
    def excess(self, w: Tensor, w_star: Tensor, second_moment: Tensor) -> Tensor:
        """Expected error of w at a query beyond that of the true weights, given `x ~ N(0, second_moment)`.

        Args:
            w: `(..., B, d)`.
            w_star: `(B, d)`.
            second_moment: `(d, d)` or `(B, d, d)`.

        Returns:
            `(..., B)`, at least 0 but for rounding.
        """

    @abstractmethod
    def irreducible(self, w_star: Tensor, second_moment: Tensor, noise_var: float) -> Tensor | float:
        """Expected error of the true weights, `(B,)` or one number for all tasks."""

    def value(self, problem: Problem, w: Tensor) -> Tensor:
        """The objective f at w `(B, d)`: `(B,)`."""
        eta = _product(problem.X, w)
        return self.loss(eta, problem.y).mean(-1) + self.ridge / 2 * w.square().sum(-1)

    def gradient(self, problem: Problem, w: Tensor) -> Tensor:
        """Of f at w `(B, d)`: two products, with X and with its transpose."""
        return self.gradients(problem, w[..., None])[..., 0]

    def gradients(self, problem: Problem, w: Tensor) -> Tensor:
        """Of f at each column of w `(B, d, R)`."""
        slope = self.derivative(matmul(problem.X, w), problem.y[..., None])
        return matmul(problem.X.mT, slope) / problem.N + self.ridge * w

    def hessian_product(self, problem: Problem, w: Tensor, v: Tensor) -> Tensor:
        """The Hessian of f at w times v, `(B, d)` each: three products."""
        curved = self.second_derivative(_product(problem.X, w), problem.y)
        return _product(problem.X.mT, curved * _product(problem.X, v)) / problem.N + self.ridge * v

    def hessian(self, problem: Problem, w: Tensor) -> Tensor:
        """Of f at w `(B, d)`: `(B, d, d)`, in 1 + d products."""
        curved = self.second_derivative(_product(problem.X, w), problem.y)
        hessian = matmul(problem.X.mT, curved[..., None] * problem.X) / problem.N
        return hessian + self.ridge * torch.eye(problem.d, dtype=hessian.dtype, device=hessian.device)


@dataclass(frozen=True)
class SquaredErrors(Objective):
    """An objective whose predictions are judged by the squared error."""

    def error(self, eta: Tensor, y: Tensor) -> Tensor:
        return (eta - y).square()

    def excess(self, w: Tensor, w_star: Tensor, second_moment: Tensor) -> Tensor:
        """`(w - w_star)^T E[x x^T] (w - w_star)`, whatever the law of x."""
        error = w - w_star
        return (error * apply_metric(second_moment, error)).sum(-1)

    def irreducible(self, w_star: Tensor, second_moment: Tensor, noise_var: float) -> float:
        return noise_var


@dataclass(frozen=True)
class LeastSquares(SquaredErrors):
    """`loss = (eta - y)^2 / 2`, judged by the squared error. With the moments `H` and `b`, `grad f(w) = H w - b`.

    Everything it is asked for comes from the moments, which are formed once, unless `ridge` is above 0.

    Example:
        >>> LeastSquares().derivative(torch.tensor(3.0), torch.tensor(1.0)).item()
        2.0
    """

    name: ClassVar[str] = "least squares"
    curvature: ClassVar[tuple[float, float]] = (1.0, 1.0)

    def loss(self, eta: Tensor, y: Tensor) -> Tensor:
        return (eta - y).square() / 2

    def derivative(self, eta: Tensor, y: Tensor) -> Tensor:
        return eta - y

    def second_derivative(self, eta: Tensor, y: Tensor) -> Tensor:
        return torch.ones_like(eta)

    def gradient(self, problem: Problem, w: Tensor) -> Tensor:
        """`H w - b`: one product."""
        H, b = problem.moments
        return _product(H, w) - b + self.ridge * w if self.ridge else _product(H, w) - b

    def gradients(self, problem: Problem, w: Tensor) -> Tensor:
        H, b = problem.moments
        found = matmul(H, w) - b[..., None]
        return found + self.ridge * w if self.ridge else found

    def hessian_product(self, problem: Problem, w: Tensor, v: Tensor) -> Tensor:
        """`H v`: one product."""
        found = _product(problem.moments.H, v)
        return found + self.ridge * v if self.ridge else found

    def hessian(self, problem: Problem, w: Tensor) -> Tensor:
        """`H`."""
        H = problem.moments.H
        return H + self.ridge * torch.eye(problem.d, dtype=H.dtype, device=H.device) if self.ridge else H


@dataclass(frozen=True)
class Logistic(Objective):
    """`loss = log(1 + e^eta) - y eta`: minus the log likelihood of labels y in {0, 1} with `P(y = 1) = 1/(1 + e^-eta)`.

    With `ridge = 1/(N v)` the minimiser of f is the maximum a posteriori for weights `N(0, v I)`.

    Source: McCullagh & Nelder, Generalized Linear Models, 1989, section 4.

    Example:
        >>> round(Logistic().loss(torch.tensor(0.0), torch.tensor(1.0)).item(), 4)
        0.6931
    """

    name: ClassVar[str] = "logistic"
    curvature: ClassVar[tuple[float, float]] = (0.0, 0.25)
    linear_prediction: ClassVar[bool] = False

    def loss(self, eta: Tensor, y: Tensor) -> Tensor:
        return torch.nn.functional.softplus(eta) - y * eta

    def derivative(self, eta: Tensor, y: Tensor) -> Tensor:
        return torch.sigmoid(eta) - y

    def second_derivative(self, eta: Tensor, y: Tensor) -> Tensor:
        chance = torch.sigmoid(eta)
        return chance * (1 - chance)

    def mean(self, eta: Tensor) -> Tensor:
        return torch.sigmoid(eta)

    def check(self, y: Tensor) -> None:
        if bool(((y < 0) | (y > 1)).any()):
            raise ValueError("labels of logistic regression must be from 0 to 1")

    def excess(self, w: Tensor, w_star: Tensor, second_moment: Tensor) -> Tensor:
        """The divergence of the predicted from the true chances, at a Gaussian query.

        With `u = x^T w`, `v = x^T w_star`, `E[loss] = E log(1 + e^u) - Cov(u, v) E s'(v)` (Stein's lemma), s the
        logistic function: two integrals over one Gaussian each.
        """
        size, true_size = _size(w, second_moment), _size(w_star, second_moment)
        covariance = (w * apply_metric(second_moment, w_star)).sum(-1)
        return mean_softplus(size) - covariance * mean_logistic_derivative(true_size) - mean_entropy(true_size)

    def irreducible(self, w_star: Tensor, second_moment: Tensor, noise_var: float) -> Tensor:
        """The entropy of a label, at a Gaussian query."""
        return mean_entropy(_size(w_star, second_moment))


@dataclass(frozen=True)
class Huber(SquaredErrors):
    """`loss = (eta - y)^2 / 2` up to `|eta - y| = threshold`, a line of the same slope beyond: robust regression.

    Attributes:
        threshold: above 0, in units of y.

    Source: Huber, Ann. Math. Stat. 35 (1964) 73-101.

    Example:
        >>> Huber().derivative(torch.tensor([0.5, 3.0]), torch.zeros(2)).tolist()
        [0.5, 1.0]
    """

    threshold: float = 1.0

    name: ClassVar[str] = "Huber"
    curvature: ClassVar[tuple[float, float]] = (0.0, 1.0)

    def __post_init__(self) -> None:
        super().__post_init__()
        require_number("threshold", self.threshold, least=0.0, strictly=True)

    def loss(self, eta: Tensor, y: Tensor) -> Tensor:
        beyond = (eta - y).abs() - self.threshold
        return ((eta - y).square() - beyond.clamp(min=0).square()) / 2

    def derivative(self, eta: Tensor, y: Tensor) -> Tensor:
        return (eta - y).clamp(-self.threshold, self.threshold)

    def second_derivative(self, eta: Tensor, y: Tensor) -> Tensor:
        return ((eta - y).abs() <= self.threshold).to(eta)


LEAST_SQUARES = LeastSquares()
"""What a problem asks for unless it says otherwise."""


def _product(matrix: Tensor, vector: Tensor) -> Tensor:
    return matmul(matrix, vector.unsqueeze(-1)).squeeze(-1)


def apply_metric(metric: Tensor, v: Tensor) -> Tensor:
    """`metric v` for a symmetric metric, `(d, d)` shared or `(B, d, d)`; `v` is `(..., B, d)`."""
    # One matrix for all tasks is one large product, not B small ones.
    return v @ metric if metric.ndim == 2 else (metric @ v.unsqueeze(-1)).squeeze(-1)


def _size(w: Tensor, second_moment: Tensor) -> Tensor:
    """Standard deviation of `x^T w`, `(..., B)`; never 0, where a root has no slope."""
    square = (w * apply_metric(second_moment, w)).sum(-1)
    return square.clamp(min=torch.finfo(w.dtype).tiny).sqrt()
