"""What learned methods do: whose mistakes they make, layer by layer, and what is left of them under a shift.

    python -m benchmarks.validation.what_learners_do

The parameters are those of the suite `learned`, seed 0, which come with the project.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor
from typer import run

from benchmarks import api
from benchmarks.reports.style import CYCLE, figure, label_ends
from benchmarks.reports.template import render
from benchmarks.reports.write import Report
from benchmarks.tasks.law import Law, Purpose
from benchmarks.validation.learned_families import STEPS, large_cells, log_mean, shipped_solvers
from memformer.core.problem import Problem, matvec
from memformer.core.solver import Solver
from memformer.solvers.learned import LearnedSolver

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FOLLOWS, RESEMBLES = 0.1, 0.5
"""A learner follows a method whose errors differ from its own by less than this share, or only resembles it."""

METHODS = {"cg": 5, "newton_schulz": 16, "steepest_descent": 40, "gradient_descent": 40}
"""Whose iterates learners are held against, and up to which step."""

FAMILIES = ("transformer_softmax", "transformer_relu", "transformer_looped", "lstm_optimizer", "hypernetwork")
"""Learners that are looked at layer by layer."""

PLAIN = "steepest_descent"
"""What is told nothing and learns nothing: a learner that is worse is lost."""

SHIFTS: Mapping[str, tuple[str, Sequence[tuple[str, Mapping[str, object]]]]] = {
    "context length N, trained at 20": ("isotropic", [(str(n), {"d": 5, "N": n}) for n in (8, 10, 15, 20, 30, 40, 80)]),
    "condition number of the covariance, trained at 1": (
        "isotropic",
        [("1", {"d": 5, "N": 20})]
        + [(str(k), {"d": 5, "N": 20, "spectrum": "geometric", "kappa": float(k)}) for k in (2, 4, 10, 100)],
    ),
    "variance, trained at 1": (
        "anisotropic",
        [(str(v), {"d": 5, "N": 20, "variance": v}) for v in (0.5, 1.0, 1.5, 2.0, 4.0)],
    ),
}
"""The law of training, and the values of what is shifted with the law that is scored."""

DEPTHS = (1, 2, 3, 4, 6, 8, 12, 16)


class Nearest(NamedTuple):
    """The iterate whose errors are most like those of a learner.

    Attributes:
        step: of the method.
        apart: `E (p - q)^2 / (E (p - t)^2 + E (q - t)^2)` of predictions p, q and the truth t: 0 if the errors are the
            same, 1 if they have nothing to do with each other, more if they are opposite.
    """

    step: int
    apart: float

    def __str__(self) -> str:
        return f"{self.step} ({self.apart:.2f})"


def nearest(learner: Tensor, iterates: Tensor, truth: Tensor) -> Nearest:
    """The iterate nearest to a learner's predictions.

    Args:
        learner: predictions of a layer, `(n,)`.
        iterates: those of a method after each of its steps, `(J + 1, n)`.
        truth: what they should be, `(n,)`.
    """
    own, theirs = (learner - truth).square().mean(), (iterates - truth).square().mean(-1)
    apart = (iterates - learner).square().mean(-1) / (own + theirs)
    step = int(apart.argmin())
    return Nearest(step, float(apart[step]))


def layers(law: Law, tasks: int) -> list[list[str]]:
    """For each family and layer the nearest step of each method, and what that says."""
    problem = law.stream(0, Purpose.FRESH, torch.float64, torch.device("cpu")).sample(tasks)
    assert problem.w_star is not None
    truth = matvec(problem.x_query, problem.w_star).flatten()
    iterates = {name: _predictions(api.solver(name), problem, last) for name, last in METHODS.items()}
    rows = []
    for name, solver in trained("isotropic").items():
        if name not in FAMILIES:
            continue
        for k, learner in enumerate(_predictions(solver, problem, STEPS[-1])[1:], 1):
            found = {method: nearest(learner, theirs, truth) for method, theirs in iterates.items()}
            loss = (learner - truth).square().mean().log()
            rows.append([name, str(k), f"{loss:.2f}", *map(str, found.values()), said(found)])
    return rows


def said(found: Mapping[str, Nearest]) -> str:
    """Whom a layer follows, by rule."""
    method, best = min(found.items(), key=lambda item: item[1].apart)
    if best.step == 0 and best.apart < RESEMBLES:
        return "at the start still"
    verb = "follows" if best.apart < FOLLOWS else "resembles" if best.apart < RESEMBLES else ""
    return f"{verb} {method}" if verb else "its own way"


def _predictions(solver: Solver, problem: Problem, last: int) -> Tensor:
    found = solver.solve(problem, last).predict(problem.x_query)
    return found.flatten(1)


@cache
def trained(law: str) -> dict[str, LearnedSolver]:
    """Learners of a law at d = 5, by id."""
    return {cell.solver_name: shipped_solvers(cell)[0][0] for cell in large_cells(law, 5)}  # type: ignore[misc]


def _others(law: str) -> dict[str, Solver]:
    """What learners are held against: told nothing, or told the law of training."""
    floor = api.fitted(api.solver("lfom_optimal"), api.law(law, d=5, N=20), STEPS, 0)
    return {PLAIN: api.solver(PLAIN), "cg": api.solver("cg"), "lfom_optimal": floor}


def scored_law(law: str, settings: Mapping[str, object]) -> Law:
    """The law with something shifted."""
    name = "ood_variance" if "variance" in settings else "anisotropic" if "kappa" in settings else law
    return api.law(name, **settings)


def under_shift(title: str, tasks: int) -> tuple[list[str], list[list[str]], str, dict[str, list[float]]]:
    """Headers, rows, a sentence by rule, and the numbers, of one shift."""
    law, values = SHIFTS[title]
    losses = {
        name: [log_mean(solver, scored_law(law, settings), tasks, STEPS[-1:]).means[-1] for _, settings in values]
        for name, solver in {**_others(law), **trained(law)}.items()
    }
    rows = [[name, *(f"{loss:.2f}" for loss in found)] for name, found in losses.items()]
    lost = []
    for place, (value, _) in enumerate(values):
        names = [name for name in trained(law) if losses[name][place] > losses[PLAIN][place]]
        lost += [f"at {value}: {', '.join(names)}"] if names else []
    what = f"Worse than {PLAIN}, which is told nothing: " + ("; ".join(lost) if lost else "none") + "."
    return [value for value, _ in values], rows, what, losses


def beyond(law: Law, tasks: int) -> list[list[str]]:
    """Log losses of what repeats one step, up to four times as often as it was trained for."""
    every = {name: solver for name, solver in trained("isotropic").items() if solver.repeats}
    losses = {name: log_mean(solver, law, tasks, DEPTHS).means for name, solver in every.items()}
    return [[name, *(f"{loss:.2f}" for loss in found)] for name, found in losses.items()]


def draw(shifts: Mapping[str, tuple[Sequence[str], Mapping[str, Sequence[float]]]]) -> Figure:
    """Loss under each shift."""
    drawn, panels = figure(4.4 * len(shifts), 4.2, len(shifts))
    names = list(dict.fromkeys(name for _, losses in shifts.values() for name in losses))
    for axes, (title, (values, losses)) in zip(panels, shifts.items(), strict=True):
        places = [float(value) for value in values]
        for name, found in losses.items():
            dashed = "--" if name in _others("isotropic") else "-"
            axes.plot(places, found, dashed, marker="o", ms=2.5, color=CYCLE[names.index(name)])
        axes.set(xscale="log", xlabel=title, ylabel="log test loss after 4 steps", xticks=places, xticklabels=values)
        axes.minorticks_off()
        axes.set_ylim(-16, 6)
        ends = [(name, min(6.0, found[-1]), CYCLE[names.index(name)]) for name, found in losses.items()]
        label_ends(axes, ends, places[-1], 3.6)
    return drawn


def main(tasks: int = 5_000, output: Path = Path("results/studies")) -> None:
    """Compare, shift, write the page and the figure."""
    torch.set_num_threads(1)
    law = api.law("isotropic", d=5, N=20)
    shifts = {title: under_shift(title, tasks) for title in SHIFTS}
    text = render(
        "benchmarks.validation",
        "what_learners_do.md.jinja",
        tasks=tasks,
        follows=FOLLOWS,
        resembles=RESEMBLES,
        methods=list(METHODS),
        layers=layers(law, tasks),
        shifts={title: found[:3] for title, found in shifts.items()},
        depths=DEPTHS,
        beyond=beyond(law, tasks),
    )
    pictures = {"what_learners_do": draw({title: (found[0], found[3]) for title, found in shifts.items()})}
    Report(texts={"what_learners_do.md": text}, figures=pictures).write(output)
    print(text)


if __name__ == "__main__":
    run(main)
