"""The field's learned methods at two budgets: what each reaches, what its training took, and what a solve costs.

    python -m benchmarks.validation.learned_families

The small budget is a solver's defaults with one start: what a user gets who trains once. The large one is that of the
suite `learned`, the best of its starts, fitted with the project. Of each there are three, from three seeds.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property, partial
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import torch
from typer import run

from benchmarks import api
from benchmarks.harness.cell import Cell
from benchmarks.harness.resolve import build_cells
from benchmarks.harness.scores.fitting import ParameterStore
from benchmarks.harness.scores.measure import measure
from benchmarks.harness.scores.shipped import SHIPPED
from benchmarks.harness.timings.cost import Work, count_work
from benchmarks.reports.template import render
from benchmarks.reports.write import Report
from benchmarks.runs.schema import PREFERRED_METRICS
from benchmarks.statistics import compare
from benchmarks.suites.suite import load_suite
from benchmarks.tasks.law import Law, Purpose
from benchmarks.validation.learned_figure import draw
from memformer.core.solver import Solver
from memformer.solvers.learned import LearnedSolver

STEPS = (1, 2, 3, 4)
HEADERS = (
    "method", "budget", "steps x tasks x starts", "operations of training", "seconds", "parameters", "untrained",
    "log loss", "s.e.", "best seed", "worst seed", "operations of a solve", "products",
)  # fmt: skip
BAR = "heavy_ball_tuned"
"""What the median of a family has to beat at four steps."""

REFERENCES = (BAR, "lfom_optimal", "chebyshev", "cg", "newton_schulz", "memformer_gdpp")
TARGETS = {"lstm_optimizer": -4.6, "transformer_softmax": -4.7, "hypernetwork": -2.9, "learned_preconditioner": -2.9}
"""Log losses at four steps that the large budget was planned to reach."""

PUBLISHED = {"transformer_softmax": 4.8e-4, "transformer_looped": 7.8e-4, "ols": 1e-13}
"""Squared error over d at d = 20 after 40 points without noise, of 12 layers of 256 numbers a token: Yang et al., arXiv
2311.12424, as their repository `Leiay/looped_transformer` prints them."""

AT_THE_SIZE = ("memformer_gdpp", "lfom_optimal", "cg")
"""What stands beside them, without a published number at this size."""

_AT_A_TIME = 20_000


class LogMean(NamedTuple):
    """Logarithm of a mean loss after each of `STEPS`, and its standard error."""

    means: tuple[float, ...]
    errors: tuple[float, ...]


@dataclass(frozen=True)
class Trained:
    """A family at one budget.

    Attributes:
        name: the solver's id.
        budget: `"small"` or `"large"`; `"none"` for what is told the law, or nothing.
        solvers: one a seed.
        seconds: of one fit, on one thread; None if nothing is trained.
        losses: of each solver.
        work: of a solve after each of `STEPS`.
        untrained: log loss after the last step of a module before any training.
    """

    name: str
    budget: str
    solvers: Sequence[Solver]
    seconds: float | None
    losses: Sequence[LogMean]
    work: Sequence[Work]
    untrained: float | None = None

    @cached_property
    def middle(self) -> int:
        """Place of the solver with the median loss after the last step."""
        return sorted(range(len(self.losses)), key=lambda place: self.losses[place].means[-1])[len(self.losses) // 2]

    @property
    def last(self) -> float:
        """Log loss of the median solver after the last step."""
        return self.losses[self.middle].means[-1]

    @property
    def flops(self) -> float | None:
        """Floating-point operations of its training: of all starts, in products of matrices."""
        record = self.solvers[self.middle].training_record(STEPS[-1])
        return None if record is None else record.flops

    @property
    def row(self) -> list[str]:
        """Of the table; see `HEADERS`."""
        solver, record = self.solvers[self.middle], self.solvers[self.middle].training_record(STEPS[-1])
        module = solver if isinstance(solver, LearnedSolver) else None
        lasts = sorted(losses.means[-1] for losses in self.losses)
        seeds = [f"{lasts[0]:.3f}", f"{lasts[-1]:.3f}"] if len(lasts) > 1 else ["", ""]
        products = self.work[-1].products
        return [
            self.name,
            self.budget,
            f"{module.iterations:,} x {module.batch} x {module.starts}" if module and record else "",
            "" if self.flops is None else f"{self.flops:.1e}",
            "" if self.seconds is None else f"{self.seconds:.0f}",
            f"{parameters_of(module):,}" if module else "",
            "" if self.untrained is None else f"{self.untrained:.3f}",
            f"{self.last:.3f}",
            f"{self.losses[self.middle].errors[-1]:.3f}",
            *seeds,
            f"{self.work[-1].flops:,.0f}",
            "not known" if products is None else f"{products:.0f}",
        ]


def parameters_of(solver: LearnedSolver) -> int:
    """Numbers that the module of the most steps learned."""
    assert solver.parameters is not None
    depths, prefix = solver.parameters["depths"].tolist(), f"{max(solver.parameters['depths'].tolist())}."
    assert depths
    return sum(tensor.numel() for name, tensor in solver.parameters.items() if name.startswith(prefix))


def log_mean(solver: Solver, law: Law, tasks: int, steps: Sequence[int] = STEPS) -> LogMean:
    """Of the expected loss on fresh tasks, or of that at a query point, where a solver tells no weights."""
    stream, parts = law.stream(0, Purpose.FRESH, torch.float64, torch.device("cpu")), []
    for first in range(0, tasks, _AT_A_TIME):
        losses = measure(solver, stream.sample(min(_AT_A_TIME, tasks - first)), steps).losses
        parts.append(torch.from_numpy(losses.get("expected_test_loss", losses["test_loss"])))
    each = torch.cat(parts, 1)
    mean = each.mean(1)
    return LogMean(tuple(mean.log().tolist()), tuple((each.std(1) / mean / tasks**0.5).tolist()))


def beats(first: Solver, second: Solver, law: Law, tasks: int) -> bool:
    """Whether a paired test on the same fresh tasks tells one solver from another, for the better, at the last step."""
    problem = law.stream(0, Purpose.FRESH, torch.float64, torch.device("cpu")).sample(tasks)
    mine, theirs = (measure(solver, problem, STEPS[-1:]).losses for solver in (first, second))
    metric = next(name for name in PREFERRED_METRICS if name in mine and name in theirs)
    return compare([mine[metric][0]], [theirs[metric][0]]).difference_high < 0


def large_cells(law: str, d: int) -> Iterator[Cell]:
    """Cells of the suite `learned` on one law where it is scored as it is trained on."""
    for cell in build_cells(load_suite("learned")):
        if (cell.law_name, cell.law.d) == (law, d) and isinstance(cell.solver, LearnedSolver):
            yield cell


def shipped_solvers(cell: Cell) -> tuple[list[Solver], float]:
    """A cell's solvers with the parameters that come with the project, and the seconds that one fit took."""
    about = (cell.solver_name, cell.solver, cell.fitted_on, cell.steps, cell.seeds, cell.dtype, cell.device)
    fit = ParameterStore(shipped=SHIPPED).fit(*about)
    return fit.solvers, (fit.seconds or 0.0) / len(cell.seeds)


def families(law: Law, tasks: int, jobs: int) -> list[Trained]:
    """Every family at both budgets, and what it is held against."""
    work = [partial(reference, name, law, tasks) for name in REFERENCES]
    work += [partial(family, cell, law, tasks) for cell in large_cells(law.metadata.name, law.d)]
    if jobs == 1:
        return [one for call in work for one in call()]
    with ProcessPoolExecutor(jobs, get_context("spawn")) as pool:
        return [one for future in [pool.submit(call) for call in work] for one in future.result()]


def reference(name: str, law: Law, tasks: int) -> list[Trained]:
    """What families are held against."""
    return [judged(name, "none", [_reference(name, law)], None, law, tasks)]


def family(cell: Cell, law: Law, tasks: int) -> list[Trained]:
    """One family at both budgets; what is not trained, or a little, is judged on a tenth of the tasks."""
    torch.set_num_threads(1)
    default, few = api.solver(cell.solver_name), max(1, tasks // 10)
    assert isinstance(default, LearnedSolver)
    raw = api.fitted(replace(default, starts=1, iterations=1, learning_rate=1e-12), law, STEPS, 0)
    untrained, began = log_mean(raw, law, few).means[-1], time.process_time()
    small = [api.fitted(replace(default, starts=1), law, STEPS, seed) for seed in cell.seeds]
    seconds = (time.process_time() - began) / len(small)
    found = [judged(cell.solver_name, "small", small, seconds, law, few)]
    found.append(judged(cell.solver_name, "large", *shipped_solvers(cell), law, tasks))
    return [replace(one, untrained=untrained) for one in found]


def judged(name: str, budget: str, solvers: Sequence[Solver], seconds: float | None, law: Law, tasks: int) -> Trained:
    """Fitted solvers of one name, with their losses and their work."""
    problem = law.stream(0, Purpose.TIMING, torch.float64, torch.device("cpu")).sample(200)
    losses = [log_mean(solver, law, tasks) for solver in solvers]
    work = [count_work(lambda given, k=k: solvers[0].solve(given, k), problem) for k in STEPS]
    print(f"{name}, {budget}: " + " ".join(f"{loss.means[-1]:.3f}" for loss in losses), flush=True)
    return Trained(name, budget, solvers, seconds, losses, work)


def _reference(name: str, law: Law) -> Solver:
    solver = api.solver(name)
    if name == "memformer_gdpp":
        cells = build_cells(load_suite("learned"))
        wanted = (name, law.metadata.name, law.d)
        cell = next(one for one in cells if (one.solver_name, one.law_name, one.law.d) == wanted)
        return shipped_solvers(cell)[0][0]
    return api.fitted(solver, law, STEPS, 0) if solver.fitting.required else solver


def elsewhere(name: str, tasks: int) -> list[list[str]]:
    """Log losses at the large budget on another law of d = 5, and of what they are held against there."""
    law = api.law(name, d=5, N=20)
    trained = [(cell.solver_name, shipped_solvers(cell)[0]) for cell in large_cells(name, 5)]
    solvers = [(name, [_reference(name, law)]) for name in REFERENCES] + trained
    rows = []
    for which, fitted in solvers:
        losses = sorted((log_mean(solver, law, tasks) for solver in fitted), key=lambda loss: loss.means[-1])
        middle = losses[len(losses) // 2]
        rows.append([which, *(f"{mean:.3f}" for mean in middle.means), f"{middle.errors[-1]:.3f}"])
    return rows


def at_the_authors_size(tasks: int) -> list[list[str]]:
    """Squared error over d at d = 20 after 40 points, ours beside what is published."""
    law, rows = api.law("isotropic", d=20, N=40), []
    trained = {cell.solver_name: shipped_solvers(cell)[0][0] for cell in large_cells("isotropic", 20)}
    for name in (*PUBLISHED, *AT_THE_SIZE):
        solver = trained.get(name) or (None if name.startswith("transformer") else _reference(name, law))
        ours = None if solver is None else math.exp(log_mean(solver, law, tasks).means[-1]) / law.d
        what = "exact but for rounding" if name == "ols" else "four steps"
        what = "four layers, smaller model and budget" if name in trained else what
        published = f"{PUBLISHED[name]:.1e}" if name in PUBLISHED else ""
        rows.append([name, published, f"{ours:.1e}" if ours else "", what if ours else "not trained here"])
    return rows


def main(tasks: int = 200_000, jobs: int = 2, output: Path = Path("results/studies")) -> None:
    """Train the small budgets, judge both, write the page and the figure."""
    torch.set_num_threads(1)
    law = api.law("isotropic", d=5, N=20)
    found = families(law, tasks, jobs)
    bar = next(one.last for one in found if one.name == BAR)
    small = {one.name: one.last for one in found if one.budget == "small"}
    large = {one.name: one.last for one in found if one.budget == "large"}
    (held,) = (one.solvers[0] for one in found if one.name == BAR)
    once = [one for one in found if one.budget == "small"]
    apart = [one.name for one in once if beats(one.solvers[one.middle], held, law, max(2, tasks // 10))]
    text = render(
        "benchmarks.validation",
        "learned_families.md.jinja",
        law=law,
        tasks=tasks,
        bar=bar,
        counts=[name for name, loss in small.items() if loss < bar],
        apart=apart,
        short=[name for name, loss in small.items() if loss >= bar],
        targets=[[name, f"{goal:.2f}", f"{large[name]:.3f}"] for name, goal in TARGETS.items()],
        headers=HEADERS,
        rows=[one.row for one in found],
        steps=[[one.name, one.budget, *(f"{mean:.3f}" for mean in one.losses[one.middle].means)] for one in found],
        elsewhere=elsewhere("anisotropic", tasks // 10),
        published=at_the_authors_size(tasks // 10),
    )
    Report(texts={"learned_families.md": text}, figures={"learned_families": draw(found)}).write(output)


if __name__ == "__main__":
    run(main)
