"""The learned linear first-order method: one table of coefficients for each number of steps, trained on a law."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal, NamedTuple

import torch
from torch import Tensor

from baselines.objective import judge_of, mean_loss
from baselines.operations import gradient, zero_start
from memformer.core.checks import require_choice, require_number, store_ints
from memformer.core.iterative import IterativeSolver
from memformer.core.objective import Objective
from memformer.core.problem import SPREAD, Problem, TaskSource
from memformer.core.solver import Fitting, Needs, Reach, Solver, check_num_steps
from memformer.core.trace import Trace
from memformer.kernels.first_order_loss import first_order_loss, prepare, serves
from memformer.training.recipe import TrainingError

VALIDATION_TASKS = 4096
VALIDATION_INTERVAL = 25


class HistoryState(NamedTuple):
    """Iterate and gradient `(B, d)`, and all gradients before."""

    w: Tensor
    g: Tensor
    history: tuple[Tensor, ...]


@dataclass(frozen=True)
class _Table(IterativeSolver):
    """`w_{k+1} = w_k - sum_{i<=k} Gamma_i^k g_i` for one given table `gamma[k, i]`, `(K, K, 1 or d)`."""

    gamma: Tensor

    needs: ClassVar[Needs] = Needs.LAW
    serves: ClassVar[type[Objective]] = Objective

    def init(self, problem: Problem) -> HistoryState:
        return HistoryState(*zero_start(problem), ())

    def step(self, problem: Problem, state: HistoryState, k: int) -> tuple[HistoryState, None]:
        history = (*state.history, state.g)
        row = self.gamma[k, : k + 1].to(state.w)
        w = state.w - (row[:, None] * torch.stack(history)).sum(0)
        return HistoryState(w, gradient(problem, w), history), None


@dataclass(frozen=True)
class Lfom(Solver):
    """`w_{k+1} = w_k - sum_{i<=k} Gamma_i^k g_i`, Gamma learned from fresh tasks of a law.

    The paper writes `w_{k+1} = w_0 - sum_{i<=k} Gamma_i^k g_i`, which spans the same methods. Each number of steps K
    has a table of its own, trained for the loss after K steps alone. All tables (of all sources and
    seeds) train as one batch: Adam on the log of the mean expected loss, cosine schedule, gradients clipped for
    each table, starting at gradient descent with `2/(mean mu + mean L)`, keeping the best on validation tasks.

    Attributes:
        gamma: `"scalar"` coefficients, or `"diagonal"`: d of them, one a coordinate of w.
        iterations: Adam steps.
        batch: fresh tasks an Adam step.
        learning_rate: at the start, relative to the initial step size.
        parameters: `steps` `(R,)`, and `gamma` `(R, K, K, 1 or d)` for R numbers of steps up to K; found by `fit`.

    Needs: the law (training tasks of it).
    Cost: one matrix-vector product and k + 1 scaled vectors at step k.
    Guarantee: scalar: never below the LFOM floor on fresh tasks of least squares. Diagonal: depends on the axes.
    Source: Dutta & Sra, arXiv 2410.07263, equation 17.

    Example:
        >>> Lfom("full")
        Traceback (most recent call last):
        ValueError: gamma is 'full'; it must be 'scalar' or 'diagonal'
    """

    gamma: Literal["scalar", "diagonal"] = "scalar"
    iterations: int = 400
    batch: int = 256
    learning_rate: float = 0.05
    parameters: Mapping[str, Tensor] | None = None

    needs: ClassVar[Needs] = Needs.LAW
    anytime: ClassVar[bool] = False
    fitting: ClassVar[Fitting] = Fitting.RANDOM
    version: ClassVar[int] = 3
    learned: ClassVar[bool] = True
    serves: ClassVar[type[Objective]] = Objective

    def __post_init__(self) -> None:
        require_choice("gamma", self.gamma, ("scalar", "diagonal"))
        store_ints(self, "iterations", "batch", least=1)
        require_number("learning_rate", self.learning_rate, least=0.0, strictly=True)

    @property
    def reach(self) -> Reach:  # pyright: ignore[reportIncompatibleVariableOverride] -- read on instances
        """The class of methods this instance belongs to."""
        return Reach.FIXED if self.gamma == "scalar" else Reach.ANY

    def prepare(self, dtype: torch.dtype, device: torch.device) -> None:
        prepare(dtype, device)

    def fit(self, tasks: TaskSource, steps: Sequence[int], seed: int = 0) -> Solver:
        (fitted,) = self.fit_many([tasks], steps, [seed])
        return fitted

    def fit_many(self, sources: Sequence[TaskSource], steps: Sequence[int], seeds: Sequence[int]) -> list[Solver]:
        # The start is fixed and the tasks come from the sources: there is nothing left for a seed to choose.
        horizons = sorted({step for step in steps if step > 0}, reverse=True)
        tables = _train(self, sources, horizons) if horizons else torch.zeros(len(sources), 0, 0, 0, 1)
        found = {"steps": torch.tensor(horizons, dtype=torch.int64)}
        return [replace(self, parameters={**found, "gamma": table.clone()}) for table in tables]

    def solve(self, problem: Problem, num_steps: int) -> Trace:
        check_num_steps(num_steps)
        if self.parameters is None:
            raise ValueError("lfom has no coefficients yet; call fit first")
        steps = self.parameters["steps"].tolist()
        if num_steps > 0 and num_steps not in steps:
            raise ValueError(f"lfom was fitted for {sorted(steps)} steps and cannot take {num_steps}")
        row = steps.index(num_steps) if num_steps > 0 else 0
        table = self.parameters["gamma"][row] if steps else torch.zeros(0, 0, 1, device="cpu")
        return _Table(table).solve(problem, num_steps)


def _train(solver: Lfom, sources: Sequence[TaskSource], horizons: list[int]) -> Tensor:
    """Tables `(sources, horizons, K, K, 1 or d)` on the CPU; `horizons` descend."""
    sources = [tasks.spread(SPREAD) for tasks in sources]
    validation = [tasks.sample(VALIDATION_TASKS) for tasks in sources]
    spectra = [problem.spectrum for problem in validation]
    eta = torch.stack([2 / (mu.mean() + L.mean()) for mu, L in spectra])[:, None, None, None, None]
    K, width = horizons[0], validation[0].d if solver.gamma == "diagonal" else 1
    start = torch.eye(K, dtype=eta.dtype, device=eta.device)[:, :, None]
    relative = start.repeat(len(sources), len(horizons), 1, 1, width).requires_grad_()
    optimizer = torch.optim.Adam([relative], lr=solver.learning_rate)
    best, best_loss = relative.detach().clone(), relative.new_full(relative.shape[:2], math.inf)

    def mean_losses(problems: Sequence[Problem]) -> Tensor:
        tables = zip(problems, eta * relative, strict=True)
        return torch.stack([_final_losses(problem, table, horizons) for problem, table in tables])

    for iteration in range(solver.iterations):
        cosine = (1 + math.cos(math.pi * iteration / solver.iterations)) / 2
        optimizer.param_groups[0]["lr"] = solver.learning_rate * cosine
        loss = mean_losses([tasks.sample(solver.batch) for tasks in sources])
        (slope,) = torch.autograd.grad(loss.log().sum(), relative)
        size = slope.flatten(2).norm(dim=-1)[:, :, None, None, None]
        slope = slope / size.clamp(min=1.0)
        # A table whose loss overflowed takes no step rather than becoming nan for good.
        relative.grad = torch.where(slope.isfinite(), slope, 0.0)
        optimizer.step()
        if (iteration + 1) % VALIDATION_INTERVAL == 0 or iteration + 1 == solver.iterations:
            with torch.no_grad():
                loss = mean_losses(validation)
            better = loss < best_loss
            best_loss = torch.where(better, loss, best_loss)
            best = torch.where(better[:, :, None, None, None], relative.detach(), best)
    if not best_loss.isfinite().all():
        raise TrainingError(f"no coefficients of lfom ({solver.gamma}) have a finite loss")
    read = torch.ones_like(start[..., 0]).tril()[..., None]
    return (eta * best * read).cpu()


def _final_losses(problem: Problem, gamma: Tensor, horizons: list[int]) -> Tensor:
    """Mean loss after each horizon's own number of steps, `(R,)`; gamma is `(R, K, K, width)`."""
    if gamma.shape[-1] == 1 and problem.is_least_squares and serves(gamma[..., 0]):
        return _scalar_losses(problem, gamma[..., 0], horizons)
    # Horizons are the last dimension, `(B, d, R)`: one product serves them all.
    w, first = (part.unsqueeze(-1).expand(-1, -1, len(horizons)) for part in zero_start(problem))
    history, coefficients = [], gamma.permute(1, 2, 3, 0)
    final: list[Tensor] = []
    for k in range(horizons[0]):
        # Horizons descend, so those still running are the first ones.
        running = sum(horizon > k for horizon in horizons)
        history = [g[..., :running] for g in history]
        history.append(problem.objective.gradients(problem, w[..., :running]) if k else first)
        w = w[..., :running]
        for i, g in enumerate(history):
            w = torch.addcmul(w, coefficients[k, i, :, :running], g, value=-1)
        finished = sum(horizon > k + 1 for horizon in horizons)
        final.insert(0, w[..., finished:])
    return mean_loss(problem, torch.cat(final, -1).permute(2, 0, 1))


def _scalar_losses(problem: Problem, gamma: Tensor, horizons: list[int]) -> Tensor:
    """The same for scalar coefficients `(R, K, K)` and least squares: a method that takes no step stays where it is."""
    ends = torch.tensor(horizons, device=gamma.device)[:, None, None]
    gamma = gamma * (torch.arange(len(gamma[0]), device=gamma.device)[:, None] < ends)
    H, b = (part.movedim(0, -1)[None] for part in problem.moments)
    return first_order_loss(-gamma, H, b, judge_of(problem))  # a residual is a negative gradient
