"""What a run on real data says: every solver against ridge, answers to the questions of `shown.toml`, and sentences.

The unit is a part of the rows. Episodes of one part share rows, so thousands of them are far fewer independent
observations; different parts share no scored row. An interval is therefore Student's over the parts, of the paired log
ratio of mean losses; the one over episodes is shown beside it to say how much too narrow it is.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks.errors import UserError
from benchmarks.experiments.experiment import read_toml
from benchmarks.runs.read import Run
from benchmarks.statistics import compare, mean_interval_of_few

LAW, METRIC = "real", "test_loss"

SHOWN = read_toml("benchmarks.experiments.real", "shown.toml")
"""The questions, the solver that everyone is compared with, and the curves of the figure."""

REFERENCE: str = SHOWN["reference"]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Reading:
    """Losses of one solver on one data set after one number of steps: an array of episodes for each part."""

    name: str
    needs: str
    steps: int
    losses: list[Array]

    @property
    def log_loss(self) -> float:
        """Log of the mean over parts of their mean losses; nan if a task has no finite answer."""
        return float(np.log(np.mean([part.mean() for part in self.losses])))


def name_of(row: dict) -> str:
    """A solver of the table: its id, what it was trained on if not the law itself, and whether it was adapted."""
    law = row["trained_on"]
    adapted = ", adapted" if row["protocol"] == "context_adapted" else ""
    return row["solver"] + (f", trained on {law}" if law else "") + adapted


def readings(run: Run) -> dict[str, list[Reading]]:
    """Everything a run measured on real data, by data set.

    Raises:
        UserError: if it has nothing on real data, fewer than two parts, or two solvers of one name.
    """
    found: dict[str, dict[tuple[str, int], Reading]] = {}
    for index, row in enumerate(run.scores.to_dict("records")):
        if row["law"] != LAW or row["metric"] != METRIC or pd.isna(row["seed"]):
            continue
        params = json.loads(row["law_params"])
        if row["seed"] >= params["folds"]:
            folds = f"only seeds below the {params['folds']} folds score different rows"
            raise UserError(f"the run {run.name} has seed {int(row['seed'])}: {folds}")
        where = f"{params['dataset']} (d = {row['d']}, N = {row['N']})"
        key = (name_of(row), int(row["steps"]))
        reading = found.setdefault(where, {}).setdefault(key, Reading(key[0], row["needs"], key[1], []))
        reading.losses.append(run.losses(index).astype(np.float64))
    if not found:
        raise UserError(f"the run {run.name} has no losses on real data; 'memformer-bench run real' has")
    for where, by_key in found.items():
        counts = {len(reading.losses) for reading in by_key.values()}
        if counts == {1} or len(counts) > 1:
            raise UserError(f"the run {run.name} must have two seeds or more and each solver once on {where}")
    return {where: list(by_key.values()) for where, by_key in found.items()}


@dataclass(frozen=True)
class Ratio:
    """Log ratio of two mean losses on the same episodes.

    Attributes:
        estimate: mean over parts of the part's log ratio.
        low, high: its 95 % interval over parts.
        narrow: half width of the interval over episodes, as if they were independent.
    """

    estimate: float
    low: float
    high: float
    narrow: float

    @property
    def verdict(self) -> str:
        """`better` or `worse` where the interval over parts leaves 0 out; `no answer` where a loss is not finite."""
        if not np.isfinite(self.estimate):
            return "no answer"
        return "better" if self.high < 0 else "worse" if self.low > 0 else "not told apart"


def ratio(first: Reading, second: Reading) -> Ratio:
    """Compare two solvers, on the first episodes of each part that both were scored on."""
    counts = [min(len(a), len(b)) for a, b in zip(first.losses, second.losses, strict=True)]
    a, b = ([part[:count] for part, count in zip(one.losses, counts, strict=True)] for one in (first, second))
    logs = np.array([np.log(x.mean() / y.mean()) for x, y in zip(a, b, strict=True)])
    paired = compare(a, b, "tasks")
    return Ratio(*mean_interval_of_few(logs), (paired.log_ratio_high - paired.log_ratio_low) / 2)


@dataclass(frozen=True)
class Answer(Ratio):
    """The answer to a question on one data set after one number of steps."""

    question: str
    data: str
    steps: int


def answers(found: dict[str, list[Reading]]) -> list[Answer]:
    """One for each question, data set and number of steps that the run has both solvers for."""
    return [
        Answer(**vars(ratio(a, b)), question=question, data=where, steps=a.steps)
        for question, first, second in SHOWN["questions"]
        for where, all_of in found.items()
        for a in all_of
        for b in all_of
        if (a.name, b.name) == (first, second) and a.steps == b.steps
    ]


def table(found: dict[str, list[Reading]]) -> pd.DataFrame:
    """Every solver on every data set after every number of steps, with its log ratio to `REFERENCE`."""
    rows = []
    for where, all_of in found.items():
        references = {reading.steps: reading for reading in all_of if reading.name == REFERENCE}
        for reading in all_of:
            known = {"data": where, "solver": reading.name, "needs": reading.needs, "steps": reading.steps}
            against = references.get(reading.steps)
            one = vars(ratio(reading, against)) if against else {}
            rows.append({**known, "episodes": len(reading.losses[0]), "log_loss": reading.log_loss, **one})
    return pd.DataFrame(rows)


def sentences(asked: list[Answer]) -> list[str]:
    """What the run says: a sentence a question, by the rule that `Ratio.verdict` states."""
    by_question = groupby(asked, lambda answer: answer.question)
    return [f"{question[:1].upper()}{question[1:]}: {_verdicts(list(group))}." for question, group in by_question]


def _verdicts(own: list[Answer]) -> str:
    texts = []
    for verdict in dict.fromkeys(answer.verdict for answer in own):
        part = [answer for answer in own if answer.verdict == verdict]
        if len(part) == len(own):
            return f"{verdict} on every data set at every number of steps ({_span(part)})"
        where = [
            f"{data.partition(' (')[0]} k = {'/'.join(str(answer.steps) for answer in group)}"
            for data, group in groupby(part, lambda answer: answer.data)
        ]
        texts.append(f"{verdict} on {', '.join(where)} ({_span(part)})")
    return "; ".join(texts)


def _span(answers: Iterable[Answer]) -> str:
    values = sorted(answer.estimate for answer in answers)
    low, high = f"{values[0]:+.2f}", f"{values[-1]:+.2f}"
    return f"log ratio {low}" if low == high else f"log ratios {low} to {high}"
