"""`memformer-bench run learnability`: fit, score, tabulate, draw, conclude."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

from benchmarks.catalogue.registry import LAWS
from benchmarks.experiments.experiment import Experiment, Request, need_figures, settings_text
from benchmarks.experiments.learnability.conclusions import conclusions, overtakings, summaries
from benchmarks.experiments.learnability.figures import excess_figure, loss_figure
from benchmarks.experiments.learnability.rates import fit_rates
from benchmarks.experiments.learnability.scoring import (
    Risk,
    baseline_losses,
    closed_floors,
    exact_tasks,
    reference,
    risks,
)
from benchmarks.experiments.learnability.settings import ROOM, Learnability, fits, learnability
from benchmarks.harness.run import Finished
from benchmarks.reports.write import Report


class Found(NamedTuple):
    """Everything that was measured.

    Attributes:
        risks: of all fits.
        baselines: mean loss of each baseline after 0, 1, ... steps.
    """

    risks: list[Risk]
    baselines: dict[str, list[float]]


def carry_out(request: Request) -> Finished:
    """Do all of it."""
    need_figures()
    folder, settings = request.folder("learnability"), learnability(request.quick)
    report(settings, measured(settings, request)).write(folder)
    return Finished(folder, [], [])


LEARNABILITY = Experiment(
    "learnability",
    "excess risk against the number of training tasks",
    carry_out,
    settings=partial(settings_text, ROOM),
)


def measured(settings: Learnability, request: Request) -> Found:
    """Fit and score everything."""
    floors = _floors(settings, request)
    work = fits(settings)
    names = [fit.name for fit in work]
    found = request.map("learnability: fitting", partial(risks, settings, floors), work, names)
    return Found([risk for some in found for risk in some], baseline_losses(settings))


def _floors(settings: Learnability, request: Request) -> dict[tuple[str, int], float]:
    """The floor of each class at each depth."""
    closed, law = closed_floors(settings), LAWS.create(settings.law)
    floors = {
        (kind.name, depth): float(exact_tasks(law).floor(depth)) if kind.exact else closed[kind.floor][depth]
        for kind in settings.classes
        if kind.floor != "trained"
        for depth in settings.depths
    }
    work = [(kind, depth) for kind in settings.classes if kind.floor == "trained" for depth in settings.depths]
    names = [f"{kind.name}, depth {depth}" for kind, depth in work]
    found = request.map("learnability: references", partial(reference, settings), work, names)
    return floors | {(kind.name, depth): loss for (kind, depth), loss in zip(work, found, strict=True)}


def report(settings: Learnability, found: Found) -> Report:
    """Tables, figures and conclusions."""
    over = summaries(found.risks)
    rates = fit_rates(found.risks, settings)
    overtaken = overtakings(over, found.baselines)
    return Report(
        tables={
            "risks": [risk.row() for risk in found.risks],
            "rates": [rate._asdict() for rate in rates],
            "baselines": [
                {"baseline": name, "steps": k, "loss": losses[k]}
                for name, losses in found.baselines.items()
                for k in settings.depths
            ],
        },
        figures={"excess": excess_figure(settings, over), "loss": loss_figure(settings, over, found.baselines)},
        texts={"LEARNABILITY.md": conclusions(settings, over, rates, overtaken)},
    )
