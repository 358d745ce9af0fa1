"""What budget everything gets that is fitted: tuned classics, learned coefficients, Memformers; and what twice brings.

A comparison of a learner with a tuned classic is one of budgets as well. The rule: both draw training tasks of the same
law, spread alike over rare ones, and each gets so much that twice as much no longer matters. What each gets is
measured: tasks that are drawn, floating-point operations of the whole fit, seconds. That it is enough is the last
column: the log ratio of fresh losses, on the same tasks, after a fit with twice the budget.

Run it: `python -m benchmarks.validation.budgets [--output results/studies]`. Minutes, one thread.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor
from typer import run

from benchmarks import api
from benchmarks.harness.timings.cost import count_work
from benchmarks.reports.template import render
from benchmarks.reports.write import Report
from benchmarks.tasks.law import Law, Purpose
from benchmarks.tasks.stream import StandIn
from benchmarks.validation.training_search import scored
from memformer.core.problem import Problem, TaskSource
from memformer.core.solver import Solver

STEPS = 3
FRESH_TASKS = 200_000

BUDGETS: Mapping[str, Mapping[str, int]] = {
    "gradient_descent_tuned": {"num_tasks": 20_000},
    "heavy_ball_tuned": {"num_tasks": 20_000},
    "nesterov_tuned": {"num_tasks": 20_000},
    "lfom": {"iterations": 400},
    "memformer_conjugate_scalar": {"iterations": 500},
    "memformer_first_order_scalar": {"iterations": 500},
    "heavy_ball_tuned_preconditioned": {"num_tasks": 20_000},
    "nesterov_tuned_preconditioned": {"num_tasks": 20_000},
    "linear_transformer": {"iterations": 500},
    "memformer_conjugate": {"iterations": 500},
    "memformer_first_order": {"iterations": 500},
    "memformer_gdpp": {"iterations": 3_000},
}
"""Of each solver the parameter that is its budget, and its default at three steps."""


class Counted(StandIn):
    """A stream that counts in `drawn` the tasks drawn from it and from all that comes of it."""

    def __init__(self, stream: TaskSource, drawn: list[int]) -> None:
        super().__init__(stream)
        self.drawn = drawn

    @property
    def whitens_to_isotropic(self) -> bool:
        """As the stream does."""
        return self._stream.whitens_to_isotropic

    def validation(self) -> TaskSource:
        """The stream's, counted as well."""
        return Counted(self._stream.validation(), self.drawn)

    def spread(self, width: float) -> TaskSource:
        """The stream's, counted as well."""
        return Counted(self._stream.spread(width), self.drawn)

    def sample(self, batch: int) -> Problem:
        """The next tasks."""
        self.drawn.append(batch)
        return self._stream.sample(batch)


def spent(solver: Solver, law: Law, steps: int = STEPS) -> tuple[int, float]:
    """Tasks that a fit draws, and its floating-point operations."""
    source = Counted(law.stream(0, Purpose.TRAIN), [])
    work = count_work(lambda _: solver.fit(source, [steps], 0), law.stream(0, Purpose.SCORE).sample(1))
    return sum(source.drawn), work.flops


def row(name: str, budget: Mapping[str, int], law: Law, fresh: int = FRESH_TASKS, steps: int = STEPS) -> dict[str, Any]:
    """One solver: what its fit costs, its loss, and what twice the budget brings."""
    drawn, flops = spent(api.solver(name, **budget), law, steps)
    began = time.process_time()
    once = api.solver(name, **budget).fit(law.stream(0, Purpose.TRAIN), [steps], 0)
    seconds = time.process_time() - began
    doubled = {key: 2 * value for key, value in budget.items()}
    twice = api.solver(name, **doubled).fit(law.stream(0, Purpose.TRAIN), [steps], 0)
    losses: list[Tensor] = scored([once, twice], law.stream(1, Purpose.SCORE), steps, fresh)
    logs = [loss.mean().log().item() for loss in losses]
    (parameter, value), record = next(iter(budget.items())), once.training_record(steps)
    return {
        "solver": name,
        "budget": f"{parameter} = {value:,}",
        "starts": "" if record is None else record.starts,
        "tasks drawn": f"{drawn:,}",
        "10^9 operations": flops / 1e9,
        "seconds": seconds,
        "log loss": logs[0],
        "twice as much": logs[1] - logs[0],
    }


def study(names: Sequence[str] = tuple(BUDGETS)) -> Report:
    """All rows, as a page."""
    rows = pd.DataFrame([row(name, BUDGETS[name], api.law("anisotropic")) for name in names])
    table = rows.to_markdown(index=False, floatfmt=("", "", "", "", ".1f", ".1f", ".3f", "+.4f"))
    page = render("benchmarks.validation", "budgets.md.jinja", steps=STEPS, fresh=f"{FRESH_TASKS:,}", table=table)
    return Report(texts={"budgets.md": page})


def main(output: Path = Path("results/studies")) -> None:
    """Measure and write `budgets.md`."""
    torch.set_num_threads(1)
    found = study()
    found.write(output)
    print(found.texts["budgets.md"])


if __name__ == "__main__":
    run(main)
