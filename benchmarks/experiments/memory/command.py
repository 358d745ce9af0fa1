"""`memformer-bench run memory`: train, tabulate, draw, conclude."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from benchmarks.catalogue.registry import LAWS
from benchmarks.experiments.experiment import Report, carry_out, make_folder
from benchmarks.experiments.memory.conclusions import conclusions, summaries
from benchmarks.experiments.memory.figures import gap_figure, steps_figure
from benchmarks.experiments.memory.settings import Ablation, Batch, ablation, batches
from benchmarks.experiments.memory.training import Curve, floors, histories
from benchmarks.harness.passes import Progress


def ablate(quick: bool, results: Path, processes: int, progress: Progress) -> list[Path]:
    """Do all of it; see `benchmarks.experiments.experiment.Experiment`."""
    folder = make_folder(results, "memory", quick)
    settings = ablation(quick)
    return report(settings, trained(settings, processes, progress)).write(folder)


def trained(settings: Ablation, processes: int, progress: Progress) -> list[Curve]:
    """All histories, memories in the order of the settings."""
    law = LAWS.create(settings.law)
    floor = {kind: floors(settings, law, kind) for kind in settings.preconditioners}
    work = list(batches(settings))
    found = carry_out(
        "memory: training", partial(_one, settings, floor), work, [batch.name for batch in work], processes, progress
    )
    starts, memories = ([one.name for one in some] for some in (settings.starts, settings.variants))

    def place(curve: Curve) -> tuple[int, ...]:
        kind = settings.preconditioners.index(curve.preconditioner)
        return starts.index(curve.start), kind, memories.index(curve.memory), curve.depth

    return sorted((curve for curves in found for curve in curves), key=place)


def _one(settings: Ablation, floor: dict, batch: Batch) -> list[Curve]:
    return histories(settings, batch, floor[batch.preconditioner][batch.start.batch])


def report(settings: Ablation, curves: list[Curve]) -> Report:
    """Tables, figures and conclusions."""
    curves = [curve.rounded() for curve in curves]
    found = summaries(curves, settings.within)
    return Report(
        tables={"gaps": [curve.row() for curve in curves]},
        figures={"gaps": gap_figure(settings, curves), "steps": steps_figure(settings, found)},
        text={"MEMORY.md": conclusions(settings, found)},
    )
