"""`memformer-bench run paper`: redo what was published, run what should have been, and judge."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
from joblib import Parallel, delayed

from benchmarks.errors import UserError
from benchmarks.experiments.paper.classical import baseline, extracted
from benchmarks.experiments.paper.curves import Point, read_points
from benchmarks.experiments.paper.entries import BaselineEntry, Experiment, ExtractedEntry, experiments, published
from benchmarks.experiments.paper.experts_fresh import SHIFTS, Shift, experts_figure, judge_experts, table
from benchmarks.experiments.paper.experts_published import mix
from benchmarks.experiments.paper.figures import experiment_figure
from benchmarks.experiments.paper.replicate import replicate
from benchmarks.experiments.paper.report import agreement, deviations, page, verdicts_markdown
from benchmarks.experiments.paper.verdicts import claims, judge, law_of
from benchmarks.harness.passes import Progress
from benchmarks.harness.run import Finished
from benchmarks.harness.workers.limits import pinned_threads
from benchmarks.reports.comparison import Setting, settings
from benchmarks.reports.style import figure, save
from benchmarks.runs.ranking import solver_label
from benchmarks.runs.read import Run, read_run
from benchmarks.suites.suite import Suite, load_suite

COLUMNS = ("steps", "log_mean", "log_low", "log_high", "median", "gap_to_floor")
"""Columns of the run's scores that the report shows."""


def selected(only: Sequence[str]) -> list[Experiment]:
    """The experiments of these ids, or all.

    Raises:
        UserError: if an id is unknown.
    """
    known = experiments()
    unknown = next((name for name in only if name not in {e.id for e in known}), None)
    if unknown is not None:
        raise UserError(f"the paper has no experiment {unknown!r}; there are {', '.join(e.id for e in known)}")
    return [e for e in known if not only or e.id in only]


Work = tuple[Experiment, BaselineEntry | ExtractedEntry | int]
"""A curve without a Transformer, or all models of one depth."""


def redo(chosen: Sequence[Experiment], jobs: int, progress: Progress) -> list[Point]:
    """All points of the published protocol."""
    needed = with_lenders(chosen)
    work: list[Work] = [(e, entry) for e in needed for entry in [*e.extracted, *e.baselines]]
    work += [(e, depth) for e in needed if e.models or e.mixtures for depth in e.layers]
    work.sort(key=_cost, reverse=True)
    progress.start("published protocol", len(work))
    points: list[Point] = []
    results: Any = Parallel(n_jobs=jobs, return_as="generator")(delayed(_points)(e, what) for e, what in work)
    for (experiment, what), found in zip(work, results, strict=True):
        points += found
        progress.advance(f"{experiment.id} {what if isinstance(what, int) else what.curve}")
    return in_order(chosen, points)


def with_lenders(chosen: Sequence[Experiment]) -> list[Experiment]:
    """The experiments, and of others the models whose curves they borrow."""
    by_id = {e.id: e for e in experiments()}
    wanted: dict[str, set[str]] = {}
    for owner, curve in (source for e in chosen for source in e.borrowed.values()):
        wanted.setdefault(owner, set()).add(curve)
    lenders = [by_id[owner] for owner in wanted if owner not in {e.id for e in chosen}]
    only = {"baselines": [], "extracted": []}
    return [
        *chosen,
        *(
            lender.model_copy(update={"models": [m for m in lender.models if m.curve in wanted[lender.id]], **only})
            for lender in lenders
        ),
    ]


def in_order(chosen: Sequence[Experiment], points: Sequence[Point]) -> list[Point]:
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


def _points(experiment: Experiment, what: BaselineEntry | ExtractedEntry | int) -> list[Point]:
    with pinned_threads(1):
        if isinstance(what, ExtractedEntry):
            return list(extracted(experiment, what))
        if isinstance(what, BaselineEntry):
            return list(baseline(experiment, what))
        return [*replicate(experiment, what), *mix(experiment, what)]


def narrowed(suite: Suite, chosen: Sequence[Experiment]) -> Suite:
    """The suite `paper` with no more tasks than the chosen experiments need."""
    laws = {law_of(e) for e in chosen if e.honest}
    return suite.model_copy(update={"tasks": [task for task in suite.tasks if (task.law, task.d) in laws]})


def shifts(chosen: Sequence[Experiment]) -> list[Shift]:
    """What the chosen experiments have on mixtures of experts."""
    return [SHIFTS[e.id]() for e in chosen if e.id in SHIFTS]


def paper(
    only: Sequence[str],
    output: Path,
    execute: Callable[[Suite], Finished],
    redone: Path | None,
    jobs: int | None,
    progress: Progress,
) -> Finished:
    """Do all of it.

    Args:
        only: ids of experiments; none is all.
        output: folder that is written to.
        execute: runs the suite of fresh tasks.
        redone: a `published_protocol.csv` to take instead of redoing it, and the `experts.csv` beside it.
        jobs: processes; None is a core each.
        progress: told what happens.

    Returns:
        The run of fresh tasks, with `output` as its path.

    Raises:
        UserError: if an experiment is unknown, a table cannot be read, the folder cannot be written, or matplotlib is
            not installed.
    """
    chosen, jobs = selected(only), jobs or os.cpu_count() or 1
    figure(1.0, 1.0)  # without matplotlib it ends here, not after an hour's work
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"the report cannot be written to {output}: {error.strerror}") from None
    points = None if redone is None else read_points(redone)
    suite = narrowed(load_suite("paper"), chosen)
    finished = execute(suite) if suite.tasks else None
    if points is None:
        points = redo(chosen, jobs, progress)
    found = None if redone is None else redone.parent / "experts.csv"
    if found is not None and found.is_file():
        mixtures: list[Any] = pd.read_csv(found, dtype={"law": str}).to_dict("records")
    else:
        mixtures = [row for shift in shifts(chosen) for row in _mixtures(shift, jobs, progress)]
    report(chosen, points, None if finished is None else read_run(finished.path), output, mixtures)
    return Finished(output, *([], []) if finished is None else (finished.failures, finished.alarms))


def _mixtures(shift: Shift, jobs: int, progress: Progress) -> list[dict[str, Any]]:
    progress.start("mixtures of experts", 1)
    rows = table(shift, jobs)
    progress.advance(shift.id)
    return rows


def report(
    chosen: Sequence[Experiment],
    redone: Sequence[Point],
    run: Run | None,
    output: Path,
    mixtures: Sequence[dict[str, Any]] = (),
) -> list[Path]:
    """Compare, judge, draw and write; without a run of fresh tasks what needs one is left out."""
    found = {} if run is None else {(s.identity["law"], s.identity["d"]): s for s in settings(run)}
    curves = published()
    honest = {e.id: _honest_rows(e, run, found.get(law_of(e))) for e in chosen}
    agreements = {e.id: agreement(e, _references(e, curves), redone) for e in chosen}
    figures = {e.id: experiment_figure(e, curves[e.published], redone, honest[e.id]) for e in chosen}
    by_id = {e.id: e for e in chosen}
    judged = [
        judge(claim, redone, found[law_of(by_id[claim.experiment])])
        for claim in claims()
        if claim.experiment in by_id and law_of(by_id[claim.experiment]) in found
    ]
    for shift in shifts(chosen):
        rows = [row for row in mixtures if row["experiment"] == shift.id]
        judged += judge_experts(shift, rows)
        figures[f"{shift.id} on fresh tasks"] = experts_figure(shift, rows)
    names = {name: name.replace(" ", "-") for name in figures}
    written = [path for name in figures for path in save(figures[name], output / "figures", names[name])]
    remarks = [f"{e.id} ({e.title}): {e.remark}" for e in chosen if e.remark]
    remarks += [line for rows in agreements.values() for line in deviations(rows)]
    texts = {
        "VERDICTS.md": verdicts_markdown(judged, remarks),
        "report.html": page(list(chosen), figures, agreements, honest, judged),
        "published_protocol.csv": _csv([vars(point) for point in redone]),
        "agreement.csv": _csv([row for rows in agreements.values() for row in rows]),
        "fresh_tasks.csv": _csv([{"experiment": name, **row} for name, rows in honest.items() for row in rows]),
    }
    if mixtures:
        texts["experts.csv"] = _csv(list(mixtures))
    for name, text in texts.items():
        (output / name).write_text(text, encoding="utf-8")
    return [*written, *(output / name for name in texts)]


def _references(experiment: Experiment, curves: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Published curves of an experiment; a borrowed one is compared with the re-runs of its lender."""
    found, by_id = dict(curves[experiment.published]), {e.id: e for e in experiments()}
    for curve, (lender, name) in experiment.borrowed.items():
        shown = {key: found[curve][key] for key in ("figure", "layers")}
        found[curve] = {**curves[by_id[lender].published][name], **shown}
    return found


def _csv(rows: list[dict[str, Any]]) -> str:
    return pd.DataFrame(rows).to_csv(index=False, float_format="%.5f", lineterminator="\n")


def _honest_rows(experiment: Experiment, run: Run | None, setting: Setting | None) -> list[dict[str, Any]]:
    """Rows of the run for an experiment's solvers, pooled over seeds, in the order of its entry."""
    if run is None or setting is None:
        return []
    law, d = law_of(experiment)
    rows = [
        {
            "label": solver_label(row),
            "is_floor": row["solver"] == row["floor"],
            **{name: row[name] for name in COLUMNS},
        }
        for row in run.scores.to_dict("records")
        if (row["law"], row["d"], row["metric"]) == (law, d, setting.metric) and pd.isna(row["seed"])
    ]
    return [row for label in experiment.honest for row in rows if row["label"] == label]
