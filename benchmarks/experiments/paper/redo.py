"""The published protocol, redone: what the chosen experiments need, longest work first, and its points in order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from benchmarks.experiments.experiment import Request
from benchmarks.experiments.paper.classical import baseline, extracted
from benchmarks.experiments.paper.curves import Point
from benchmarks.experiments.paper.entries import BaselineEntry, ExtractedEntry, PaperExperiment, experiments, published
from benchmarks.experiments.paper.experts_published import mix
from benchmarks.experiments.paper.replicate import replicate

Work = tuple[PaperExperiment, BaselineEntry | ExtractedEntry | int]
"""A curve without a Transformer, or all models of one depth."""


def redo(chosen: Sequence[PaperExperiment], request: Request) -> list[Point]:
    """All points of the published protocol."""
    needed = with_lenders(chosen)
    work: list[Work] = [(e, entry) for e in needed for entry in [*e.extracted, *e.baselines]]
    work += [(e, depth) for e in needed if e.models or e.mixtures for depth in e.layers]
    work.sort(key=_cost, reverse=True)
    names = [f"{e.id} {what if isinstance(what, int) else what.curve}" for e, what in work]
    found = request.map("published protocol", _points, work, names)
    return in_order(chosen, [point for points in found for point in points])


def with_lenders(chosen: Sequence[PaperExperiment]) -> list[PaperExperiment]:
    """The experiments, and of others the models whose curves they borrow."""
    by_id = {e.id: e for e in experiments()}
    wanted: dict[str, set[str]] = {}
    for owner, curve in (source for e in chosen for source in e.borrowed.values()):
        wanted.setdefault(owner, set()).add(curve)
    needed = list(chosen)
    for lender in (by_id[owner] for owner in wanted if owner not in {e.id for e in chosen}):
        lent = [model for model in lender.models if model.curve in wanted[lender.id]]
        needed.append(lender.model_copy(update={"models": lent, "baselines": [], "extracted": []}))
    return needed


def in_order(chosen: Sequence[PaperExperiment], points: Sequence[Point]) -> list[Point]:
    """Points by experiment, curve, layers and seed; borrowed curves are copies under their own name."""
    found: list[Point] = []
    for experiment in chosen:
        own = [p for p in points if p.experiment == experiment.id]
        for curve, source in experiment.borrowed.items():
            lent = [p for p in points if [p.experiment, p.curve] == source]
            own += [replace(p, experiment=experiment.id, curve=curve) for p in lent]
        curves = list(published()[experiment.published])
        found += sorted(own, key=lambda p: (curves.index(p.curve), p.layers, p.seed, p.scored == "fresh"))
    return found


def _cost(work: Work) -> float:
    """Roughly, so that the longest work begins first."""
    experiment, what = work
    if not isinstance(what, int):
        return 1.0 if isinstance(what, BaselineEntry) else 30.0
    steps = sum((m.pretraining.steps if m.pretraining else 0) + m.tuning.steps for m in experiment.models)
    steps += sum(len(m.experts) * m.tuning.steps for m in experiment.mixtures)
    return steps * what * experiment.seeds * len(experiment.scales) * experiment.N / 1e5


def _points(work: Work) -> list[Point]:
    experiment, what = work
    if isinstance(what, ExtractedEntry):
        return list(extracted(experiment, what))
    if isinstance(what, BaselineEntry):
        return list(baseline(experiment, what))
    return [*replicate(experiment, what), *mix(experiment, what)]
