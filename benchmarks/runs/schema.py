"""The one schema of the result tables: what a row of `scores.csv` and of `timings.csv` says."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from benchmarks.suites.entries import Protocol

SCHEMA_VERSION = 3
"""Goes up when a column changes its name, type or meaning; `benchmarks.runs.migrate` reads the older ones.

2: a status may be `memory_limit`. 3: timings say the work of a solve: `products`, `flops`, `peak_bytes`."""

Status = Literal["ok", "diverged", "breakdown", "nonfinite", "time_limit", "memory_limit", "error"]
"""How a cell ended. Everything but `ok` comes with a reason and makes the run's exit status non-zero."""

FAILURES: tuple[Status, ...] = ("diverged", "nonfinite", "time_limit", "memory_limit", "error")
"""States after which a run does not count as a success. A breakdown leaves a good iterate and is not one."""


def _missing(value: object) -> object:
    """A missing cell of a CSV file (nan after pandas has read it) is None."""
    return None if value is None or value != value else value


Optional = Annotated[float | None, BeforeValidator(_missing)]
OptionalInt = Annotated[int | None, BeforeValidator(_missing)]
Text = Annotated[str, BeforeValidator(lambda value: "" if _missing(value) is None else value)]


class Identity(BaseModel):
    """What was computed: the columns that both tables share.

    Attributes:
        law: registry id of the task law; `law_version`, `d`, `N`, `noise_std`, `law_params` (JSON) complete it.
        fingerprint: of the law's first task.
        solver: registry id; `solver_version`, `solver_params` (JSON) complete it.
        needs: what the solver must be told.
        steps: number of steps.
        protocol: what the solver was fitted and scored on.
        device: kind of device; `dtype`: floating-point type.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    law: str
    law_version: int = Field(ge=1)
    d: int = Field(ge=1)
    N: int = Field(ge=1)
    noise_std: float = Field(ge=0)
    law_params: str
    fingerprint: str
    solver: str
    solver_version: int = Field(ge=1)
    solver_params: str
    needs: Literal["nothing", "L", "mu, L", "law", "direct"]
    steps: int = Field(ge=0)
    protocol: Protocol
    device: str
    dtype: Literal["float32", "float64"]


class ScoreRow(Identity):
    """One row of `scores.csv`: the losses of one cell after one number of steps.

    Attributes:
        seed: seed of tasks, training and initialisation; empty in the row that pools all seeds.
        metric: registry id of the metric (empty if the cell failed as a whole); losses are in units of y squared,
            logarithms natural.
        num_tasks: tasks scored.
        mean, log_mean, log_low, log_high, median, trimmed_mean: see `benchmarks.statistics.Summary`.
        q90, q99: upper quantiles over tasks.
        reach: the class of methods the solver belongs to, whose best member is its floor.
        gap_to_floor, gap_low, gap_high: log of the ratio of the mean loss to that of the floor on the same tasks,
            and its paired 95 % interval; empty where no floor is known (or it is 0).
        gap_to_bayes: the same for the Bayes estimate; empty where that has no loss.
        alarm: what is suspicious about the number, in one sentence; empty if nothing is.
        converged, max_steps, diverged, breakdown, nonfinite: tasks that ended so (see `Outcome`).
        status, reason: `ok`, or what went wrong, in one sentence.
    """

    seed: OptionalInt
    metric: Text
    num_tasks: int = Field(ge=0)
    mean: Optional
    log_mean: Optional
    log_low: Optional
    log_high: Optional
    median: Optional
    trimmed_mean: Optional
    q90: Optional
    q99: Optional
    reach: str
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
    status: Status
    reason: Text


TIMES = ("repeats", "cold_seconds", "warm_median", "warm_q25", "warm_q75", "train_seconds", "train_reused")
"""Columns of `timings.csv` in which two runs of one suite may differ; every other column of both tables is the same."""


class TimingRow(Identity):
    """One row of `timings.csv`: the wall-clock time of one solve, in seconds for the whole batch.

    Attributes:
        batch: tasks solved in one call.
        threads: CPU threads of every library.
        repeats: warm repetitions, interleaved over all solvers.
        cold_seconds: the first call in this process with this law and number of steps.
        warm_median, warm_q25, warm_q75: quartiles of the repetitions.
        train_seconds: fitting, all seeds together (empty: nothing is fitted).
        train_reused: whether those parameters were found again, `train_seconds` being the time it once took.
        products, flops: matrix-vector products and floating-point operations a task; peak_bytes: most memory that the
            solve held at once, whole batch (see `benchmarks.harness.timings.cost.Work`). Empty where not counted:
            the solver works outside of torch.
        status, reason: `ok`, or what went wrong, in one sentence.
    """

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
