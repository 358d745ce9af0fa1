"""The door for trained methods: an ordinary solver of any `nn.Module` that answers regression problems."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, ClassVar, Literal, Self, get_args

import torch
from torch import Tensor, nn

from memformer.core.checks import require_choice
from memformer.core.modes import learns
from memformer.core.problem import Problem, TaskSource
from memformer.core.solver import Fitting, Needs, Solver, TrainingRecord, check_num_steps
from memformer.core.tensors import in_double
from memformer.core.trace import Trace
from memformer.solvers.readouts import Answers, Reads, mean_losses, readouts
from memformer.training.budget import Budget
from memformer.training.modules import float32_by_default, train_module
from memformer.training.recipe import ProgressCallback
from memformer.training.search import Search, SearchRecord
from memformer.training.unfinished import Unfinished

Loss = Literal["each", "last"]
Precision = Literal["float32", "float64"]

AT_ONCE = 500
"""Tasks that a CPU solves at once: what a module keeps of more does not fit into its cache."""


@dataclass(frozen=True, kw_only=True)
class LearnedSolver(Solver):
    """A method that is an `nn.Module`, trained on fresh tasks of a law by the project's trainer.

    A subclass is a frozen dataclass of hyper-parameters that defines `build`. The module's `forward` gets what the
    class `reads`: the context and the query points, `X` `(B, N, d)`, `y` `(B, N)` and `x_query` `(B, q, d)`; or the
    moments `H` `(B, d, d)` and `b` `(B, d)`; or a `memformer.solvers.readouts.Field`, which it asks for gradients. It
    gives the predictions `(steps, B, q)` after each of its steps, or the weights `(steps, B, d)` if that is what it
    `answers`; or `(B, q)`, `(B, d)`, those of its last step alone. Dtype and device are those of what it gets. No step
    is 0, and is not asked for.

    What a module sees has no units: covariates are divided by their root mean square over the law, labels (or `b`) by
    their mean magnitude in the task, and answers are multiplied back. So answers are in proportion to y, as those of
    least squares are, and zero labels are answered by 0.

    With `loss="each"` one module, for the largest number of steps asked for, is trained on the mean of its readouts'
    log losses and tells all smaller numbers of steps. With `loss="last"` each number of steps has a module of its own,
    trained for its last readout.

    Attributes:
        iterations: training steps; this, the next three and the number of tasks decide what training costs, and
            seconds decide nothing.
        batch: fresh tasks of a training step.
        starts: random starts of training, of which the best on validation tasks is the model.
        learning_rate: at its highest; it falls as a cosine.
        loss: `"each"` readout counts, or only the `"last"`.
        precision: of training; a solve has that of its problem.
        parameters: `depths` `(R,)`, `made_for` `(d, N)`, the law's `scale`, and what the R modules of those depths
            hold, by `depth.name`; found by `fit`. `search_losses`, `search_steps`, `training_flops` tell what it took.

    Class attributes:
        answers: `"predictions"` at the query points, or `"weights"`, whose expected loss is known exactly.
        reads: the `"context"`, or only its `"moments"`, or `"gradients"` of the objective, whatever that is.
        nested: whether the module of k steps is the first k steps of a deeper one, with parameters of the same names;
            then fewer steps than were trained cost less.
        repeats: whether it is one step, repeated, so that it can take more steps than it was trained for.
        any_d: whether its parameters are the same at every d, so that it can solve tasks of another d.

    Raises:
        ValueError: if a value is out of its range.

    Needs: the law (training tasks of it).
    Cost: what the module reports to `memformer.ledger`.

    Example:
        >>> class Mean(nn.Module):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.size = nn.Parameter(torch.zeros(()))
        ...
        ...     def forward(self, H, b):
        ...         return self.size * b
        >>> @dataclass(frozen=True)
        ... class OneStep(LearnedSolver):
        ...     loss: Loss = "last"
        ...     answers = "weights"
        ...     reads = "moments"
        ...
        ...     def build(self, d, N, steps):
        ...         return Mean()
        >>> OneStep().solve(Problem(torch.ones(1, 2, 1), torch.ones(1, 2), torch.ones(1, 1, 1)), 1)
        Traceback (most recent call last):
        ValueError: OneStep has no parameters yet; call fit first
    """

    iterations: int = 2000
    batch: int = 256
    starts: int = 3
    learning_rate: float = 3e-3
    loss: Loss = "each"
    precision: Precision = "float32"
    parameters: Mapping[str, Tensor] | None = None

    needs: ClassVar[Needs] = Needs.LAW
    fitting: ClassVar[Fitting] = Fitting.RANDOM
    learned: ClassVar[bool] = True
    answers: ClassVar[Answers] = "predictions"
    reads: ClassVar[Reads] = "context"
    nested: ClassVar[bool] = False
    repeats: ClassVar[bool] = False
    any_d: ClassVar[bool] = False

    def __post_init__(self) -> None:
        require_choice("loss", self.loss, get_args(Loss))
        require_choice("precision", self.precision, get_args(Precision))
        require_choice("reads", self.reads, get_args(Reads))
        require_choice("answers", self.answers, get_args(Answers))
        if self.reads != "context" and self.answers != "weights":
            name = type(self).__name__
            raise ValueError(f"{name} reads {self.reads} and answers predictions; it must answer weights")
        self.budget  # noqa: B018 - building it checks its fields

    @abstractmethod
    def build(self, d: int, N: int, steps: int) -> nn.Module:
        """A module of `steps >= 1` steps with new parameters, for contexts of N points in d dimensions."""

    @property
    def anytime(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride] -- read on instances
        """Whether one module answers for every number of steps."""
        return self.loss == "each"

    @property
    def budget(self) -> Budget:
        """How modules of this solver are trained."""
        return Budget(
            iterations=self.iterations,
            batch=self.batch,
            learning_rate=self.learning_rate,
            queries=8 if self.answers == "predictions" else 1,
            search=Search(starts=self.starts, drops=((0.25, 0.5),)),
        )

    def fit(
        self,
        tasks: TaskSource,
        steps: Sequence[int],
        seed: int = 0,
        progress: ProgressCallback | None = None,
        unfinished: Unfinished | None = None,
    ) -> Self:
        """See `Solver.fit`.

        Args:
            tasks: as there; so are the next two.
            steps: as there.
            seed: as there.
            progress: called after every validation.
            unfinished: where training is kept that is interrupted, to be taken up by the next call. The caller removes
                it when it has the parameters.

        Raises:
            TrainingError: if training finds no finite loss, or none below the first.
            ValueError: if the module is not what a module must be.
        """
        asked = sorted({step for step in steps if step > 0}, reverse=True)
        depths, budget = asked[:1] if self.loss == "each" else asked, self.budget
        scale = float((in_double(tasks.second_moment).trace() / tasks.d).sqrt()) or 1.0
        found = {"depths": torch.tensor(depths, dtype=torch.int64), "made_for": torch.tensor([tasks.d, tasks.N])}
        found["scale"] = torch.tensor(scale, dtype=torch.float64)
        records, flops = [], []
        for depth in depths:
            self._try(depth, tasks, scale)
        for depth in depths:
            trained = train_module(
                partial(self._built, tasks.d, tasks.N, depth),
                partial(self._losses, steps=depth, scale=scale),
                tasks,
                budget,
                [generator.initial_seed() for generator in budget.search.generators(seed, depth)],
                getattr(torch, self.precision),
                progress,
                unfinished and unfinished.of(str(depth)),
            )
            found |= {f"{depth}.{name}": tensor for name, tensor in trained.state.items()}
            records.append(trained.record)
            flops.append(trained.flops)
        found |= SearchRecord.to_tensors(records)
        return replace(self, parameters={**found, "training_flops": torch.tensor(flops, dtype=torch.float64)})

    def unfinished(self, path: Path, header: Mapping[str, str]) -> Unfinished:
        """Where a fit may keep its state (see `fit`).

        Args:
            path: of a file that is the fit's own; state is kept in files beside it.
            header: all that could change the parameters.
        """
        return Unfinished(path, header)

    def solve(self, problem: Problem, num_steps: int) -> Trace:
        check_num_steps(num_steps)
        if self.parameters is None:
            raise ValueError(f"{type(self).__name__} has no parameters yet; call fit first")
        last = problem.d if self.answers == "weights" else problem.x_query.shape[1]
        readouts = problem.X.new_zeros(1, problem.B, last)
        if num_steps > 0:
            module, steps = self._fitted(problem, num_steps)
            scale = float(self.parameters["scale"])
            found = torch.cat([self._readouts(module, block, steps, scale) for block in _blocks(problem)], -2)
            if found.ndim == 2:
                found = torch.cat([readouts.expand(steps - 1, -1, -1), found[None]])
            readouts = torch.cat([readouts, found[:num_steps]])
        return Trace.of_weights(readouts) if self.answers == "weights" else Trace.of_predictions(readouts)

    def placed(self, dtype: torch.dtype, device: torch.device) -> Self:
        """Itself: its modules are kept where they were first used."""
        return self

    def training_record(self, num_steps: int) -> TrainingRecord | None:
        depth = None if self.parameters is None else self._depth(num_steps)
        records = SearchRecord.from_tensors(self.parameters or {})
        if self.parameters is None or depth is None or not records:
            return None
        row = self.parameters["depths"].tolist().index(depth)
        found, flops = records[row], float(self.parameters["training_flops"][row])
        taken = max(found.steps)
        return TrainingRecord(
            taken, taken * self.batch, flops, found.starts, found.spread, found.near_best, found.median
        )

    def _depth(self, num_steps: int) -> int | None:
        """Steps of the module that answers for so many; None if there is none."""
        assert self.parameters is not None
        depths = self.parameters["depths"].tolist()
        fitting = [depth for depth in depths if depth == num_steps or (self.loss == "each" and depth > num_steps)]
        return min(fitting, default=max(depths, default=None) if self.repeats and self.nested else None)

    def _fitted(self, problem: Problem, num_steps: int) -> tuple[nn.Module, int]:
        """The module for a number of steps, in the dtype and on the device of a problem, and the steps it takes."""
        assert self.parameters is not None
        name, depth = type(self).__name__, self._depth(num_steps)
        if depth is None:
            fitted = sorted(self.parameters["depths"].tolist())
            raise ValueError(f"{name} was fitted for {fitted} steps and cannot take {num_steps}")
        d = int(self.parameters["made_for"][0])
        if problem.d != d and not self.any_d:
            raise ValueError(f"{name} was fitted for d={d}; the problem has d={problem.d}")
        steps = int(num_steps) if self.nested else depth
        key = (steps, problem.dtype, problem.device)
        if key not in self._modules:
            self._modules[key] = self._restored(depth, steps).to(dtype=problem.dtype, device=problem.device)
        return self._modules[key], steps

    @cached_property
    def _modules(self) -> dict[tuple[Any, ...], nn.Module]:
        """Those that have been used."""
        return {}

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_modules"}

    @learns
    def _restored(self, depth: int, steps: int) -> nn.Module:
        """The module of so many steps with the parameters of the fitted one of `depth` steps."""
        assert self.parameters is not None
        with torch.random.fork_rng([]), float32_by_default():
            d, N = self.parameters["made_for"].tolist()
            module = self._built(d, N, steps)
        held = {name: self.parameters.get(f"{depth}.{name}") for name in module.state_dict()}
        for name, wanted in module.state_dict().items():
            value = held[name]
            if value is None or value.shape != wanted.shape:
                raise ValueError(f"the parameters of {type(self).__name__} lack {name} of shape {tuple(wanted.shape)}")
        module.to(getattr(torch, self.precision)).load_state_dict(held)
        return module.eval().requires_grad_(False)

    @learns
    def _try(self, depth: int, tasks: TaskSource, scale: float) -> None:
        """Raise ValueError if a module cannot answer tasks of float64, which training in float32 would not tell."""
        with torch.random.fork_rng([]), float32_by_default():
            module = self._built(tasks.d, tasks.N, depth).double().eval()
            if not any(weight.requires_grad for weight in module.parameters()):
                return  # training says so
            X, x_query = (torch.randn(2, count, tasks.d, dtype=torch.float64) for count in (tasks.N, 3))
            problem = Problem(X, torch.rand(2, tasks.N, dtype=torch.float64), x_query, objective=tasks.objective)
        try:
            self._readouts(module, problem, depth, scale)
        except (RuntimeError, TypeError) as error:
            told = " ".join(str(error).split())
            raise ValueError(f"{type(module).__name__} cannot answer tasks of float64: {told}") from error

    def _built(self, d: int, N: int, steps: int) -> nn.Module:
        module = self.build(d, N, steps)
        if not isinstance(module, nn.Module):
            raise ValueError(f"{type(self).__name__}.build gave a {type(module).__name__}; it must give an nn.Module")
        return module

    def _readouts(self, module: nn.Module, problem: Problem, steps: int, scale: float) -> Tensor:
        found = readouts(module, problem, steps, scale, self.reads, self.answers)
        if found.ndim == 2 and self.loss == "each" and steps > 1:
            name = type(module).__name__
            raise ValueError(f"{name} answers for its last step alone; that needs loss='last'")
        return found

    def _losses(self, module: nn.Module, problem: Problem, steps: int, scale: float) -> Tensor:
        """Mean loss of each readout that counts, `(R,)`."""
        found = self._readouts(module, problem, steps, scale)
        counts = found[None] if found.ndim == 2 else found[-1:] if self.loss == "last" else found
        return mean_losses(counts, problem, self.answers)


def _blocks(problem: Problem) -> list[Problem]:
    """The tasks in parts that a device solves at once."""
    size = AT_ONCE if problem.device.type == "cpu" else problem.B
    if size >= problem.B:
        return [problem]
    return [problem.select(slice(start, start + size)) for start in range(0, problem.B, size)]
