"""Direct solvers: ordinary least squares, ridge, and the posterior mean under the law's prior."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar

import torch
from torch import Tensor

from baselines.operations import blank, finite_tasks
from memformer.core.checks import require_choice
from memformer.core.objective import Objective, SquaredErrors
from memformer.core.problem import Prior, Problem, TaskSource, matvec
from memformer.core.solver import Fitting, Needs, Solver, check_num_steps
from memformer.core.tensors import factorised
from memformer.core.trace import Trace
from memformer.ledger import Entry, reports, uncounted

_NO_SCALE = "ridge needs a law that states its prior, or training tasks with true weights"
_NO_PRIOR = "bayes needs a law that states the prior of its weights, and this one does not"


@dataclass(frozen=True)
class OLS(Solver):
    """Least squares: `w = X^+ y`, the solution of least norm where there are many; whatever outliers are among y.

    Needs: nothing but the context; solves directly.
    Cost: one QR factorisation of X, `O(N d^2)`, never through H; a singular value decomposition for the tasks
        whose X is rank deficient.
    Guarantee: exact to rounding on noiseless tasks with N >= d, with error `O(eps sqrt kappa)`.
    Source: Golub & Van Loan, Matrix Computations, sections 5.3 and 5.6.

    Example:
        >>> problem = Problem(2 * torch.eye(2)[None], torch.ones(1, 2), torch.ones(1, 1, 2))
        >>> OLS().solve(problem, 1).weights[-1].tolist()
        [[0.5, 0.5]]
    """

    needs: ClassVar[Needs] = Needs.DIRECT
    serves: ClassVar[type[Objective]] = SquaredErrors

    def solve(self, problem: Problem, num_steps: int) -> Trace:
        check_num_steps(num_steps)
        return Trace.direct(least_squares(problem.X, problem.y), num_steps)


@dataclass(frozen=True)
class Ridge(Solver):
    """Ridge regression with the law's noise: `w = (X^T X + lambda I)^-1 X^T y`, `lambda = noise_var / prior_var`.

    `prior_var = E ||w_star||^2 / d`, from the law's prior, or from 4096 training tasks where it states none. The fit
    counts as closed even then: the loss is stationary at the best penalty, so that an error of 2 % in it is of second
    order.

    Attributes:
        parameters: `penalty`, a scalar lambda on `X^T X` (not on H); found by `fit`.
        method: `"qr"`, or `"cholesky"` of `X^T X + lambda I`: cheaper, less accurate, QR for the tasks whose matrix is
            singular to rounding.

    Needs: the law (noise and prior variance).
    Cost: one QR factorisation of `[X; sqrt(lambda) I]`, `O((N+d) d^2)`. Cholesky: `O(d^3)` once the moments exist.
    Guarantee: the posterior mean if `w_star ~ N(0, prior_var I)`; OLS without noise.
    Source: Hoerl & Kennard 1970; Bishop, Pattern Recognition and Machine Learning, equation 3.55.

    Example:
        >>> problem = Problem(torch.eye(2)[None], torch.ones(1, 2), torch.ones(1, 1, 2))
        >>> Ridge({"penalty": torch.tensor(1.0)}).solve(problem, 1).weights[-1].round(decimals=6).tolist()
        [[0.5, 0.5]]
    """

    parameters: Mapping[str, Tensor] | None = None
    method: str = "qr"

    needs: ClassVar[Needs] = Needs.LAW
    fitting: ClassVar[Fitting] = Fitting.CLOSED_FORM

    def __post_init__(self) -> None:
        require_choice("method", self.method, ("qr", "cholesky"))

    def skip(self, tasks: TaskSource) -> tuple[bool, str]:
        why = self._refusal(tasks.objective)
        if not why:
            first = tasks.sample(1)
            why = "" if first.w_star is not None or tasks.prior(first.X) is not None else _NO_SCALE
        return bool(why), why

    def fit(self, tasks: TaskSource, steps: Sequence[int], seed: int = 0) -> Ridge:
        drawn = [tasks.sample(1)]
        prior = tasks.prior(drawn[0].X)
        if prior is None or prior.log_weights.ndim > 1:  # not the same for every context
            drawn.append(tasks.sample(4095))
            prior = tasks.prior(torch.cat([part.X for part in drawn]))
        weights = [part.w_star for part in drawn if part.w_star is not None]
        if prior is None and not weights:
            raise ValueError(_NO_SCALE)
        prior_var = torch.cat(weights).square().mean() if prior is None else _mean_square(prior) / tasks.d
        return replace(self, parameters={"penalty": (tasks.noise_var / prior_var).cpu()})

    def solve(self, problem: Problem, num_steps: int) -> Trace:
        check_num_steps(num_steps)
        if self.parameters is None:
            raise ValueError("ridge has no penalty yet; call fit first")
        solve = _penalised if self.method == "qr" else _normal_equations
        return Trace.direct(solve(problem, self.parameters["penalty"].to(problem.dtype)), num_steps)


def _mean_square(prior: Prior) -> Tensor:
    """`E ||w_star||^2` over the components and contexts of a prior."""
    size = prior.mean.square().sum(-1) + prior.covariance.diagonal(dim1=-2, dim2=-1).sum(-1)
    return (prior.log_weights.softmax(-1) @ size).mean()


@dataclass(frozen=True)
class Bayes(Solver):
    """Posterior mean of `w_star` under the law's Gaussian-mixture prior given X: no solver has a smaller expected loss.

    Component c, `w = m + F u` with `F F^T = S_c`, `Z = X F`: `u_c` minimises `||y - X m - Z u||^2 + noise_var ||u||^2`,
    and the components' means are weighted by `pi_c(X) p(y | X, c)`. Without noise: OLS if N >= d, Gaussian
    conditioning on `X w = y` if N < d.

    Attributes:
        prior: the prior given covariates; found by `fit`. A function, so it is not saved among parameters: fitting
            costs nothing.
        noise_var: variance of the label noise; found by `fit`.

    Needs: the law (prior and noise).
    Cost: one singular value decomposition a component, `O(C N d^2)`.
    Guarantee: least expected loss of all solvers.
    Source: Bishop, Pattern Recognition and Machine Learning, sections 3.3.1 and 3.4.

    Example:
        >>> problem = Problem(torch.eye(2)[None], torch.ones(1, 2), torch.ones(1, 1, 2))
        >>> unit = Prior(torch.zeros(1, 2), torch.eye(2)[None], torch.zeros(1))
        >>> Bayes(prior=lambda X: unit, noise_var=1.0).solve(problem, 1).weights[-1].round(decimals=6).tolist()
        [[0.5, 0.5]]
    """

    prior: Callable[[Tensor], Prior | None] | None = field(default=None, repr=False)
    noise_var: float | None = None

    needs: ClassVar[Needs] = Needs.LAW
    fitting: ClassVar[Fitting] = Fitting.CLOSED_FORM

    def skip(self, tasks: TaskSource) -> tuple[bool, str]:
        why = self._refusal(tasks.objective)
        if not why:
            first = tasks.sample(1)
            exact = tasks.noise_var == 0 and tasks.d <= tasks.N and first.w_star is not None
            why = "" if exact or tasks.prior(first.X) is not None else _NO_PRIOR
        return bool(why), why

    def fit(self, tasks: TaskSource, steps: Sequence[int], seed: int = 0) -> Bayes:
        skipped, why = self.skip(tasks)
        if skipped:
            raise ValueError(why)
        return replace(self, prior=tasks.prior, noise_var=tasks.noise_var)

    def solve(self, problem: Problem, num_steps: int) -> Trace:
        check_num_steps(num_steps)
        if self.prior is None or self.noise_var is None:
            raise ValueError("bayes does not know the law yet; call fit first")
        if self.noise_var == 0 and problem.d <= problem.N:
            return Trace.direct(least_squares(problem.X, problem.y), num_steps)
        finite = finite_tasks(problem.X, problem.y)
        X, y = blank(finite, problem.X), blank(finite, problem.y)
        prior = self.prior(X)
        if prior is None:
            raise ValueError(_NO_PRIOR)
        w = posterior_mean(X, y, prior, self.noise_var)
        return Trace.direct(torch.where(finite[:, None], w, torch.nan), num_steps)


def posterior_mean(X: Tensor, y: Tensor, prior: Prior, noise_var: float) -> Tensor:
    """Posterior mean of the weights `(B, d)` given `X` `(B, N, d)` and `y` `(B, N)`."""
    mean, covariance = prior.mean.to(X), prior.covariance.to(X)
    with uncounted():  # once for all tasks
        values, vectors = factorised(torch.linalg.eigh, covariance)
        root = vectors * values.clamp(min=0).sqrt().unsqueeze(-2)
    residual = y[:, None] - _products("bnd,cd->bcn", X, mean, len(mean))
    stretched = _products("bnd,cde->bcne", X, root, len(root) * X.shape[-1])
    U, s, Vt = factorised(torch.linalg.svd, stretched, full_matrices=False)
    kept = s > torch.finfo(X.dtype).eps * max(X.shape[1:]) * s[..., :1]
    projected = matvec(U.mT, residual)
    variance = s.square() + noise_var
    u = matvec(Vt.mT, torch.where(kept, s * projected / torch.where(kept, variance, 1.0), 0.0))
    means = mean + matvec(root, u)
    if len(mean) == 1:
        return means[:, 0]
    # log p(y | X, c) up to what all components share. Without noise only the kept directions have a density.
    counted = kept if noise_var == 0 else torch.ones_like(kept)
    variance = torch.where(counted, variance, 1.0)
    log_evidence = -torch.where(counted, projected.square() / variance + variance.log(), 0.0).sum(-1) / 2
    if noise_var > 0:
        outside = residual.square().sum(-1) - projected.square().sum(-1)
        log_evidence = log_evidence - outside / (2 * noise_var)
    weights = (prior.log_weights.to(X) + log_evidence).softmax(-1)
    return (weights[:, :, None] * means).sum(1)


def least_squares(X: Tensor, y: Tensor) -> Tensor:
    """Least-norm minimisers of `||X w - y||`, `(B, d)`; nan for a task that is not finite."""
    finite = finite_tasks(X, y)
    X, y = blank(finite, X), blank(finite, y)
    wide = X.shape[1] < X.shape[2]
    Q, R = factorised(torch.linalg.qr, X.mT if wide else X)
    size = R.diagonal(dim1=-2, dim2=-1).abs()
    deficient = size.amin(-1) <= torch.finfo(X.dtype).eps * max(X.shape[1:]) * size.amax(-1)
    R = torch.where(deficient[:, None, None], torch.eye(R.shape[-1], dtype=R.dtype, device=R.device), R)
    if wide:
        w = matvec(Q, torch.linalg.solve_triangular(R.mT, y[..., None], upper=False)[..., 0])
    else:
        w = torch.linalg.solve_triangular(R, matvec(Q.mT, y)[..., None], upper=True)[..., 0]
    if bool(deficient.any()):
        w = w.clone()
        w[deficient] = matvec(_pseudo_inverse(X[deficient]), y[deficient])
    return torch.where(finite[:, None], w, torch.nan)


@reports(lambda equation, X, other, products: Entry(products * len(X)))
def _products(equation: str, X: Tensor, other: Tensor, products: int) -> Tensor:
    """So many products with each task's X."""
    return torch.einsum(equation, X, other)


@reports(lambda matrices: Entry(0))  # a factorisation: its operations count, but no product
def _pseudo_inverse(matrices: Tensor) -> Tensor:
    return factorised(torch.linalg.pinv, matrices)


def _penalised(problem: Problem, penalty: Tensor) -> Tensor:
    """Minimisers of `||X w - y||^2 + penalty ||w||^2` by QR of X with further rows, `(B, d)`."""
    with uncounted():  # once for all tasks
        rows = penalty.sqrt() * torch.eye(problem.d, dtype=problem.dtype, device=problem.device)
    X = torch.cat([problem.X, rows.expand(problem.B, -1, -1)], 1)
    y = torch.cat([problem.y, problem.y.new_zeros(problem.B, problem.d)], 1)
    return least_squares(X, y)


def _normal_equations(problem: Problem, penalty: Tensor) -> Tensor:
    """The same by Cholesky of `X^T X + penalty I`; by QR for the tasks whose matrix is singular to rounding."""
    H, b = problem.moments
    finite = finite_tasks(H, b)
    with uncounted():
        diagonal = (penalty / problem.N) * torch.eye(problem.d, dtype=problem.dtype, device=problem.device)
    factor, failed = factorised(torch.linalg.cholesky_ex, blank(finite, H) + diagonal)
    w = factorised(torch.cholesky_solve, blank(finite, b)[..., None], factor)[..., 0]
    pivots = factor.diagonal(dim1=-2, dim2=-1).square()
    singular = pivots.amin(-1) <= problem.d * torch.finfo(H.dtype).eps * pivots.amax(-1)
    indefinite = finite & ((failed > 0) | singular)
    if bool(indefinite.any()):
        w = w.clone()
        w[indefinite] = _penalised(problem.select(indefinite), penalty)
    return torch.where(finite[:, None], w, torch.nan)
