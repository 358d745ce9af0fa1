"""`memformer-bench run memory`: theory, training, tables, figures, conclusions."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from benchmarks.experiments.experiment import Experiment, Request, need_figures, settings_text
from benchmarks.experiments.memory.conclusions import conclusions, summaries
from benchmarks.experiments.memory.figures import gap_figure, steps_figure
from benchmarks.experiments.memory.settings import ROOM, MemorySettings, batches, memory_settings
from benchmarks.experiments.memory.theory import Floor, floors
from benchmarks.experiments.memory.training import Curve, histories
from benchmarks.harness.run import Finished
from benchmarks.reports.write import Report


def carry_out(request: Request) -> Finished:
    """Do all of it."""
    need_figures()
    folder, settings = request.folder("memory"), memory_settings(request.quick)
    names = [tasks.name for tasks in settings.theory]
    theory = request.map("memory: theory", partial(floors, settings), settings.theory, names)
    report(settings, [floor for some in theory for floor in some], trained(settings, request)).write(folder)
    return Finished(folder, [], [])


MEMORY = Experiment(
    "memory",
    "which memory reaches its floor, and after how many steps",
    carry_out,
    settings=partial(settings_text, ROOM),
)


def trained(settings: MemorySettings, request: Request) -> list[Curve]:
    """All histories, in the order of laws, starts and memories in the settings."""
    work = list(batches(settings))
    found = request.map("memory: training", partial(histories, settings), work, [batch.name for batch in work])
    order = [[one.name for one in some] for some in (settings.starts, settings.tasks, settings.variants)]

    def place(curve: Curve) -> tuple[int, ...]:
        own = (curve.start, curve.tasks, curve.memory)
        return *(names.index(name) for names, name in zip(order, own, strict=True)), curve.depth

    return sorted((curve for curves in found for curve in curves), key=place)


def report(settings: MemorySettings, theory: Sequence[Floor], curves: Sequence[Curve]) -> Report:
    """Tables, figures and conclusions."""
    curves = [curve.rounded() for curve in curves]
    plain = [curve for curve in curves if not curve.noisy]
    return Report(
        tables={
            "theory": [{**floor._asdict(), "gain": floor.gain} for floor in theory],
            "gaps": [curve.row() for curve in plain],
            "noise": [curve.row() for curve in curves if curve.noisy],
        },
        figures={
            "gaps": gap_figure(settings, plain),
            "steps": steps_figure(settings, summaries(plain, settings.within)),
        },
        texts={"MEMORY.md": conclusions(settings, theory, curves)},
    )
