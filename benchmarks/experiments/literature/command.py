"""`memformer-bench run literature`: published numbers held against what is measured here, with a verdict on each."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from functools import partial

from benchmarks.experiments.experiment import Experiment, Request, settings_text
from benchmarks.experiments.literature.judge import Judged, judge
from benchmarks.experiments.literature.measure import measure_number
from benchmarks.experiments.literature.numbers import ROOM, SEEDS, Literature, read_numbers
from benchmarks.harness.run import Finished
from benchmarks.reports.template import render
from benchmarks.reports.write import Report

QUICK_TASKS = 500
"""Tasks a seed in the short form, which leaves out what is learned."""

HEADERS = ("source", "where", "what", "published", "ours", "verdict")

KINDS = {"exact": "Theorems", "classical": "Methods that are not trained", "learned": "Learned methods"}


def carry_out(request: Request) -> Finished:
    """Measure, judge, write; `--only` chooses among the sources."""
    folder, known = request.folder("literature"), read_numbers()
    numbers = [one for one in known.number if not request.only or one.source in request.only]
    if request.quick:
        few = [one for one in numbers if one.kind != "learned"]
        numbers = [one.model_copy(update={"tasks": min(one.tasks, QUICK_TASKS)}) for one in few]
    measure = partial(measure_number, parameters=request.results / "parameters")
    measured = request.map("literature", measure, numbers, [one.what for one in numbers])
    found = judge(measured)
    Report(
        {"numbers": [_row(one) for one in found]}, {}, {"literature.md": page(known, found, request.only)}, "%.5g"
    ).write(folder)
    return Finished(folder, [f"{one.number.what}: {one.why}" for one in found if one.why], [])


def page(known: Literature, found: Sequence[Judged], only: Sequence[str] = ()) -> str:
    """All verdicts, those that were not reproduced first; `only` names the sources that were asked for, if not all."""
    asked = {key: one for key, one in known.sources.items() if not only or key in only}
    others = [one for one in found if one.verdict != "reproduced"]
    parts = [(title, [one for one in found if one.number.kind == kind]) for kind, title in KINDS.items()]
    return render(
        ROOM,
        "literature.md.jinja",
        total=len(found),
        seeds=len(SEEDS),
        tasks=max((one.number.tasks for one in found), default=0),
        counts=Counter(one.verdict for one in found),
        kinds=Counter(one.number.kind for one in found),
        parts=[
            (title, [_cells(one, _smaller(part)) for one in part], [*HEADERS, *["smaller here"] * _smaller(part)])
            for title, part in [("What was not reproduced", others), *parts]
            if part
        ],
        not_run=[[one.source, one.where, one.what, one.value, one.why] for one in known.not_run if one.source in asked],
        sources=[[key, one.cite, one.note] for key, one in asked.items()],
    )


def _smaller(found: Sequence[Judged]) -> bool:
    return any(one.number.smaller for one in found)


def _cells(one: Judged, smaller: bool) -> list[str]:
    number = one.number
    middle, low, high = one.ours
    ours = f"{middle:.3f} ({low:.3f} to {high:.3f})" if middle == middle else one.why
    published = f"{math.log(number.value):.3f} ({number.value:.4g})"
    return [number.source, number.where, number.what, published, ours, one.verdict, *[number.smaller] * smaller]


def _row(one: Judged) -> dict[str, object]:
    number = one.number
    names = ("source", "where", "what", "kind", "value", "over", "solver", "steps", "tolerance", "smaller")
    ours = dict(zip(("ours", "low", "high"), one.ours, strict=True))
    return {**{name: getattr(number, name) for name in names}, **ours, "verdict": one.verdict}


LITERATURE = Experiment(
    "literature",
    "numbers that others published, reproduced, refuted or undecided by one rule",
    carry_out,
    frozenset({"quick", "only"}),
    lambda: list(dict.fromkeys(one.source for one in read_numbers().number)),
    partial(settings_text, ROOM, "numbers.toml"),
)
