"""`memformer-bench run paper`: redo what was published, run what should have been, and judge."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.experiments.experiment import SUITE_OPTIONS, Experiment, Request, choose, need_figures
from benchmarks.experiments.paper import experts_fresh, facts, heads
from benchmarks.experiments.paper.curves import Point, read_points
from benchmarks.experiments.paper.effort import operations_of, training_speed
from benchmarks.experiments.paper.entries import PaperExperiment, experiments, published
from benchmarks.experiments.paper.experts_fresh import SHIFTS, Shift, experts_evidence
from benchmarks.experiments.paper.figures import experiment_figure, experts_figure
from benchmarks.experiments.paper.redo import redo
from benchmarks.experiments.paper.report import agreement, changes_markdown, deviations, page, verdicts_markdown
from benchmarks.experiments.paper.verdicts import Evidence, claims, gather, judge, law_of
from benchmarks.harness.resolve import build_cells
from benchmarks.harness.run import Finished
from benchmarks.harness.scores.fitting import ParameterStore, header_of
from benchmarks.reports.comparison import Setting, settings
from benchmarks.reports.write import Report, make_folder
from benchmarks.runs.ranking import solver_label
from benchmarks.runs.read import Run, read_run
from benchmarks.suites.suite import Suite, load_suite

COLUMNS = ("steps", "log_mean", "log_low", "log_high", "median", "gap_to_floor")
"""Columns of the run's scores that the report shows."""


FORM = "%.5f"
"""Of numbers in the tables."""

HEADS_IN = {"l-mh5", "l-b9", "l-b30"}
"""Experiments of the paper that are about heads."""


def ids() -> list[str]:
    """Of the paper's experiments, in order."""
    return [experiment.id for experiment in experiments()]


def selected(only: Sequence[str]) -> list[PaperExperiment]:
    """The experiments of these ids, or all.

    Raises:
        UserError: if an id is unknown.
    """
    names = choose("the experiment paper", only, ids())
    return [experiment for experiment in experiments() if experiment.id in names]


def narrowed(suite: Suite, chosen: Sequence[PaperExperiment]) -> Suite:
    """The suite `paper` with no more tasks than the chosen experiments need."""
    laws = {law_of(e) for e in chosen if e.honest}
    return suite.model_copy(update={"tasks": [task for task in suite.tasks if (task.law, task.d) in laws]})


def shifts(chosen: Sequence[PaperExperiment]) -> list[Shift]:
    """What the chosen experiments have on mixtures of experts."""
    return [make() for e in chosen for make in SHIFTS.get(e.id, ())]


def redo_and_judge(request: Request, output: Path, redone: Path | None) -> Finished:
    """Do all of it, or judge again what was done.

    Tables that take minutes are written as soon as they are there, so that `judge` can go on from them.

    Args:
        request: what is wanted; `only` holds ids of experiments.
        output: folder that is written to.
        redone: a `published_protocol.csv` to take instead of redoing it, and the `experts.csv` beside it.

    Returns:
        The run of fresh tasks, with `output` as its path.

    Raises:
        UserError: if an experiment is unknown, a table cannot be read, the folder cannot be written, or matplotlib is
            not installed.
    """
    chosen = selected(request.only)
    need_figures()
    make_folder(output)
    points = None if redone is None else read_points(redone)
    suite = narrowed(load_suite("paper"), chosen)
    finished = request.run_suite(suite, request.processes) if suite.tasks else None  # few cells, minutes of training

    def kept(name: str, rows: list[Any]) -> list[Any]:
        if rows:
            Report({name: rows}, form=FORM).write(output)
        return rows

    if points is None:
        points = redo(chosen, request)
        kept("published_protocol", [vars(point) for point in points])
    beside = {} if redone is None else {path.name: path for path in redone.parent.glob("*.csv")}
    if "experts.csv" in beside:
        mixtures = experts_fresh.read_table(beside["experts.csv"])
    else:
        mixtures = kept("experts", [row for shift in shifts(chosen) for row in experts_fresh.table(shift, request)])
    if "heads.csv" in beside:
        several: list[Any] = heads.read_table(beside["heads.csv"])
    else:
        several = kept("heads", heads.table(request) if HEADS_IN & {e.id for e in chosen} else [])
    run = None if finished is None else read_run(finished.path)
    report(chosen, points, run, mixtures, several, request.results).write(output, png=True)
    return Finished(output, *([], []) if finished is None else (finished.failures, finished.alarms))


PAPER = Experiment(
    "paper",
    "the published experiments redone, the same questions on fresh tasks, and which claims hold",
    lambda request: redo_and_judge(request, request.folder("paper"), None),
    SUITE_OPTIONS | {"only"},
    ids,
    lambda: "\n".join(f"{e.id:<8} {e.title}" for e in experiments()),
)


def report(
    chosen: Sequence[PaperExperiment],
    redone: Sequence[Point],
    run: Run | None,
    mixtures: Sequence[dict[str, Any]] = (),
    several: Sequence[dict[str, Any]] = (),
    results: Path = Path("results"),
) -> Report:
    """Compare, judge and draw; without a run of fresh tasks what needs one is left out.

    Args:
        chosen: experiments.
        redone: their curves.
        run: of the suite `paper`.
        mixtures: rows of `experts.csv`.
        several: rows of `heads.csv`.
        results: folder in which the results of other experiments lie, where they have been run.
    """
    found = {} if run is None else {(s.identity["law"], s.identity["d"]): s for s in settings(run)}
    curves = published()
    honest = {e.id: _honest_rows(e, run, found.get(law_of(e))) for e in chosen}
    agreements = {e.id: agreement(e, _references(e, curves), redone) for e in chosen}
    figures = {e.id: experiment_figure(e, curves[e.published], redone, honest[e.id]) for e in chosen}
    evidence = [] if run is None else _claims(chosen, redone, run, found, results)
    ids_chosen = {e.id for e in chosen}
    evidence += [one for one in facts.theorems() if one.experiment in ids_chosen]
    evidence += heads.heads_evidence(list(several))
    if run is not None and ids_chosen == set(ids()):
        evidence += facts.elsewhere(results)
    for shift in shifts(chosen):
        rows = [row for row in mixtures if row["experiment"] == shift.id]
        evidence += experts_evidence(shift, rows)
        figures[f"{shift.id} on fresh tasks"] = experts_figure(shift, rows)
    judged, comparisons = judge(evidence), sum(len(one.parts) for one in evidence)
    remarks = [f"{e.id} ({e.title}): {e.remark}" for e in chosen if e.remark]
    remarks += [line for rows in agreements.values() for line in deviations(rows)]
    tables = {
        "published_protocol": [vars(point) for point in redone],
        "agreement": [row for rows in agreements.values() for row in rows],
        "fresh_tasks": [{"experiment": name, **row} for name, rows in honest.items() for row in rows],
    }
    return Report(
        tables | {name: rows for name, rows in (("experts", mixtures), ("heads", several)) if rows},
        {f"figures/{name.replace(' ', '-')}": drawn for name, drawn in figures.items()},
        {
            "VERDICTS.md": verdicts_markdown(judged, comparisons, remarks),
            "before_and_after.md": changes_markdown(judged),
            "report.html": page(list(chosen), figures, agreements, honest, judged, comparisons),
        },
        FORM,
    )


def _claims(
    chosen: Sequence[PaperExperiment],
    redone: Sequence[Point],
    run: Run,
    found: dict[tuple[str, int], Setting],
    results: Path,
) -> list[Evidence]:
    """What the run knows of the claims of the chosen experiments."""
    by_id = {e.id: e for e in chosen}
    operations = {law: operations_of(run, setting) for law, setting in found.items()}
    gathered = []
    for claim in claims():
        if claim.experiment in by_id and law_of(by_id[claim.experiment]) in found:
            law, speed = law_of(by_id[claim.experiment]), ""
            if claim.training is not None:
                speed = training_speed(claim.training, claim.layers, results / "memory" / "gaps.csv")
            gathered.append(gather(claim, redone, found[law], operations[law], speed))
    law = ("anisotropic", 5)
    if "c" in by_id and law in found:
        gathered += facts.overhead(operations[law])
        gathered += trained_elsewhere(run, results)
    return gathered


def trained_elsewhere(run: Run, results: Path) -> list[Evidence]:
    """GD++ under shift, where the parameters that the run fitted are kept."""
    suite = narrowed(load_suite("paper"), selected(["c"]))
    cell = next(cell for cell in build_cells(suite) if cell.solver_name == "memformer_gdpp")
    seeds = sorted({int(seed) for seed in run.scores["seed"].dropna()})
    store = ParameterStore(results / "parameters")
    about = (cell.solver_name, cell.solver, cell.fitted_on, cell.steps)
    fit = store.find(cell.solver, [header_of(*about, seed, cell.dtype, cell.device) for seed in seeds])
    return [] if fit is None else [facts.shifted(fit.solvers, seeds)]


def _references(experiment: PaperExperiment, curves: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Published curves of an experiment; a borrowed one is compared with the re-runs of its lender."""
    found, by_id = dict(curves[experiment.published]), {e.id: e for e in experiments()}
    for curve, (lender, name) in experiment.borrowed.items():
        shown = {key: found[curve][key] for key in ("figure", "layers")}
        found[curve] = {**curves[by_id[lender].published][name], **shown}
    return found


def _honest_rows(experiment: PaperExperiment, run: Run | None, setting: Setting | None) -> list[dict[str, Any]]:
    """Rows of the run for an experiment's solvers, pooled over seeds, in the order of its entry."""
    if run is None or setting is None:
        return []
    key = (*law_of(experiment), setting.metric)
    known = [row for row in run.scores.to_dict("records") if pd.isna(row["seed"])]
    return [
        {"label": label, "is_floor": row["solver"] == row["floor"], **{name: row[name] for name in COLUMNS}}
        for label in experiment.honest
        for row in known
        if (row["law"], row["d"], row["metric"]) == key and solver_label(row) == label
    ]
