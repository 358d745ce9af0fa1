"""`memformer-bench run memory`: train, tabulate, draw, conclude."""

from __future__ import annotations

from functools import partial

from benchmarks.catalogue.registry import LAWS
from benchmarks.experiments.experiment import Experiment, Request, need_figures, settings_text
from benchmarks.experiments.memory.conclusions import conclusions, summaries
from benchmarks.experiments.memory.figures import gap_figure, steps_figure
from benchmarks.experiments.memory.settings import ROOM, Batch, MemorySettings, batches, memory_settings
from benchmarks.experiments.memory.training import Curve, floors, histories
from benchmarks.harness.run import Finished
from benchmarks.reports.write import Report


def carry_out(request: Request) -> Finished:
    """Do all of it."""
    need_figures()
    folder, settings = request.folder("memory"), memory_settings(request.quick)
    report(settings, trained(settings, request)).write(folder)
    return Finished(folder, [], [])


MEMORY = Experiment(
    "memory",
    "which memory reaches its floor, and after how many steps",
    carry_out,
    settings=partial(settings_text, ROOM),
)


def trained(settings: MemorySettings, request: Request) -> list[Curve]:
    """All histories, memories in the order of the settings."""
    law = LAWS.create(settings.law)
    floor = {kind: floors(settings, law, kind) for kind in settings.preconditioners}
    work = list(batches(settings))
    found = request.map("memory: training", partial(_one, settings, floor), work, [batch.name for batch in work])
    starts, memories = ([one.name for one in some] for some in (settings.starts, settings.variants))

    def place(curve: Curve) -> tuple[int, ...]:
        kind = settings.preconditioners.index(curve.preconditioner)
        return starts.index(curve.start), kind, memories.index(curve.memory), curve.depth

    return sorted((curve for curves in found for curve in curves), key=place)


def _one(settings: MemorySettings, floor: dict, batch: Batch) -> list[Curve]:
    return histories(settings, batch, floor[batch.preconditioner][batch.start.batch])


def report(settings: MemorySettings, curves: list[Curve]) -> Report:
    """Tables, figures and conclusions."""
    curves = [curve.rounded() for curve in curves]
    found = summaries(curves, settings.within)
    return Report(
        tables={"gaps": [curve.row() for curve in curves]},
        figures={"gaps": gap_figure(settings, curves), "steps": steps_figure(settings, found)},
        texts={"MEMORY.md": conclusions(settings, found)},
    )
