"""What the views read: per-task losses of all solvers under one setting (law, d, N, noise, protocol), never pooled."""

from __future__ import annotations

import inspect
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks.errors import UserError
from benchmarks.runs.ranking import solver_label
from benchmarks.runs.read import Run
from benchmarks.runs.schema import LAW, PREFERRED_METRICS, SCORED_ON, TASK
from benchmarks.runs.standing import DIGITS, ROUNDING
from benchmarks.runs.timed import comparable_times
from benchmarks.statistics import Levels, Summary, summarise, tail_limited, thinned

SHOWN = [*LAW, "protocol", "draw"]
"""Columns that say the setting in every table of a view."""

Array = NDArray[np.float64]

Row = dict[Any, Any]
"""A row of a table, by column."""


@dataclass(frozen=True)
class SolverLosses:
    """One solver under a setting.

    Attributes:
        label: its name, with the hyper-parameters that differ from the defaults.
        needs: what it must be told.
        learned: whether it learned from tasks.
        levels: what its intervals hold random.
        losses: for each number of steps, one array `(tasks,)` of per-task losses for each seed, times their weights if
            they have any.
        seconds: for each number of steps, median warm time of one solve, in seconds a task; empty without timings that
            can be compared with the others'.
        tail_limited: numbers of steps after which few tasks carry the mean, as `scores.csv` says of all seeds.
        weights: of the tasks, one array `(tasks,)` for each seed; None where the law itself was drawn from.
    """

    label: str
    needs: str
    learned: bool
    levels: Levels
    losses: dict[int, list[Array]]
    seconds: dict[int, float]
    tail_limited: frozenset[int] = frozenset()
    weights: list[Array] | None = None

    def pooled(self, steps: int) -> Array:
        """Losses of all seeds, `(all tasks,)`, whose mean is that over the law."""
        return np.concatenate(self.losses[steps])

    def summary(self, steps: int) -> Summary:
        """Their mean with its interval, median and so on."""
        return summarise(self.losses[steps], self.levels, self.weights)

    def sample(self, steps: int) -> Array:
        """Losses of all seeds on tasks that are a sample of the law: some of them, where they have weights."""
        if self.weights is None:
            return self.pooled(steps)
        weights = np.concatenate(self.weights)
        kept = thinned(weights)
        return self.pooled(steps)[kept] / weights[kept]


@dataclass(frozen=True)
class Setting:
    """All solvers on the same tasks.

    Attributes:
        identity: the columns `SHOWN`.
        metric: the loss that is compared.
        entries: solvers scored on all of the tasks, in the order of the run.
        tasks: number of tasks, all seeds.
        dtype: floating-point type that losses were computed in.
        left_out: solvers that cannot be compared with them, each with the reason.
    """

    identity: dict[str, Any]
    metric: str
    entries: list[SolverLosses]
    tasks: int
    dtype: str
    left_out: dict[str, str]

    @property
    def title(self) -> str:
        """For a figure: law, d, N, noise, parameters, protocol."""
        what = self.identity
        params = "".join(f", {name} = {value}" for name, value in self._special().items())
        noise = f", noise std {what['noise_std']:g}" if what["noise_std"] else ""
        drawn = "" if what["draw"] == "plain" else f", {what['draw']} sampling"
        return f"{what['law']}{params}, d = {what['d']}, N = {what['N']}{noise}, {what['protocol']}{drawn}"

    @property
    def slug(self) -> str:
        """For a file's name."""
        what = self.identity
        given = "".join(f"_{name}-{value}" for name, value in self._special().items())
        noise = f"_noise-{what['noise_std']:g}" if what["noise_std"] else ""
        text = f"{what['law']}_d{what['d']}_N{what['N']}{noise}{given}_{what['protocol']}"
        text += "" if what["draw"] == "plain" else f"_{what['draw']}"
        return "".join(letter if letter.isalnum() or letter in "_-." else "-" for letter in text)

    def _special(self) -> dict[str, Any]:
        """Parameters of the law that differ from its defaults."""
        defaults = _law_defaults(self.identity["law"])
        given = json.loads(self.identity["law_params"])
        return {name: value for name, value in given.items() if name not in defaults or value != defaults[name]}

    def table(self, rows: Iterable[Row], **shared: Any) -> pd.DataFrame:
        """Rows of a view, behind the columns that say the setting and those that all rows share."""
        return pd.DataFrame([{**self.identity, "metric": self.metric, **shared, **row} for row in rows])

    @property
    def steps(self) -> list[int]:
        """Every number of steps that a solver has."""
        return sorted({steps for entry in self.entries for steps in entry.losses})

    def is_exact(self, log_loss: float) -> bool:
        """Whether a log loss is that of an exact answer but for rounding: it is drawn at the edge of a figure."""
        return log_loss <= ROUNDING[self.dtype] + DIGITS  # losses below rounding have been raised to it

    def at(self, steps: int) -> list[SolverLosses]:
        """Solvers that were scored after this number of steps and answered every task."""
        return [e for e in self.entries if steps in e.losses and np.isfinite(e.pooled(steps)).all()]

    def entry(self, label: str) -> SolverLosses:
        """The solver of that label, or of that name where only one has it.

        Raises:
            UserError: if it is not there, or not alone.
        """
        found = [entry for entry in self.entries if entry.label == label]
        found = found or [entry for entry in self.entries if is_named(entry.label, label)]
        if len(found) == 1:
            return found[0]
        if found:
            raise UserError(f"{label!r} is more than one solver on {self.title}; say which: {_list(found)}")
        raise UserError(f"{label!r} was not scored on {self.title}; there are {_list(self.entries)}")


def levels_of_pair(a: SolverLosses, b: SolverLosses) -> Levels:
    """What a comparison of two solvers holds random: whatever the interval of either does."""
    return b.levels if a.levels == "tasks" else a.levels


def is_named(label: str, name: str) -> bool:
    """Whether a solver's label is `name`, or `name` with hyper-parameters."""
    return label == name or label.startswith(f"{name} (")


def _list(entries: list[SolverLosses]) -> str:
    return ", ".join(entry.label for entry in entries)


@lru_cache(maxsize=32)
def _law_defaults(law: str) -> dict[str, Any]:
    """Default parameters of a law; none if it is not registered here (it came from a plug-in)."""
    from benchmarks.catalogue.registry import LAWS

    if law not in LAWS:
        return {}
    parameters = inspect.signature(LAWS[law].load()).parameters.values()
    return json.loads(json.dumps({parameter.name: parameter.default for parameter in parameters}, default=str))


def settings(
    run: Run,
    law: str | None = None,
    d: int | None = None,
    solvers: Sequence[str] = (),
    metric: str | None = None,
) -> list[Setting]:
    """The settings of a run.

    Args:
        run: with its per-task losses.
        law: only this law.
        d: only this dimension.
        solvers: only these, by label or name.
        metric: the loss to compare; by default `expected_test_loss` where every solver has it, else `test_loss`.

    Raises:
        UserError: if nothing fits, or the run was stored without per-task losses.
    """
    scored: list[Row] = [
        {**row, "row": index, "label": solver_label(row)}
        for index, row in enumerate(run.scores.to_dict("records"))
        if row["metric"] and law in (None, row["law"]) and d in (None, row["d"])
    ]
    rows = [row for row in scored if not pd.isna(row["seed"])]
    # The row that pools all seeds says what an interval over them holds random, and whether few tasks carry the mean;
    # with one seed there is no such row.
    pooled = {_of(row, _POOLED): row for row in scored if pd.isna(row["seed"])}
    if not rows:
        wanted = " and ".join(f"{k} = {v}" for k, v in (("law", law), ("d", d)) if v is not None)
        raise UserError(f"the run {run.name} has no losses" + (f" for {wanted}" if wanted else ""))
    known = {row["label"] for row in rows}
    unknown = next((name for name in solvers if not any(is_named(label, name) for label in known)), None)
    if unknown is not None:
        raise UserError(f"the run {run.name} has no solver {unknown!r}; it has {', '.join(sorted(known))}")
    groups: dict[tuple, list[Row]] = {}
    for row in rows:
        if not solvers or any(is_named(row["label"], name) for name in solvers):
            of_all = pooled.get(_of(row, _POOLED), row)
            row |= {"levels": of_all["levels"], "tail_limited": of_all["tail_limited"]}
            groups.setdefault(_of(row, SCORED_ON), []).append(row)
    timed: Any = run.timings[comparable_times(run.timings)]
    timings: list[Row] = [{**row, "label": solver_label(row)} for row in timed.to_dict("records")]
    return [
        _setting(run, group, [row for row in timings if _of(row, TASK) == _of(group[0], TASK)], metric)
        for group in groups.values()
    ]


_POOLED = (*SCORED_ON, "label", "steps", "metric")


def _of(row: Row, names: Sequence[str]) -> tuple[Any, ...]:
    return tuple(row[name] for name in names)


def _setting(run: Run, rows: list[Row], timings: list[Row], metric: str | None) -> Setting:
    metric = metric or _common_metric(rows)
    mine = [row for row in rows if row["metric"] == metric]
    if not mine:
        there = ", ".join(sorted({row["metric"] for row in rows}))
        raise UserError(f"the run {run.name} has no metric {metric!r}; it has {there}")
    most = max(row["num_tasks"] for row in mine)
    seeds = {row["seed"] for row in mine}
    entries, left_out = [], {}
    for label in dict.fromkeys(row["label"] for row in rows):
        own = [row for row in mine if row["label"] == label]
        if not own:
            left_out[label] = f"no {metric}"
        elif any(row["num_tasks"] < most for row in own) or {row["seed"] for row in own} != seeds:
            left_out[label] = "scored on fewer tasks"
        elif any(row["row"] not in run.with_losses for row in own):
            left_out[label] = "no losses are kept"
        else:
            entries.append(_entry(run, label, own, [row for row in timings if row["label"] == label]))
    identity = {name: mine[0][name] for name in SHOWN}
    kept = sum(map(len, next(iter(entries[0].losses.values())))) if entries else most * len(seeds)
    return Setting(identity, metric, entries, kept, str(mine[0]["dtype"]), left_out)


def _common_metric(rows: list[Row]) -> str:
    """The first preferred metric that every solver has."""
    labels = {name: {row["label"] for row in rows if row["metric"] == name} for name in PREFERRED_METRICS}
    every = {row["label"] for row in rows}
    return next((name for name, those in labels.items() if those == every), PREFERRED_METRICS[-1])


def _entry(run: Run, label: str, rows: list[Row], timings: list[Row]) -> SolverLosses:
    # What is below rounding is exact: such losses are equal, and no ratio of them means anything.
    exact = math.exp(ROUNDING[rows[0]["dtype"]])
    losses: dict[int, list[Array]] = {}
    weights: dict[int, Array] = {}
    marks = {int(row["steps"]): row["tail_limited"] for row in rows}
    for row in sorted(rows, key=lambda row: (row["steps"], row["seed"])):
        if (found := run.weights(row["row"])) is not None:
            weights[row["seed"]] = found.astype(np.float64)
        losses.setdefault(int(row["steps"]), []).append(np.maximum(run.losses(row["row"]).astype(np.float64), exact))
    timed = [row for row in timings if not pd.isna(row["warm_median"])]
    seconds = {int(row["steps"]): float(row["warm_median"]) / int(row["batch"]) for row in timed}
    about = (label, rows[0]["needs"], rows[0]["learned"], rows[0]["levels"])
    # Older runs do not say it.
    tails = {k for k, mark in marks.items() if (tail_limited(losses[k]) if pd.isna(mark) else mark)}
    return SolverLosses(*about, losses, seconds, frozenset(tails), [*weights.values()] or None)
