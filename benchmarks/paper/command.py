"""`memformer-bench paper`: redo what was published, run what should have been, and judge."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from joblib import Parallel, delayed

from benchmarks.errors import UserError
from benchmarks.harness.limits import pinned_threads
from benchmarks.harness.run import Progress, run_suite
from benchmarks.paper.classical import baseline, extracted
from benchmarks.paper.entries import BaselineEntry, Experiment, ExtractedEntry, ModelEntry, experiments, published
from benchmarks.paper.experts import experts_figure, judge_experts, table
from benchmarks.paper.figures import experiment_figure
from benchmarks.paper.points import Point, read_points
from benchmarks.paper.replicate import replicate
from benchmarks.paper.report import agreement, page, verdicts_markdown
from benchmarks.paper.verdicts import claims, judge, law_of
from benchmarks.store import Run, read_run
from benchmarks.suite import Suite, load_suite
from benchmarks.views.setting import Setting, label_of, settings
from benchmarks.views.style import figure, save

Entry = ModelEntry | ExtractedEntry | BaselineEntry

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


def redo(chosen: Sequence[Experiment], jobs: int, progress: Progress) -> list[Point]:
    """All points of the published protocol."""
    work: list[tuple[Experiment, Entry]] = [
        (e, entry) for e in chosen for entries in (e.models, e.extracted, e.baselines) for entry in entries
    ]
    progress.start("published protocol", len(work))
    points: list[Point] = []
    results: Any = Parallel(n_jobs=jobs, return_as="generator")(delayed(_curve)(e, entry) for e, entry in work)
    for (experiment, entry), found in zip(work, results, strict=True):
        points += found
        progress.advance(f"{experiment.id} {entry.curve}")
    return points


def _curve(experiment: Experiment, entry: Entry) -> list[Point]:
    with pinned_threads(1):
        if isinstance(entry, ModelEntry):
            return list(replicate(experiment, entry))
        if isinstance(entry, ExtractedEntry):
            return list(extracted(experiment, entry))
        return list(baseline(experiment, entry))


def narrowed(suite: Suite, chosen: Sequence[Experiment]) -> Suite:
    """The suite `paper` with no more tasks than the chosen experiments need."""
    laws = {law_of(e) for e in chosen if e.honest}
    return suite.model_copy(update={"tasks": [task for task in suite.tasks if (task.law, task.d) in laws]})


def paper(
    only: Sequence[str],
    results: Path,
    output: Path,
    run: Path | None,
    redone: Path | None,
    jobs: int,
    command: list[str],
    progress: Progress,
) -> tuple[list[Path], list[str]]:
    """Do all of it.

    Args:
        only: ids of experiments; none is all.
        results: folder of runs and parameters.
        output: folder that is written to.
        run: a finished run of the suite `paper` to take instead of a new one.
        redone: a `published_protocol.csv` to take instead of redoing it.
        jobs: processes.
        command: for the run's `meta.json`.
        progress: told what happens.

    Returns:
        Files written, and what failed in the run.

    Raises:
        UserError: if an experiment is unknown, a table cannot be read, the folder cannot be written, or matplotlib is
            not installed.
    """
    chosen = selected(only)
    figure(1.0, 1.0)  # without matplotlib it ends here, not after an hour's work
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"the report cannot be written to {output}: {error.strerror}") from None
    failures: list[str] = []
    if run is None:
        suite = narrowed(load_suite("paper"), chosen)
        finished = run_suite(suite, results / "runs", results / "parameters", command, progress, None, jobs)
        run, failures = finished.path, list(finished.failures)
    points = redo(chosen, jobs, progress) if redone is None else read_points(redone)
    mixtures: list[dict[str, Any]] = []
    if any(e.id == "h-var" for e in chosen):
        progress.start("mixtures of experts", 1)
        mixtures = table(jobs)
        progress.advance("h-var")
    return report(chosen, points, read_run(run), output, mixtures), failures


def report(
    chosen: Sequence[Experiment],
    redone: Sequence[Point],
    run: Run,
    output: Path,
    mixtures: Sequence[dict[str, Any]] = (),
) -> list[Path]:
    """Compare, judge, draw and write."""
    found = {(s.identity["law"], s.identity["d"]): s for s in settings(run)}
    curves = published()
    honest = {e.id: _honest_rows(e, run, found.get(law_of(e))) for e in chosen}
    agreements = {e.id: agreement(e, curves[e.published], redone) for e in chosen}
    figures = {e.id: experiment_figure(e, curves[e.published], redone, honest[e.id]) for e in chosen}
    by_id = {e.id: e for e in chosen}
    judged = [
        judge(claim, redone, found[law_of(by_id[claim.experiment])])
        for claim in claims()
        if claim.experiment in by_id and law_of(by_id[claim.experiment]) in found
    ]
    if mixtures:
        judged += judge_experts(list(mixtures))
        figures["h-var"] = experts_figure(list(mixtures))
    written = [path for e in chosen for path in save(figures[e.id], output / "figures", e.id)]
    left_out = [f"{e.id} ({e.title}): {e.not_redone}" for e in chosen if e.not_redone]
    texts = {
        "VERDICTS.md": verdicts_markdown(judged, left_out),
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


def _csv(rows: list[dict[str, Any]]) -> str:
    return pd.DataFrame(rows).to_csv(index=False, float_format="%.5f", lineterminator="\n")


def _honest_rows(experiment: Experiment, run: Run, setting: Setting | None) -> list[dict[str, Any]]:
    """Rows of the run for an experiment's solvers, pooled over seeds, in the order of its entry."""
    if setting is None:
        return []
    law, d = law_of(experiment)
    rows = [
        {"label": label_of(row["solver"], row["solver_params"]), **{name: row[name] for name in COLUMNS}}
        for row in run.scores.to_dict("records")
        if (row["law"], row["d"], row["metric"]) == (law, d, setting.metric) and pd.isna(row["seed"])
    ]
    return [row for label in experiment.honest for row in rows if row["label"] == label]
