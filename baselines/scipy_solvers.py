"""SciPy's solvers behind the same protocol: a loop over tasks, on the CPU, and timed as such."""

from __future__ import annotations

import warnings
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
import scipy.linalg
import scipy.optimize
import scipy.sparse.linalg
import torch
from numpy.typing import NDArray

from baselines.operations import finite_tasks
from memformer.core.checks import require_choice
from memformer.core.problem import Problem
from memformer.core.solver import Needs, Outcome, Reach, Solver, Trace, check_num_steps

Record = Callable[[NDArray[Any]], None]


class Task(NamedTuple):
    """One task as arrays `X (N, d)`, `y (N,)`, `H (d, d)`, `b (d,)`, and the gradient norm that counts as solved."""

    X: NDArray[Any]
    y: NDArray[Any]
    H: NDArray[Any]
    b: NDArray[Any]
    tolerance: float


class _ScipySolver(Solver):
    """The loop over tasks; a subclass runs one task and records its iterates.

    A task on which SciPy raises, or gives up before the gradient is at its tolerance, has broken down and keeps
    its last iterate. Convergence is judged by the gradient norm, as for our own solvers.
    """

    needs: ClassVar[Needs] = Needs.NOTHING
    batched: ClassVar[bool] = False
    countable: ClassVar[bool] = False

    @abstractmethod
    def run_task(self, task: Task, num_steps: int, record: Record) -> None:
        """Run up to `num_steps >= 1` steps, calling `record(w)` after each."""

    def solve(self, problem: Problem, num_steps: int) -> Trace:
        check_num_steps(num_steps)
        X, y, H, b = (tensor.detach().cpu().numpy() for tensor in (problem.X, problem.y, *problem.moments))
        finite = finite_tasks(problem.X, problem.y, *problem.moments).tolist()
        weights = np.zeros((num_steps + 1, problem.B, problem.d), dtype=X.dtype)
        outcome = np.zeros(problem.B, dtype=np.int8)
        finished = np.full(problem.B, num_steps)
        for i in range(problem.B):
            if not finite[i]:
                weights[:, i], outcome[i], finished[i] = np.nan, Outcome.NONFINITE, 0
                continue
            tolerance = 8 * float(np.finfo(X.dtype).eps) * float(np.linalg.norm(b[i]))
            task = Task(X[i], y[i], H[i], b[i], tolerance)
            if tolerance == 0:
                outcome[i], finished[i] = Outcome.CONVERGED, 0
            elif num_steps > 0:
                iterates, outcome[i] = self._run(task, num_steps)
                finished[i] = len(iterates)
                weights[1:, i] = _padded(iterates, num_steps, problem.d)
        tensors = (torch.from_numpy(array).to(problem.device) for array in (outcome, finished))
        return Trace(torch.from_numpy(weights).to(problem.X), None, *tensors)

    def _run(self, task: Task, num_steps: int) -> tuple[list[NDArray[Any]], Outcome]:
        """Iterates up to where the task finished, and how it did."""
        iterates: list[NDArray[Any]] = []

        def record(w: NDArray[Any]) -> None:
            iterates.append(np.array(w, dtype=task.X.dtype))

        raised = False
        # SciPy divides by zero where it has converged exactly, and warns of what the outcome already tells.
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            try:
                self.run_task(task, num_steps, record)
            except (ArithmeticError, ValueError, np.linalg.LinAlgError, scipy.linalg.LinAlgWarning):
                raised = True
            norms = [float(np.linalg.norm(task.H @ w - task.b)) for w in iterates]
        for j, norm in enumerate(norms):
            if not np.isfinite(norm):
                iterates[j] = np.full_like(task.b, np.nan)
                return iterates[: j + 1], Outcome.NONFINITE
            if norm <= task.tolerance and self.anytime:
                return iterates[: j + 1], Outcome.CONVERGED
        if norms and norms[-1] <= task.tolerance:
            return iterates, Outcome.CONVERGED
        stopped = raised or len(iterates) < num_steps
        return iterates, Outcome.BREAKDOWN if stopped else Outcome.MAX_STEPS


def _padded(iterates: list[NDArray[Any]], num_steps: int, d: int) -> NDArray[Any]:
    """`(num_steps, d)`: the iterates, the last one repeated; zero if there is none."""
    if not iterates:
        return np.zeros((num_steps, d))
    return np.stack(iterates + [iterates[-1]] * (num_steps - len(iterates)))


@dataclass(frozen=True)
class ScipyKrylov(_ScipySolver):
    """`scipy.sparse.linalg.cg` or `minres` on `H w = b`, with a relative tolerance of 8 units of rounding.

    Attributes:
        method: `"cg"` or `"minres"`.

    Needs: nothing.
    Cost: one matrix-vector product a step, and Python's overhead for each task and step.
    Guarantee: cg: the iterates of our cg; minres: least `||H w - b||` over the Krylov space, those of LSMR.
    Source: SciPy; Paige & Saunders 1975 for minres.

    Example:
        >>> problem = Problem(torch.eye(2)[None], torch.ones(1, 2), torch.ones(1, 1, 2))
        >>> ScipyKrylov("cg").solve(problem, 1).weights[-1].round(decimals=4).tolist()
        [[1.0, 1.0]]
    """

    method: Literal["cg", "minres"] = "cg"

    reach: ClassVar[Reach] = Reach.KRYLOV

    def __post_init__(self) -> None:
        require_choice("method", self.method, ("cg", "minres"))

    def run_task(self, task: Task, num_steps: int, record: Record) -> None:
        rtol = 8 * float(np.finfo(task.b.dtype).eps)
        if self.method == "cg":
            scipy.sparse.linalg.cg(task.H, task.b, rtol=rtol, atol=0.0, maxiter=num_steps, callback=record)
        else:
            scipy.sparse.linalg.minres(task.H, task.b, rtol=rtol, maxiter=num_steps, callback=record)


@dataclass(frozen=True)
class ScipyRestarted(_ScipySolver):
    """`scipy.sparse.linalg.gmres` on H, `lsqr` or `lsmr` on X: methods that do not show their iterates.

    One run of exactly `num_steps` steps; only its last iterate is known, so the trace holds zeros before it.

    Attributes:
        method: `"gmres"`, `"lsqr"` or `"lsmr"`.

    Needs: nothing.
    Cost: gmres: one matrix-vector product a step; lsqr, lsmr: one product with X and one with X^T.
    Guarantee: lsqr: the iterates of cgls; lsmr: those of minres on H; gmres: least `||H w - b||`.
    Source: SciPy; Saad & Schultz 1986, Paige & Saunders 1982, Fong & Saunders 2011.

    Example:
        >>> problem = Problem(torch.eye(2)[None], torch.ones(1, 2), torch.ones(1, 1, 2))
        >>> ScipyRestarted("lsqr").solve(problem, 1).weights[-1].round(decimals=4).tolist()
        [[1.0, 1.0]]
    """

    method: Literal["gmres", "lsqr", "lsmr"] = "lsqr"

    anytime: ClassVar[bool] = False

    reach: ClassVar[Reach] = Reach.KRYLOV

    def __post_init__(self) -> None:
        require_choice("method", self.method, ("gmres", "lsqr", "lsmr"))

    def run_task(self, task: Task, num_steps: int, record: Record) -> None:
        if self.method == "gmres":
            rtol = 8 * float(np.finfo(task.b.dtype).eps)
            w, _ = scipy.sparse.linalg.gmres(task.H, task.b, rtol=rtol, atol=0.0, restart=num_steps, maxiter=1)
        elif self.method == "lsqr":
            w = scipy.sparse.linalg.lsqr(task.X, task.y, atol=0, btol=0, conlim=0, iter_lim=num_steps)[0]
        else:
            w = scipy.sparse.linalg.lsmr(task.X, task.y, atol=0, btol=0, conlim=0, maxiter=num_steps)[0]
        for _ in range(num_steps - 1):
            record(np.zeros_like(task.b))
        record(w)


@dataclass(frozen=True)
class ScipyDirect(_ScipySolver):
    """`scipy.linalg.lstsq` on X, or `scipy.linalg.solve(assume_a="pos")` on H; a singular H is a breakdown.

    Attributes:
        method: `"lstsq"` or `"solve"`.

    Needs: nothing but the context; solves directly.
    Cost: one factorisation for each task.
    Guarantee: lstsq: the least-norm solution; solve: error `O(eps kappa)`.
    Source: SciPy; LAPACK gelsd, potrf.

    Example:
        >>> problem = Problem(torch.eye(2)[None], torch.ones(1, 2), torch.ones(1, 1, 2))
        >>> ScipyDirect("solve").solve(problem, 1).weights[-1].round(decimals=4).tolist()
        [[1.0, 1.0]]
    """

    method: Literal["lstsq", "solve"] = "lstsq"

    needs: ClassVar[Needs] = Needs.DIRECT

    def __post_init__(self) -> None:
        require_choice("method", self.method, ("lstsq", "solve"))

    def run_task(self, task: Task, num_steps: int, record: Record) -> None:
        if self.method == "lstsq":
            solution = scipy.linalg.lstsq(task.X, task.y)
            assert solution is not None
            record(solution[0])
            return
        # A warning here says that H is singular to working precision, so the solution means nothing.
        warnings.simplefilter("error", scipy.linalg.LinAlgWarning)
        record(scipy.linalg.solve(task.H, task.b, assume_a="pos"))

    def _run(self, task: Task, num_steps: int) -> tuple[list[NDArray[Any]], Outcome]:
        iterates, outcome = super()._run(task, num_steps)
        # It has done all it can; rounding may leave its gradient above the tolerance of iterative methods.
        return iterates, Outcome.CONVERGED if iterates and outcome is not Outcome.NONFINITE else outcome


@dataclass(frozen=True)
class ScipyMinimize(_ScipySolver):
    """`scipy.optimize.minimize` on `f(w) = w^T H w / 2 - b^T w` with its gradient (and Hessian, for Newton-CG).

    Attributes:
        method: `"CG"`, `"BFGS"`, `"L-BFGS-B"` or `"Newton-CG"`; a step is an iteration of the method, which may take
            several gradients (line search) or, for Newton-CG, Hessian products.

    Needs: nothing.
    Cost: at least one matrix-vector product a step, and Python's overhead.
    Guarantee: f never rises.
    Source: SciPy; Nocedal & Wright, Numerical Optimization, chapters 5 to 7.

    Example:
        >>> problem = Problem(torch.eye(2)[None], torch.ones(1, 2), torch.ones(1, 1, 2))
        >>> ScipyMinimize("CG").solve(problem, 3).weights[-1].round(decimals=4).tolist()
        [[1.0, 1.0]]
    """

    method: Literal["CG", "BFGS", "L-BFGS-B", "Newton-CG"] = "L-BFGS-B"

    def __post_init__(self) -> None:
        require_choice("method", self.method, ("CG", "BFGS", "L-BFGS-B", "Newton-CG"))

    @property
    def reach(self) -> Reach:  # pyright: ignore[reportIncompatibleVariableOverride] -- read on instances
        """The class of methods this instance belongs to."""
        return Reach.ANY if self.method == "Newton-CG" else Reach.KRYLOV

    def run_task(self, task: Task, num_steps: int, record: Record) -> None:
        H, b = task.H.astype(np.float64), task.b.astype(np.float64)

        def value_and_gradient(w: NDArray[Any]) -> tuple[float, NDArray[Any]]:
            Hw = H @ w
            return float(w @ Hw) / 2 - float(b @ w), Hw - b

        # No tolerance on f or w: the number of steps decides, and the gradient norm says when there is no more to do.
        options: dict[str, Any] = {"maxiter": num_steps}
        if self.method == "Newton-CG":
            options["xtol"] = 0.0
        else:
            options["gtol"] = task.tolerance / len(b) ** 0.5
        if self.method == "L-BFGS-B":
            options["ftol"] = 0.0
        hessian = {"hess": lambda w: H} if self.method == "Newton-CG" else {}
        scipy.optimize.minimize(
            value_and_gradient,
            np.zeros_like(b),
            jac=True,
            method=self.method,
            callback=lambda w: record(w),
            options=options,
            **hessian,
        )
