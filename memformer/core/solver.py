"""What a solver is: the traits it declares, what is asked of it, and what its training can tell."""

from __future__ import annotations

import dataclasses
import enum
import functools
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import torch

from memformer.core.checks import require_int
from memformer.core.equality import ComparedByValue
from memformer.core.modes import learns
from memformer.core.objective import LEAST_SQUARES, LeastSquares, Objective
from memformer.core.problem import Problem, TaskSource
from memformer.core.tensors import moved
from memformer.core.trace import Trace


class _Word(enum.StrEnum):
    """A word that is stored in results, with a sentence for people: members are `NAME = word, sentence`."""

    sentence: str

    def __new__(cls, word: str, sentence: str) -> Self:
        member = str.__new__(cls, word)
        member._value_, member.sentence = word, sentence
        return member


class Needs(_Word):
    """What a solver must be told beyond the context `(X, y)`; a ranking never crosses this line silently."""

    NOTHING = "nothing", "an iterative method that is told nothing beyond the context"
    L = "L", "told the largest eigenvalue L of each task's H"
    MU_L = "mu, L", "told the extreme eigenvalues mu, L of each task's H"
    LAW = "law", "knows the task law, or was fitted on training tasks of it"
    DIRECT = "direct", "solves the linear system directly; its cost does not depend on the number of steps"


class Reach(_Word):
    """The class of methods a solver belongs to: the narrowest one whose best member is a floor for it."""

    FIXED = "fixed coefficients", "k-step linear first-order methods with the same scalar coefficients for every task"
    FIXED_PRECONDITIONED = "fixed coefficients, preconditioned", "the same, in coordinates that the law may choose"
    KRYLOV = "Krylov", "methods whose k-th iterate lies in span{b, H b, ..., H^(k-1) b}"
    KRYLOV_PRECONDITIONED = "Krylov, preconditioned", "the same, preconditioned with the law's second moment"
    ANY = "any", "all estimates from the context"

    @property
    def fixed(self) -> bool:
        """Whether the coefficients are the same for every task."""
        return self in (Reach.FIXED, Reach.FIXED_PRECONDITIONED)


class Fitting(_Word):
    """What `fit` does, and whether chance has a part in what it finds: that decides what an interval holds random."""

    NONE = "none", "needs no fitting"
    CLOSED_FORM = "closed_form", "fitted in closed form to what the law states, or to a large sample of its moments"
    RANDOM = "random", "fitted by a search on drawn training tasks; every seed finds other parameters"

    @property
    def required(self) -> bool:
        """Whether `fit` must be called before `solve`."""
        return self is not Fitting.NONE


@dataclass(frozen=True)
class TrainingRecord:
    """What training cost for one number of steps, and what its starts found; None for what is not known.

    Attributes:
        steps: training steps of a start.
        tasks: training tasks drawn, all starts.
        flops: floating-point operations of the training, all starts.
        starts: starts of the search.
        spread: log validation loss of the worst start minus that of the best.
        near_best: share of starts whose log validation loss is within 0.05 of the best.
        median: natural logarithm of the validation loss of the median start: what one start is likely to find.
    """

    steps: int | None = None
    tasks: int | None = None
    flops: float | None = None
    starts: int | None = None
    spread: float | None = None
    near_best: float | None = None
    median: float | None = None


class Solver(ComparedByValue, ABC):
    """A method that answers regression problems. Subclasses are frozen dataclasses of hyper-parameters.

    `fit` and `adapt` take gradients whatever mode of torch their caller is in. Solvers with the same settings and
    parameters are equal.

    The first five class attributes are its traits: declared here alone, stored in every row of a result, and read by
    whatever compares, judges or shows solvers. The name under which a solver is registered decides nothing.

    Class attributes:
        needs: what it must be told (see `Needs`).
        reach: the class of methods whose best member bounds its loss from below (see `Reach`).
        fitting: what `fit` does, whether it must be called, and whether chance is in it (see `Fitting`). What `fit`
            finds is kept in a dataclass field `parameters: Mapping[str, Tensor] | None`, so that it can be saved and
            put back without fitting again.
        learned: whether its form itself is learned from tasks: many coefficients, by descent on a training loss. A
            classical method whose one or two constants are searched for is not.
        batched: whether it solves all tasks of a batch at once; otherwise it loops over them.
        version: goes up when any number it computes can change.
        anytime: whether `solve(p, k).weights[j]` equals `solve(p, j).weights[j]`, so that one solve tells
            every smaller number of steps. False for a method whose parameters depend on the horizon.
        countable: whether torch does all of its work, so that it can be counted.
        numbers: parameters that `solve` reads as plain numbers, so that they stay on the CPU wherever it solves; so do
            those without a dimension.
        serves: objectives that it is for: those of this class. A method that asks a problem for its
            gradient alone serves every `Objective`; what uses the moments serves `LeastSquares`.
    """

    needs: ClassVar[Needs]
    reach: ClassVar[Reach] = Reach.ANY
    fitting: ClassVar[Fitting] = Fitting.NONE
    learned: ClassVar[bool] = False
    batched: ClassVar[bool] = True
    version: ClassVar[int] = 1
    anytime: ClassVar[bool] = True
    countable: ClassVar[bool] = True
    serves: ClassVar[type[Objective]] = LeastSquares
    numbers: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        own = vars(cls)
        for name in {"fit", "fit_many", "adapt"} & set(own):
            setattr(cls, name, learns(own[name]))
        if "solve" in own:
            cls.solve = _serving(own["solve"])  # pyright: ignore[reportAttributeAccessIssue]

    def prepare(self, dtype: torch.dtype, device: torch.device) -> None:
        """What the first use of this solver on a machine takes once, such as compiling, done before a clock starts."""

    def placed(self, dtype: torch.dtype, device: torch.device) -> Solver:
        """The same solver with its parameters where it is to solve, so that `solve` copies none to an accelerator.

        What `fit` finds lies on the CPU, whatever it was fitted on; whoever times or scores a solver asks for this
        first.
        """
        parameters = getattr(self, "parameters", None)
        if device.type == "cpu" or not parameters:
            return self
        found = {
            name: moved(value, dtype, device)
            if value.ndim and value.is_floating_point() and name not in self.numbers
            else value
            for name, value in parameters.items()
        }
        return dataclasses.replace(self, parameters=found)  # pyright: ignore[reportArgumentType]

    def skip(self, tasks: TaskSource) -> tuple[bool, str]:
        """Whether it is to be left out on such tasks, and why, in a sentence; asked before it is fitted or solves."""
        why = self._refusal(getattr(tasks, "objective", LEAST_SQUARES))
        return bool(why), why

    def _refusal(self, objective: Objective) -> str:
        """Why it cannot minimise an objective; empty if it can."""
        plain = not isinstance(objective, LeastSquares) or not objective.ridge
        if isinstance(objective, self.serves) and (plain or self.serves is Objective):
            return ""
        what = objective.name if plain else f"{objective.name} with a ridge"
        return f"it does not serve the objective here, {what}"

    def fit(self, tasks: TaskSource, steps: Sequence[int], seed: int = 0) -> Solver:
        """An ordinary solver, fitted to a task law.

        Args:
            tasks: training tasks and what the law knows. Only what `TaskSource` names may be used: what is behind it,
                in this process, would lead to the scored tasks.
            steps: the numbers of steps that will be asked of `solve`.
            seed: of every random choice that is not a task.

        Returns:
            The fitted solver; `self` for a solver without parameters to fit.
        """
        return self

    def fit_many(self, sources: Sequence[TaskSource], steps: Sequence[int], seeds: Sequence[int]) -> list[Solver]:
        """One fitted solver for each pair of source and seed; a solver that can trains them all at once."""
        return [self.fit(tasks, steps, seed) for tasks, seed in zip(sources, seeds, strict=True)]

    def training_record(self, num_steps: int) -> TrainingRecord | None:
        """What the training of the parameters for a number of steps cost and found; None if nothing was recorded."""

    def adapt(self, context: Problem) -> Solver:
        """The solver adapted to the tasks of `context` from what is known of them there: no query label, no `w_star`.

        Raises:
            ValueError: if the solver has nothing that adapts.
        """
        raise ValueError(f"{type(self).__name__} has nothing that adapts to a task's context")

    @abstractmethod
    def solve(self, problem: Problem, num_steps: int) -> Trace:
        """Run `num_steps >= 0` steps on every task of `problem`; never modifies the problem."""


def _serving(solve: Callable[..., Trace]) -> Callable[..., Trace]:
    """Let `solve` refuse problems whose objective its solver does not serve."""

    @functools.wraps(solve)
    def serving(self: Solver, problem: Problem, num_steps: int) -> Trace:
        why = self._refusal(problem.objective)
        if why:
            raise ValueError(f"{type(self).__name__} cannot solve this problem: {why}")
        return solve(self, problem, num_steps)

    return serving


def check_num_steps(num_steps: int) -> None:
    """Raise ValueError unless `num_steps` is a whole number >= 0."""
    require_int("num_steps", num_steps, least=0)
