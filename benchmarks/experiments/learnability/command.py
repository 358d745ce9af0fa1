"""`memformer-bench run learnability`: fit, score, tabulate, draw, conclude."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import NamedTuple

from benchmarks.experiments.experiment import Report, carry_out, make_folder
from benchmarks.experiments.learnability.conclusions import conclusions, overtakings, summaries
from benchmarks.experiments.learnability.figures import excess_figure, loss_figure
from benchmarks.experiments.learnability.rates import fit_rates
from benchmarks.experiments.learnability.scoring import Risk, baseline_losses, closed_floors, reference, risks
from benchmarks.experiments.learnability.settings import Class, Learnability, fits, learnability
from benchmarks.harness.passes import Progress


class Found(NamedTuple):
    """Everything that was measured.

    Attributes:
        risks: of all fits.
        baselines: mean loss of each baseline after 0, 1, ... steps.
    """

    risks: list[Risk]
    baselines: dict[str, list[float]]


def learn(quick: bool, results: Path, processes: int, progress: Progress) -> list[Path]:
    """Do all of it; see `benchmarks.experiments.experiment.Experiment`."""
    folder = make_folder(results, "learnability", quick)
    settings = learnability(quick)
    return report(settings, measured(settings, processes, progress)).write(folder)


def measured(settings: Learnability, processes: int, progress: Progress) -> Found:
    """Fit and score everything."""
    floors = _floors(settings, processes, progress)
    work = fits(settings)
    names = [fit.name for fit in work]
    found = carry_out("learnability: fitting", partial(risks, settings, floors), work, names, processes, progress)
    return Found([risk for some in found for risk in some], baseline_losses(settings))


def _floors(settings: Learnability, processes: int, progress: Progress) -> dict[tuple[str, int], float]:
    """The floor of each class at each depth."""
    closed = closed_floors(settings)
    floors = {
        (kind.name, depth): closed[kind.floor][depth]
        for kind in settings.classes
        if kind.floor != "trained"
        for depth in settings.depths
    }
    work = [(kind, depth) for kind in settings.classes if kind.floor == "trained" for depth in settings.depths]
    names = [f"{kind.name}, depth {depth}" for kind, depth in work]
    found = carry_out("learnability: references", partial(_reference, settings), work, names, processes, progress)
    return floors | {(kind.name, depth): loss for (kind, depth), loss in zip(work, found, strict=True)}


def _reference(settings: Learnability, work: tuple[Class, int]) -> float:
    return reference(settings, *work)


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
        text={"LEARNABILITY.md": conclusions(settings, over, rates, overtaken)},
    )
