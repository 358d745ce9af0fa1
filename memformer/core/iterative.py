"""The one loop of all iterative solvers: when a task is finished, what is frozen, and what the trace keeps."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from memformer.core.problem import Problem
from memformer.core.solver import Solver, check_num_steps
from memformer.core.trace import DIVERGENCE_FACTOR, Outcome, Trace
from memformer.core.units import is_ordinary, rescaled
from memformer.kernels.recurrences import Iterates, compiles, prepare
from memformer.ledger import is_counting, uncounted

CHECK_INTERVAL = 8
"""Steps taken between two looks at whether a task has finished, as long as none has."""


class State(NamedTuple):
    """The least an iterative solver carries: iterate and gradient, `(B, d)` each.

    Solvers with more state define a NamedTuple of their own that starts with the same two fields. A tensor
    field leads with the batch dimension and is frozen with its task; other fields are shared by all tasks.
    """

    w: Tensor
    g: Tensor


class IterativeSolver(Solver):
    """A solver that writes only `init` and `step`; the loop, the trace and the outcomes are here.

    A task is finished, and its state frozen, when its gradient norm falls to `rtol` times that of the start
    (converged), exceeds `DIVERGENCE_FACTOR` times it (diverged), is not finite, or when `step` reports
    that it is undefined there (breakdown: the last good iterate stays).

    Iterates for least squares must be proportional to y: a task whose gradient at the start is so small or large that
    its square is nothing or infinite is solved with y in other units.
    """

    rtol: ClassVar[float | None] = None
    """Relative tolerance on the gradient norm; None is 8 units of rounding of the problem's dtype."""

    @abstractmethod
    def init(self, problem: Problem) -> Any:
        """State before the first step: a NamedTuple that starts with `w` and `g`, `(B, d)` each."""

    def prepare(self, dtype: torch.dtype, device: torch.device) -> None:
        if device.type == "cpu" and self._is_compiled:
            prepare(dtype)

    @property
    def _is_compiled(self) -> bool:
        """Whether a compiled function stands for its steps, and not for those of a class that it has rewritten since.

        Asked before numba is, which takes a second to import.
        """
        written = next(one for one in type(self).__mro__ if {"compiled", "init", "step"} & vars(one).keys())
        return written is not IterativeSolver and "compiled" in vars(written)

    def compiled(self, problem: Problem, num_steps: int) -> Iterates | None:
        """All steps by a compiled function, to rounding those of `init` and `step`; None where there is none.

        Asked only for what `memformer.kernels.recurrences.compiles` knows: least squares on a CPU.
        """

    @abstractmethod
    def step(self, problem: Problem, state: Any, k: int) -> tuple[Any, Tensor | None]:
        """Step number `k = 0, 1, ...`; also taken on tasks that have finished, and then thrown away.

        Returns:
            The next state, and a mask `(B,)` of tasks on which the step is undefined (None: there is none).
        """

    def solve(self, problem: Problem, num_steps: int) -> Trace:
        check_num_steps(num_steps)
        if self._is_compiled and problem.is_least_squares and compiles(problem.X, problem.y):
            iterates = self.compiled(problem, num_steps)
            if iterates is not None:
                return self._settled(problem, iterates, num_steps)
        state = self.init(problem)
        ordinary = is_ordinary(state.g)
        if bool(ordinary.all()):
            return self._run(problem, state, num_steps, none_finished=True)
        if not problem.is_least_squares:
            return self._run(problem, state, num_steps, none_finished=False)
        with uncounted():
            scaled, units = rescaled(problem, ordinary)
            state = self.init(scaled)
        trace = self._run(scaled, state, num_steps, none_finished=False)
        assert trace.weights is not None
        with uncounted():
            return Trace(units.weights(trace.weights), None, trace.outcome, trace.finished)

    def _settled(self, problem: Problem, iterates: Iterates, num_steps: int) -> Trace:
        """What the loop leaves, from iterates of tasks that did not stop where they had finished."""
        ordinary, units = is_ordinary(iterates.norms[0][:, None]), None
        if not bool(ordinary.all()):
            problem, units = rescaled(problem, ordinary)
            again = self.compiled(problem, num_steps)
            assert again is not None
            iterates = again
        trace = settle(iterates, self._limits(iterates.norms[0], problem.dtype))
        if units is None or trace.weights is None:
            return trace
        return Trace(units.weights(trace.weights), None, trace.outcome, trace.finished)

    def _limits(self, norm: Tensor, dtype: torch.dtype) -> _Limits:
        rtol = 8 * torch.finfo(dtype).eps if self.rtol is None else self.rtol
        return _Limits(rtol * norm, DIVERGENCE_FACTOR * norm)

    def _run(self, problem: Problem, state: Any, num_steps: int, none_finished: bool) -> Trace:
        """All steps from the first state, given whether it is known that no task is finished there."""
        limits = self._limits(torch.linalg.vector_norm(state.g, dim=-1), problem.dtype)
        weights, ahead = [state.w], 0
        # While no task has finished there is nothing to freeze, and no need to look after each step.
        with uncounted():
            none_finished = none_finished or bool(limits.running(state.g[None], [None]).all())
        while none_finished and len(weights) <= num_steps:
            taken = len(weights) - 1
            states, running = self._run_ahead(problem, state, limits, taken, min(taken + CHECK_INTERVAL, num_steps))
            none_finished = bool(running.all())
            ahead = taken + len(states)
            good = len(states) if none_finished else int(running.all(-1).cumprod(0).sum())
            weights += [passed.w for passed in states[:good]]
            state = states[good - 1] if good else state
        return self._finish(problem, state, limits, weights, num_steps, ahead)

    def _run_ahead(
        self, problem: Problem, state: Any, limits: _Limits, first: int, end: int
    ) -> tuple[list[Any], Tensor]:
        """States after steps first, ..., end - 1, and which tasks `(end - first, B)` each of them left running."""
        states, undefined = [], []
        for k in range(first, end):
            state, mask = self.step(problem, state, k)
            states.append(state)
            undefined.append(mask)
        return states, limits.running(torch.stack([state.g for state in states]), undefined)

    def _finish(
        self, problem: Problem, state: Any, limits: _Limits, weights: list[Tensor], num_steps: int, ahead: int
    ) -> Trace:
        """The rest of the steps, one at a time, each task frozen once it has finished.

        The work of a solve is that of all its steps, each taken once, whenever its tasks finish: so it hangs neither on
        who else is in the batch nor on how often a device is asked. `ahead` steps have been counted already.
        """
        taken = len(weights) - 1
        outcome = torch.zeros_like(limits.converged_at, dtype=torch.int8)
        if taken == 0:
            with uncounted():  # the norm at the start is known
                outcome = limits.classify(torch.linalg.vector_norm(state.g, dim=-1), None)
            state = _nan_where(outcome, state)
            weights = [state.w]
        finished = torch.full_like(outcome, taken, dtype=torch.int64)
        # Asking a GPU whether all tasks are finished waits for it.
        interval = 1 if problem.device.type == "cpu" else CHECK_INTERVAL
        for k in range(taken, num_steps):
            active = outcome == int(Outcome.MAX_STEPS)
            if k % interval == 0 and not bool(active.any()) and not is_counting():
                weights.extend([state.w] * (num_steps - k))
                break
            finished += active
            with uncounted(k < ahead):
                proposed, undefined = self.step(problem, state, k)
                norm = torch.linalg.vector_norm(proposed.g, dim=-1)
                outcome = torch.where(active, limits.classify(norm, undefined), outcome)
            accepted = active if undefined is None else active & ~undefined
            state = _nan_where(outcome, _freeze(accepted, proposed, state))
            weights.append(state.w)
        return Trace(torch.stack(weights), None, outcome, finished)


class _Limits(NamedTuple):
    """Gradient norms `(B,)` between which a task goes on."""

    converged_at: Tensor
    diverged_at: Tensor

    def running(self, gradients: Tensor, undefined: list[Tensor | None]) -> Tensor:
        """Which tasks go on, `(K, B)`, from gradients `(K, B, d)` and K masks."""
        running = self.within(torch.linalg.vector_norm(gradients, dim=-1))
        masks = [mask for mask in undefined if mask is not None]
        return running & ~torch.stack(masks) if masks else running

    def within(self, norm: Tensor) -> Tensor:
        """Mask of gradient norms `(..., B)` with which a task goes on (nan compares as false)."""
        return (norm > self.converged_at) & (norm < self.diverged_at)

    def classify(self, norm: Tensor, undefined: Tensor | None) -> Tensor:
        """Outcome of each task, int8, from its gradient's norm `(..., B)`."""
        outcome = (norm <= self.converged_at).to(torch.int8)
        outcome = torch.where(norm > self.diverged_at, int(Outcome.DIVERGED), outcome)
        outcome = torch.where(norm.isfinite(), outcome, int(Outcome.NONFINITE))
        if undefined is not None:
            outcome = torch.where(undefined, int(Outcome.BREAKDOWN), outcome)
        return outcome.to(torch.int8)


def settle(iterates: Iterates, limits: _Limits) -> Trace:
    """The trace of tasks that were to stop where they had finished, from all of their iterates."""
    weights, norms, undefined = iterates
    running = limits.within(norms)
    if undefined is not None:
        running[1:] &= ~undefined
    B, K = running.shape[1], len(running) - 1
    outcome, finished = norms.new_zeros(B, dtype=torch.int8), norms.new_full((B,), K, dtype=torch.int64)
    if bool(running.all()):
        return Trace(weights, None, outcome, finished)
    steps = running.int().cumprod(0).sum(0)
    at = (steps <= K).nonzero()[:, 0]
    ended = steps[at]
    mask = None if undefined is None else (ended > 0) & undefined[(ended - 1).clamp(min=0), at]
    outcome[at] = _Limits(limits.converged_at[at], limits.diverged_at[at]).classify(norms[ended, at], mask)
    finished[at] = ended
    # Where a step is undefined, the iterate before it stays.
    last = ended - (outcome[at] == int(Outcome.BREAKDOWN)).long()
    step = torch.arange(K + 1, device=norms.device)[:, None]
    kept = weights[torch.minimum(step, last), at]
    lost = (outcome[at] == int(Outcome.NONFINITE)) & (step >= ended)
    weights[:, at] = torch.where(lost[..., None], torch.nan, kept)
    return Trace(weights, None, outcome, finished)


def _nan_where(outcome: Tensor, state: Any) -> Any:
    """`state` with nan for the iterate of each nonfinite task."""
    return state._replace(w=torch.where((outcome == int(Outcome.NONFINITE))[:, None], torch.nan, state.w))


def _freeze(active: Tensor, proposed: Any, state: Any) -> Any:
    """`proposed` where a task is active, `state` where it has finished."""

    def choose(new: Any, old: Any) -> Any:
        if not isinstance(new, Tensor):
            return new
        return torch.where(active.view(-1, *[1] * (new.ndim - 1)), new, old)

    return type(state)(*map(choose, proposed, state))
