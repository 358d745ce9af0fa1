"""How often an entry is flagged that did nothing wrong, and how often one that knew the tasks of one version.

    python -m benchmarks.validation.entry_flags [--output results/studies] [--versions 800]

The honest entries are executed in their boxes under six versions, each of the last five against the first. Those that
learn nothing are also scored without a box under many pairs of versions. Minutes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from typer import run

from benchmarks import api
from benchmarks.cli.progress import make_progress
from benchmarks.entries.board import Board, Entry, Row, Version
from benchmarks.entries.build import Place, build
from benchmarks.entries.flags import differences, flags
from benchmarks.entries.score import suite_of
from benchmarks.harness.resolve import build_law
from benchmarks.harness.scores.measure import measure
from benchmarks.harness.scores.protocol import scored_tasks
from benchmarks.reports.template import render
from benchmarks.reports.write import Report
from benchmarks.runs.source import ENTRIES, ROOT
from benchmarks.statistics import summarise
from benchmarks.statistics.significance import ALPHA
from benchmarks.tasks.law import Purpose
from memformer.core.solver import Solver

METRIC = "expected_test_loss"
IN_BOXES = 6
"""Versions under which the honest entries are executed."""

Change = Callable[[np.ndarray, np.random.Generator], np.ndarray]

KNOWN: dict[str, Change] = {
    "nothing": lambda losses, _: losses,
    "1 % of the tasks": lambda losses, rng: np.where(rng.random(losses.shape[-1]) < 0.01, 0.0, losses),
    "2 %": lambda losses, rng: np.where(rng.random(losses.shape[-1]) < 0.02, 0.0, losses),
    "5 %": lambda losses, rng: np.where(rng.random(losses.shape[-1]) < 0.05, 0.0, losses),
    "10 %": lambda losses, rng: np.where(rng.random(losses.shape[-1]) < 0.1, 0.0, losses),
    "all": lambda losses, _: 0 * losses,
}
"""What an entry knew of the tasks of one version: there its loss is 0."""


def version(number: int) -> Version:
    """A version of this study, by a base that stands for a commit."""
    return Version(name=str(number), base=hashlib.sha1(f"entry flags {number}".encode()).hexdigest())


def in_boxes(folder: Path) -> list[Board]:
    """Boards of all entries that there are, under several versions."""
    place = Place(ENTRIES.relative_to(ROOT), folder)
    with make_progress() as progress:
        return [build(place, version(number), ["entry_flags"], progress) for number in range(IN_BOXES)]


def compared(boards: Sequence[Board]) -> Iterator[dict[str, Any]]:
    """Of each entry: differences between the first version and each other one, those beyond their interval, flags."""
    first, *others = boards
    for before in first.entries:
        now = [one for board in others if (one := board.entry(before.name)) is not None]
        if before.kind == "entry" and now:
            found = [p for one in now for _, _, p in differences(one, before)]
            raised = [flags(one, before, "0") for one in now]
            yield {
                "entry": before.name,
                "versions": len(now),
                "differences": len(found),
                "beyond their own interval": sum(p <= ALPHA for p in found),
                "flagged": sum(map(len, raised)),
                "versions with a flag": sum(map(bool, raised)),
            }


def simulated(name: str, solver: Solver, number: int) -> dict[str, Entry]:
    """An entry under a version as the board has it, without a box; by what it knew of the tasks."""
    suite, generator = suite_of(version(number)), np.random.default_rng(number)
    found: dict[str, list[Row]] = {known: [] for known in KNOWN}
    for task in suite.tasks:
        law = build_law(task)
        by_seed = []
        for seed in suite.seeds:
            count, place = task.tasks or suite.scores.tasks, torch.device("cpu")
            problem = scored_tasks(law, seed, count, torch.float64, place, "plain", Purpose.SCORE)
            by_seed.append(np.asarray(measure(solver, problem, tuple(suite.steps)).losses[METRIC]))
        for known, change in KNOWN.items():
            changed = [change(losses, generator) for losses in by_seed]
            for place_of, steps in enumerate(suite.steps):
                one = summarise([losses[place_of].astype(np.float64) for losses in changed])
                found[known].append(_row(task, steps, one))
    return {known: Entry(name=name, kind="entry", sha256="0", rows=rows) for known, rows in found.items()}


def _row(task: Any, steps: int, found: Any) -> Row:
    told = {"law": task.law, "law_version": 1, "law_params": "{}", "d": task.d, "N": task.N, "fingerprint": ""}
    told |= {"noise_std": task.noise_std, "steps": steps, "tasks": "", "num_tasks": 1, "group": "", "status": "ok"}
    told |= {"log_loss": found.log_mean, "low": found.log_low, "high": found.log_high, "levels": "tasks"}
    told |= {"tail_limited": None, "gap": None, "floor": "", "rank": None, "last": None, "tied": [], "alarm": ""}
    return Row.model_validate({**told, "reason": ""})


def pairs(versions: int) -> Iterator[dict[str, Any]]:
    """Of each method that learns nothing and each kind of knowledge: how often pairs of versions are told apart."""
    for name, solver in {
        "momentum": api.solver("heavy_ball", eta=0.5, beta=0.3),
        "pseudoinverse": api.solver("ols"),
    }.items():
        drawn = [simulated(name, solver, 1000 + number) for number in range(versions)]
        for known in KNOWN:
            both = [(drawn[k][known], drawn[k + 1]["nothing"]) for k in range(0, versions - 1, 2)]
            found = [p for now, before in both for _, _, p in differences(now, before)]
            raised = [flags(now, before, "0") for now, before in both]
            yield {
                "entry": name,
                "knew of one version": known,
                "pairs of versions": len(both),
                "differences": len(found),
                "beyond their own interval": f"{np.mean([p <= ALPHA for p in found]):.1%}",
                "flagged": f"{sum(map(len, raised)) / len(found):.1%}",
                "versions with a flag": f"{np.mean([bool(one) for one in raised]):.1%}",
            }


def main(output: Path = Path("results/studies"), versions: int = 800) -> None:
    """Count flags and write `entry_flags.md`."""
    torch.set_num_threads(1)
    many = list(pairs(versions))
    boxed = list(compared(in_boxes(Path("results/entries"))))
    page = render(
        "benchmarks.validation",
        "entry_flags.md.jinja",
        versions=IN_BOXES - 1,
        boxed=[list(row.values()) for row in boxed],
        boxed_head=list(boxed[0]),
        many=[list(row.values()) for row in many],
        many_head=list(many[0]),
    )
    Report(texts={"entry_flags.md": page}).write(output)
    print(page)


if __name__ == "__main__":
    run(main)
