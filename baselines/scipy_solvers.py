"""SciPy's solvers behind the same protocol: a loop over tasks, on the CPU, and timed as such."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, NamedTuple

import numpy as np
import scipy.linalg
import scipy.optimize
import scipy.sparse.linalg
import torch
from numpy.typing import NDArray

from baselines.operations import finite_tasks, zero_start
from memformer.core.checks import require_choice
from memformer.core.objective import LeastSquares, Objective
from memformer.core.problem import Problem
from memformer.core.solver import Needs, Reach, Solver, check_num_steps
from memformer.core.trace import Outcome, Trace
from memformer.core.units import is_ordinary, rescaled

_LEFT = 1024
"""Units of rounding, of how far f fell, that it may still fall by where SciPy stopped and has converged."""

Record = Callable[[NDArray[Any]], None]
"""Called with the iterate after each step."""


class Task(NamedTuple):
    """One task as arrays `X (N, d)`, `y (N,)`, `H (d, d)`, `b (d,)`, and the gradient norm that counts as solved.

    Of another objective than least squares b is minus the gradient at 0, and `problem` is the task in float64.
    """

    X: NDArray[Any]
    y: NDArray[Any]
    H: NDArray[Any]
    b: NDArray[Any]
    tolerance: float
    problem: Problem | None = None

    @property
    def rtol(self) -> float:
        """8 units of rounding."""
        return 8 * float(np.finfo(self.b.dtype).eps)

    def value_and_gradient(self, w: NDArray[Any]) -> tuple[float, NDArray[Any]]:
        """Of the objective at w `(d,)`, but for what no w changes."""
        if self.problem is None:
            Hw = self.H @ w
            return float(w @ Hw) / 2 - float(self.b @ w), Hw - self.b
        at = torch.from_numpy(np.asarray(w, np.float64))[None]
        return self.problem.objective.value(self.problem, at).item(), self.gradient(w)

    def gradient(self, w: NDArray[Any]) -> NDArray[Any]:
        """Of the objective at w `(d,)`."""
        if self.problem is None:
            return self.H @ w - self.b
        at = torch.from_numpy(np.asarray(w, np.float64))[None]
        return self.problem.objective.gradient(self.problem, at)[0].numpy()

    def hessian(self, w: NDArray[Any]) -> NDArray[Any]:
        """Of the objective at w `(d,)`: `(d, d)`."""
        if self.problem is None:
            return self.H
        at = torch.from_numpy(np.asarray(w, np.float64))[None]
        return self.problem.objective.hessian(self.problem, at)[0].numpy()


def _shown(solve: Callable[..., Any], task: Task, num_steps: int, record: Record, **options: float) -> None:
    """A solver of `H w = b` that shows its iterates."""
    solve(task.H, task.b, rtol=task.rtol, maxiter=num_steps, callback=record, **options)


def _gmres(task: Task, num_steps: int, record: Record) -> None:
    taken: list[float] = []
    options = {"restart": num_steps, "maxiter": 1, "callback": taken.append, "callback_type": "pr_norm"}
    w, _ = scipy.sparse.linalg.gmres(task.H, task.b, rtol=task.rtol, atol=0.0, **options)
    _record_last(w, len(taken), record)


def _on_X(solve: Callable[..., Any], most: str, task: Task, num_steps: int, record: Record) -> None:
    """A least-squares solver, whose argument `most` is the number of steps."""
    w, _, taken, *_ = solve(task.X, task.y, atol=0, btol=0, conlim=0, **{most: num_steps})
    _record_last(w, taken, record)


def _record_last(w: NDArray[Any], taken: int, record: Record) -> None:
    """The iterate after `taken` steps of a solver that does not show those before."""
    for _ in range(taken - 1):
        record(np.zeros_like(w))
    record(w)


def _lstsq(task: Task, num_steps: int, record: Record) -> None:
    cutoff = max(task.X.shape) * np.finfo(task.X.dtype).eps  # SciPy's own is eps, which rounding exceeds
    solution = scipy.linalg.lstsq(task.X, task.y, cond=cutoff)
    assert solution is not None
    record(solution[0])


def _solve(task: Task, num_steps: int, record: Record) -> None:
    # A warning here says that H is singular to working precision, so the solution means nothing.
    warnings.simplefilter("error", scipy.linalg.LinAlgWarning)
    record(scipy.linalg.solve(task.H, task.b, assume_a="pos"))


def _minimize(method: str, task: Task, num_steps: int, record: Record) -> None:
    task = task._replace(H=task.H.astype(np.float64), b=task.b.astype(np.float64))
    # No tolerance on f or w: the number of steps decides, and the gradient norm says when there is no more to do.
    newton = method == "Newton-CG"
    options: dict[str, Any] = {"xtol": 0.0} if newton else {"gtol": task.tolerance / len(task.b) ** 0.5}
    if method == "L-BFGS-B":
        options["ftol"] = 0.0
    scipy.optimize.minimize(
        task.value_and_gradient,
        np.zeros_like(task.b),
        jac=True,
        method=method,
        callback=lambda w: record(w),  # SciPy looks at the name of the argument
        options=options | {"maxiter": num_steps},
        **({"hess": task.hessian} if newton else {}),
    )


class _Method(NamedTuple):
    """How one task is run, up to `num_steps >= 1` steps, and the traits of a solver that does."""

    run: Callable[[Task, int, Record], None]
    reach: Reach = Reach.KRYLOV
    needs: Needs = Needs.NOTHING
    anytime: bool = True
    serves: type[Objective] = LeastSquares


_METHODS = {
    "cg": _Method(partial(_shown, scipy.sparse.linalg.cg, atol=0.0)),
    "minres": _Method(partial(_shown, scipy.sparse.linalg.minres)),
    "gmres": _Method(_gmres, anytime=False),
    "lsqr": _Method(partial(_on_X, scipy.sparse.linalg.lsqr, "iter_lim"), anytime=False),
    "lsmr": _Method(partial(_on_X, scipy.sparse.linalg.lsmr, "maxiter"), anytime=False),
    "lstsq": _Method(_lstsq, Reach.ANY, Needs.DIRECT),
    "solve": _Method(_solve, Reach.ANY, Needs.DIRECT),
    **{name: _Method(partial(_minimize, name), serves=Objective) for name in ("CG", "BFGS", "L-BFGS-B")},
    "Newton-CG": _Method(partial(_minimize, "Newton-CG"), Reach.ANY, serves=Objective),
}


@dataclass(frozen=True)
class Scipy(Solver):
    """One of SciPy's solvers, task after task.

    Convergence is judged by the gradient norm, at 8 units of rounding, as for our own solvers. Where SciPy stops by
    itself before that, it has converged if what f could still fall by is within 1,024 units of rounding of how far
    it fell: a line search sees little further. If not, or if SciPy raises, the task has broken down and keeps its last
    iterate. Steps are those that SciPy took.

    Attributes:
        method: of `scipy.sparse.linalg`: `"cg"`, `"minres"` or `"gmres"` on `H w = b`, `"lsqr"` or `"lsmr"` on X. The
            last three do not show their iterates: one run of at most `num_steps` steps, and zeros before its end.
            Of `scipy.linalg`: `"lstsq"` on X, or `"solve"` on H, taken as positive definite; a singular H is a
            breakdown. Of `scipy.optimize.minimize` on the problem's objective, with its gradient (for Newton-CG its
            Hessian too): `"CG"`, `"BFGS"`, `"L-BFGS-B"` or `"Newton-CG"`; a step is an iteration, which may take
            several gradients (line search) or Hessian products.

    Needs: nothing; lstsq and solve: nothing but the context, and solve directly.
    Cost: one matrix-vector product a step (lsqr, lsmr: one with X and one with X^T; minimize: at least one), or one
        factorisation a task; and Python's overhead for each task and step.
    Guarantee: cg: the iterates of our cg; minres, gmres: least `||H w - b||` over the Krylov space; lsqr: the iterates
        of cgls; lsmr: those of minres; lstsq: the least-norm solution; solve: error `O(eps kappa)`; minimize: f never
        rises.
    Source: SciPy; Paige & Saunders 1975 (minres) and 1982 (lsqr), Saad & Schultz 1986 (gmres), Fong & Saunders 2011
        (lsmr), LAPACK gelsd and potrf; Nocedal & Wright, Numerical Optimization, chapters 5 to 7 (minimize).

    Example:
        >>> problem = Problem(torch.eye(2)[None], torch.ones(1, 2), torch.ones(1, 1, 2))
        >>> [Scipy(method).solve(problem, 3).weights[-1].round(decimals=4).tolist() for method in ("lsqr", "CG")]
        [[[1.0, 1.0]], [[1.0, 1.0]]]
    """

    method: str = "cg"

    batched: ClassVar[bool] = False
    version: ClassVar[int] = 3
    countable: ClassVar[bool] = False

    def __post_init__(self) -> None:
        require_choice("method", self.method, tuple(_METHODS))
        for trait in ("reach", "needs", "anytime", "serves"):  # they belong to the method, and are read on instances
            object.__setattr__(self, trait, getattr(_METHODS[self.method], trait))

    def solve(self, problem: Problem, num_steps: int) -> Trace:
        check_num_steps(num_steps)
        units, one_by_one = None, None
        if not problem.is_least_squares:
            one_by_one = problem.to(torch.float64, "cpu")
        elif not bool((ordinary := is_ordinary(problem.moments.b)).all()):
            problem, units = rescaled(problem, ordinary, covariates=True)
        descent = -zero_start(problem)[1]
        X, y, H, b = (tensor.detach().cpu().numpy() for tensor in (problem.X, problem.y, problem.moments.H, descent))
        finite = finite_tasks(problem.X, problem.y, problem.moments.H, descent).tolist()
        weights = np.zeros((num_steps + 1, problem.B, problem.d), dtype=X.dtype)
        outcome = np.zeros(problem.B, dtype=np.int8)
        finished = np.full(problem.B, num_steps)
        for i in range(problem.B):
            if not finite[i]:
                weights[:, i], outcome[i], finished[i] = np.nan, Outcome.NONFINITE, 0
                continue
            tolerance = 8 * float(np.finfo(X.dtype).eps) * float(np.linalg.norm(b[i]))
            if tolerance == 0:
                outcome[i], finished[i] = Outcome.CONVERGED, 0
            elif num_steps > 0:
                own = None if one_by_one is None else one_by_one.select(slice(i, i + 1))
                iterates, outcome[i] = self._run(Task(X[i], y[i], H[i], b[i], tolerance, own), num_steps)
                finished[i] = len(iterates)
                if iterates:  # the last one is repeated
                    weights[1:, i] = iterates + [iterates[-1]] * (num_steps - len(iterates))
        tensors = (torch.from_numpy(array).to(problem.device) for array in (outcome, finished))
        found = torch.from_numpy(weights).to(problem.X)
        return Trace(found if units is None else units.weights(found), None, *tensors)

    def _run(self, task: Task, num_steps: int) -> tuple[list[NDArray[Any]], Outcome]:
        """Iterates up to where the task finished, and how it did."""
        iterates: list[NDArray[Any]] = []
        raised = False

        def record(w: NDArray[Any]) -> None:
            iterates.append(np.array(w, dtype=task.X.dtype))

        # SciPy divides by zero where it has converged exactly, and warns of what the outcome already tells.
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            try:
                _METHODS[self.method].run(task, num_steps, record)
            except (ArithmeticError, ValueError, np.linalg.LinAlgError, scipy.linalg.LinAlgWarning):
                raised = True
            norms = [float(np.linalg.norm(task.gradient(w))) for w in iterates]
        for j, norm in enumerate(norms):
            if not np.isfinite(norm):
                iterates[j] = np.full_like(task.b, np.nan)
                return iterates[: j + 1], Outcome.NONFINITE
            if norm <= task.tolerance and self.anytime:
                return iterates[: j + 1], Outcome.CONVERGED
        # A direct method has done all it can; rounding may leave its gradient above the tolerance of iterative ones.
        if norms and (norms[-1] <= task.tolerance or self.needs is Needs.DIRECT):
            return iterates, Outcome.CONVERGED
        if len(iterates) == num_steps and not raised:
            return iterates, Outcome.MAX_STEPS
        solved = bool(iterates) and not raised and _fallen(task, iterates[-1])
        return iterates, Outcome.CONVERGED if solved else Outcome.BREAKDOWN


def _fallen(task: Task, w: NDArray[Any]) -> bool:
    """Whether f has fallen by all that it can, but for 1,024 units of rounding: in range(X), `y - X w` against `y`.

    Of another objective it can fall by half of the squared Newton decrement, as far as its Hessian tells.
    """
    if task.problem is not None:
        (value, slope), start = task.value_and_gradient(w), task.value_and_gradient(np.zeros_like(w))[0]
        could = slope @ np.linalg.lstsq(task.hessian(w), slope, rcond=None)[0] / 2
        return bool(could <= _LEFT * np.finfo(task.X.dtype).eps * (start - value))
    X, y = task.X.astype(np.float64), task.y.astype(np.float64)
    scale = float(np.linalg.norm(y))
    U, s, _ = np.linalg.svd(X, full_matrices=False)
    U = U[:, s > max(X.shape) * np.finfo(np.float64).eps * s[0]]
    left, whole = (np.square(U.T @ part).sum() for part in (y / scale - X @ (w / scale), y / scale))
    return bool(left <= _LEFT * np.finfo(task.X.dtype).eps * whole)
