"""How a Memformer is trained, and what training left: the recipe, the history, the failure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, get_args

from memformer.core.checks import require_choice, require_int, require_number, store_ints
from memformer.core.problem import SPREAD
from memformer.model.config import MemformerConfig
from memformer.training.objective import LossKind
from memformer.training.search import Search

Method = Literal["adam", "lbfgs"]
Schedule = Literal["cosine", "constant"]


class TrainingError(RuntimeError):
    """A model never trained; says in one sentence which, and why."""


class Progress(NamedTuple):
    """Where training is: `done` of at most `total` steps, and the median over models of the validation loss."""

    done: int
    total: int
    loss: float


ProgressCallback = Callable[[Progress], None]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How to train. The defaults reach the floor that theory gives for models with P = 0 in seconds.

    Attributes:
        method: `"adam"` on a stream of fresh tasks; or `"lbfgs"` on a fixed set of them, which is a little faster for
            P = 0, but fits the rare tasks of a heavy-tailed law too closely.
        loss: `"expected"`, exact over queries, where tasks tell `w_star` and `second_moment`; `"query"`, sampled;
            `"auto"` takes the first where it can.
        steps: at most so many steps (Adam) or evaluations (L-BFGS); None is 500, from 4 layers on 125 a layer (with P
            free 500, 1500, 3000, 5000 for 1 to 4 layers, `250 k (k + 1)`), and 150.
        tasks: L-BFGS: the fixed training set. Adam: tasks drawn at a time, used `passes` times each.
        batch: tasks evaluated at a time; an Adam step sees one batch.
        validation: fresh tasks that choose among the models training has seen; None is half of `tasks`. (Losses of
            deep models have heavy tails: the mean over 10,000 tasks is no judge between good ones.)
        interval: steps between validations; None is 50 and 10.
        checkpoints: the very steps of the validations, in place of every `interval`; the last step always is one.
        patience: stop once so many validations in a row gain no model more than `tolerance` in log loss; 0 never stops,
            None is 10 (Adam, whose cosine schedule has most of its gain near the end) and 3 (L-BFGS).
        tolerance: see `patience`.
        whiten: whether training moves in coordinates in which the law's covariates are white.
        noise: standard deviation of the random deviations from gradient descent at the start.
        learning_rate: Adam's, at its highest.
        schedule: Adam's, after the warm-up.
        warmup: share of the steps over which Adam's learning rate rises.
        betas: Adam's.
        clip: largest norm of a model's gradient, of the loss relative to its running mean; None does not clip.
        passes: see `tasks`; None is 2, and 4 with P free, where there are so many steps that the tasks are many anyway.
        retries: how often a model that became nonfinite goes back to its best point, with half the step.
        search: from where training starts; None is 3 random starts, and with P free 9, of which 5 train to the end.
        spread: where the law knows how, tasks are drawn so that rare ill-conditioned ones are not rare, with weights:
            largest eigenvalues are up to so many times as large. 1 draws from the law itself; None is 2.1, and 1.2 for
            three layers and more with P free. (There the mean over a law is carried by tasks so rare that a million
            draws hold none: what is trained for them is worse on all others.)
        compile: whether `torch.compile` makes the loss and its gradient; worth its tens of seconds in long runs only.

    Raises:
        ValueError: if a value is out of its range.

    Example:
        >>> Recipe(method="sgd")
        Traceback (most recent call last):
        ValueError: method is 'sgd'; it must be 'adam' or 'lbfgs'
    """

    method: Method = "adam"
    loss: LossKind = "auto"
    steps: int | None = None
    tasks: int = 20_000
    batch: int = 1_000
    validation: int | None = None
    interval: int | None = None
    checkpoints: tuple[int, ...] | None = None
    patience: int | None = None
    tolerance: float = 1e-3
    whiten: bool = True
    noise: float = 1e-2
    learning_rate: float = 0.03
    schedule: Schedule = "cosine"
    warmup: float = 0.05
    betas: tuple[float, float] = (0.9, 0.99)
    clip: float | None = 1.0
    passes: int | None = None
    retries: int = 5
    search: Search | None = None
    spread: float | None = None
    compile: bool = False

    def __post_init__(self) -> None:
        for name, choices in {"method": Method, "loss": LossKind, "schedule": Schedule}.items():
            require_choice(name, getattr(self, name), get_args(choices))
        for name in ("steps", "tasks", "batch", "validation", "interval", "patience", "passes", "retries"):
            value, least = getattr(self, name), 0 if name in ("patience", "retries") else 1
            optional = name in ("steps", "validation", "interval", "patience", "passes")
            if not (optional and value is None):
                store_ints(self, name, least=least)
        for step in self.checkpoints or ():
            require_int("a step of checkpoints", step, least=1)
        for name in ("learning_rate", "clip", "noise", "tolerance", "warmup"):
            if name != "clip" or self.clip is not None:
                require_number(name, getattr(self, name), least=0.0)
        if self.spread is not None:
            require_number("spread", self.spread, least=1.0)

    def steps_for(self, config: MemformerConfig, depth: int) -> int:
        """At most so many steps for models of so many layers, the default resolved."""
        if self.steps is not None:
            return self.steps
        if self.method == "lbfgs":
            return 150
        return 250 * depth * (depth + 1) if config.covariate_update else max(500, 125 * depth)

    def passes_for(self, config: MemformerConfig) -> int:
        """How often each task is used, the default resolved."""
        return self.passes or (4 if config.covariate_update else 2)

    def tasks_drawn(self, config: MemformerConfig, steps: int) -> int:
        """Training tasks that so many steps see, each once."""
        if self.method == "lbfgs":
            return self.tasks
        batch = min(self.batch, self.tasks)
        return -(-steps // (-(-self.tasks // batch) * self.passes_for(config))) * self.tasks

    def search_for(self, config: MemformerConfig) -> Search:
        """From where training starts, the default resolved."""
        if self.search is not None:
            return self.search
        return Search(starts=9, drops=((0.3, 0.55),)) if config.covariate_update else Search(starts=3)

    def spread_for(self, config: MemformerConfig, depth: int) -> float:
        """How far tasks are spread for models of so many layers, the default resolved."""
        if self.spread is not None:
            return self.spread
        return 1.2 if config.covariate_update and depth > 2 else SPREAD

    @property
    def validation_interval(self) -> int:
        """Steps between validations, the default resolved."""
        return self.interval or {"adam": 50, "lbfgs": 10}[self.method]

    def validates(self, step: int, total: int) -> bool:
        """Whether there is a validation after step `step` of `total`."""
        if step == total:
            return True
        return step % self.validation_interval == 0 if self.checkpoints is None else step in self.checkpoints

    def impatient(self, idle: int) -> bool:
        """Whether to stop after `idle` validations without gain."""
        patience = {"adam": 10, "lbfgs": 3}[self.method] if self.patience is None else self.patience
        return 0 < patience <= idle


class Record(NamedTuple):
    """One validation: the step, seconds since the start, and each model's training and validation loss."""

    step: int
    seconds: float
    training: list[float]
    validation: list[float]


@dataclass
class History:
    """What happened while S models trained.

    Attributes:
        records: one a validation.
        events: what went wrong and was mended, a sentence each.
        method: `"lbfgs"` or `"adam"`.
    """

    records: list[Record] = field(default_factory=list)
    events: list[str] = field(default_factory=list)
    method: str = ""
