"""The one schema of the result tables: what a row of `scores.csv` and of `timings.csv` says."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from benchmarks.suites.entries import Protocol
from benchmarks.tasks.importance import Sampling

SCHEMA_VERSION = 6
"""Goes up when a column changes its name, type or meaning; `benchmarks.runs.migrate` reads the older ones.

2: a status may be `memory_limit`. 3: timings say the work of a solve: `products`, `flops`, `peak_bytes`.
4: traits of the solver, the law trained on, what an interval holds random, how tasks were drawn, which floor a gap
refers to, what training cost, which metric is shown, whether few tasks carry a mean; the machine of a timing. 5: where
fitted parameters are from, and ranks that solvers share. 6: a status may be `skipped`."""

PREFERRED_METRICS = ("expected_test_loss", "test_loss")
"""The metric that tables show is the first of these that a cell has: same mean, least variance first."""

Status = Literal["ok", "skipped", "diverged", "breakdown", "nonfinite", "time_limit", "memory_limit", "error"]
"""How a cell ended. Everything but `ok` comes with a reason."""

FAILURES: tuple[Status, ...] = ("diverged", "nonfinite", "time_limit", "memory_limit", "error")
"""States after which a run does not count as a success. A breakdown leaves a good iterate, and what a solver does not
serve (`memformer.core.solver.Solver.skip`) is skipped: neither is one."""


def _missing(value: object) -> object:
    """A missing cell of a CSV file (nan after pandas has read it) is None."""
    return None if value is None or value != value else value


Optional = Annotated[float | None, BeforeValidator(_missing)]
OptionalInt = Annotated[int | None, BeforeValidator(_missing)]
OptionalBool = Annotated[bool | None, BeforeValidator(_missing)]
ParametersFrom = Annotated[
    Literal["", "fitted", "shipped"], BeforeValidator(lambda value: "" if _missing(value) is None else value)
]
Text = Annotated[str, BeforeValidator(lambda value: "" if _missing(value) is None else value)]


class _Columns(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class LawColumns(_Columns):
    """The law whose tasks are solved.

    Attributes:
        law: registry id of the task law; `law_version`, `d`, `N`, `noise_std`, `law_params` (JSON) complete it.
        fingerprint: of the law's first task.
    """

    law: str
    law_version: int = Field(ge=1)
    d: int = Field(ge=1)
    N: int = Field(ge=1)
    noise_std: float = Field(ge=0)
    law_params: str
    fingerprint: str


class SolverColumns(_Columns):
    """The solver, and the traits it declares (see `memformer.core.solver.Solver`).

    Attributes:
        solver: registry id; `solver_version`, `solver_params` (JSON) complete it.
        trained_on: the law that it was fitted on, with what differs from that law's defaults; empty: the one it solves.
        needs: what the solver must be told.
        fitting: `none`, `closed_form` or `random`.
        learned: whether its form itself is learned from tasks.
        batched: whether it solves all tasks of a batch at once; otherwise it loops over them.
    """

    solver: str
    solver_version: int = Field(ge=1)
    solver_params: str
    trained_on: Text
    needs: Literal["nothing", "L", "mu, L", "law", "direct"]
    fitting: Literal["none", "closed_form", "random"]
    learned: bool
    batched: bool


class ConditionColumns(_Columns):
    """Under what conditions.

    Attributes:
        steps: number of steps.
        protocol: what the solver was fitted and scored on.
        device: kind of device; `dtype`: floating-point type.
    """

    steps: int = Field(ge=0)
    protocol: Protocol
    device: str
    dtype: Literal["float32", "float64"]


class Identity(ConditionColumns, SolverColumns, LawColumns):  # the columns of the last base come first
    """What was computed: the columns that both tables share."""


VERSIONS = ["law_version", "fingerprint", "solver_version"]
"""Columns that say which state of the code computed a row."""

TRAITS = ["needs", "fitting", "learned", "batched"]
"""Columns that follow from the solver and its parameters."""

LAW = [name for name in LawColumns.model_fields if name not in VERSIONS]
"""Columns that name the law, whatever its version."""

SOLVER = list(SolverColumns.model_fields)
"""Columns that say which solver, its version and traits."""

TASK = [name for name in Identity.model_fields if name not in (*SOLVER, "steps")]
"""Columns that say which tasks are solved, and how: solvers are compared where these are equal."""

SCORED_ON = [*TASK, "draw"]
"""Columns of `scores.csv` that say on which tasks a solver was scored: losses are compared where these are equal."""

NAMED = [name for name in Identity.model_fields if name not in (*VERSIONS, *TRAITS)]
"""Columns that name what was computed, whatever the versions: rows of two runs are paired by them."""


class ScoreRow(Identity):
    """One row of `scores.csv`: the losses of one cell after one number of steps.

    Attributes:
        seed: seed of tasks, training and initialisation; empty in the row that pools all seeds.
        metric: registry id of the metric (empty if the cell failed as a whole); losses are in units of y squared,
            logarithms natural.
        shown: whether this metric is the one that tables show for the cell.
        draw: how the scored tasks were drawn: `plain`, from the law; `importance`, ill-conditioned ones more often and
            with weights (see `benchmarks.tasks.importance`). Means, intervals and gaps are then of weight times loss,
            quantiles are weighted, and outcomes are those of the tasks as they were drawn.
        num_tasks: tasks scored.
        levels: what the intervals of this row hold random: its `tasks`, or `seeds_and_tasks` in a row of several seeds
            under which the solver was fitted anew, at random, or other parts of a table of real data were scored.
        mean, log_mean, log_low, log_high, median, trimmed_mean: see `benchmarks.statistics.Summary`.
        q90, q99: upper quantiles over tasks.
        tail_limited: whether so few tasks carry the mean that no interval of it can be trusted (see
            `benchmarks.statistics.tail_limited`; fixed coefficients on importance draws have the higher limit). Empty
            where there is no mean, or nobody looked.
        reach: the class of methods the solver belongs to, whose best member is its floor.
        gap_to_floor, gap_low, gap_high: log of the ratio of the mean loss to that of the floor on the same tasks,
            and its paired 95 % interval; empty where no floor is known (or it is 0).
        floor: which floor that is: `lfom_optimal` or `lfom_optimal_preconditioned`, the best fixed coefficients;
            `krylov_oracle` or `krylov_oracle_preconditioned`, the best of each task's Krylov space; `bayes`, or
            `kernel_ridge` or `logistic_bayes` where that is the Bayes estimate.
        floor_exact: whether its loss on these tasks is exact (empty without a floor); otherwise it is estimated, and
            `floor_error` is the estimated relative error of its mean loss (empty: unknown, or exact).
        gap_to_bayes: the same for the Bayes estimate; empty where that has no loss.
        alarm: what is suspicious about the number, in one sentence; empty if nothing is.
        converged, max_steps, diverged, breakdown, nonfinite: tasks that ended so (see `Outcome`).
        parameters: `fitted`, by this source, here or earlier; `shipped`, those that come with the project (see
            `benchmarks.shipped`); empty where nothing is fitted.
        train_steps, train_tasks, train_flops: training steps, tasks and floating-point operations of the fit.
        starts, starts_spread, starts_near_best, median_start: what its starts found; these seven are explained in
            `memformer.core.solver.TrainingRecord`. A row of several seeds has the mean over them; empty where nothing
            is trained, or nothing was recorded.
        rank: 1 + the number of solvers with lower ranks among those that need the same, on the same tasks after the
            same steps; shared by all that paired tests cannot tell apart (see `benchmarks.runs.standing`). Only in the
            row of all seeds, or the only one; empty where the solver was scored on fewer tasks than others, or failed.
        status, reason: `ok`, or what went wrong, in one sentence.
    """

    seed: OptionalInt
    metric: Text
    shown: bool
    draw: Sampling
    num_tasks: int = Field(ge=0)
    levels: Literal["tasks", "seeds_and_tasks"]
    mean: Optional
    log_mean: Optional
    log_low: Optional
    log_high: Optional
    median: Optional
    trimmed_mean: Optional
    q90: Optional
    q99: Optional
    tail_limited: OptionalBool
    reach: str
    floor: Text
    floor_exact: OptionalBool
    floor_error: Optional
    gap_to_floor: Optional
    gap_low: Optional
    gap_high: Optional
    gap_to_bayes: Optional
    alarm: Text
    converged: int = Field(ge=0)
    max_steps: int = Field(ge=0)
    diverged: int = Field(ge=0)
    breakdown: int = Field(ge=0)
    nonfinite: int = Field(ge=0)
    parameters: ParametersFrom
    train_steps: Optional
    train_tasks: Optional
    train_flops: Optional
    starts: Optional
    starts_spread: Optional
    starts_near_best: Optional
    median_start: Optional
    rank: OptionalInt
    status: Status
    reason: Text


SCORED = ["metric", "seed", "draw"]
"""Columns beyond `Identity` that tell rows of `scores.csv` apart."""

TIMED = ["machine", "batch", "threads"]
"""Columns beyond `Identity` that tell rows of `timings.csv` apart."""

TIMES = ("repeats", "cold_seconds", "warm_median", "warm_q25", "warm_q75", "train_seconds", "train_reused")
"""Columns of `timings.csv` in which two runs of one suite may differ; every other column of both tables is the same."""


class TimingRow(Identity):
    """One row of `timings.csv`: the wall-clock time of one solve, in seconds for the whole batch.

    Attributes:
        machine: what it was measured on: the processor and its cores, or the accelerator. A time belongs to it. For a
            solver that does not work in torch it is the processor, wherever its tasks lie: copying them is in the time.
        batch: tasks solved in one call.
        threads: CPU threads of every library.
        repeats: warm repetitions, interleaved over all solvers.
        cold_seconds: the first call with this batch and number of steps. Code that scoring in the same process, or
            smaller numbers of steps, have loaded or compiled is there already.
        warm_median, warm_q25, warm_q75: quartiles of the repetitions.
        train_seconds: fitting, all seeds together (empty: nothing is fitted).
        train_reused: whether those parameters were found again, `train_seconds` being the time it once took.
        products, flops: matrix-vector products and floating-point operations a task; peak_bytes: most memory that the
            solve held at once, whole batch (see `benchmarks.harness.timings.cost.Work`). Empty where not counted:
            the solver works outside of torch, or multiplies matrices and does not report it (products alone).
        status, reason: `ok`, or what went wrong, in one sentence.
    """

    machine: str
    batch: int = Field(ge=1)
    threads: int = Field(ge=1)
    repeats: int = Field(ge=0)
    cold_seconds: Optional
    warm_median: Optional
    warm_q25: Optional
    warm_q75: Optional
    train_seconds: Optional
    train_reused: bool
    products: Optional
    flops: Optional
    peak_bytes: Optional
    status: Status
    reason: Text
