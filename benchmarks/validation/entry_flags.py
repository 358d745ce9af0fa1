"""How often an entry is flagged that did nothing wrong, and how often one that knew the tasks of one version.

    python -m benchmarks.validation.entry_flags [--output results/studies] [--versions 400] [--boxed]

Entries that learn nothing are scored without a box under many pairs of versions. With `--boxed` the honest entries are
executed in their boxes under six versions, each of the last five against the first. Minutes.
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
from benchmarks.statistics.intervals import hall
from benchmarks.statistics.significance import ALPHA
from benchmarks.tasks.law import Purpose
from memformer.core.solver import Solver

METRIC = "expected_test_loss"
IN_BOXES = 6
"""Versions under which the honest entries are executed."""

Change = Callable[[np.ndarray, np.random.Generator], np.ndarray]

KNOWN: dict[str, Change] = {
    "nothing": lambda losses, _: losses,
    "1 % of the tasks": lambda losses, rng: np.where(rng.random((len(losses), 1)) < 0.01, 0.0, losses),
    "2 %": lambda losses, rng: np.where(rng.random((len(losses), 1)) < 0.02, 0.0, losses),
    "5 %": lambda losses, rng: np.where(rng.random((len(losses), 1)) < 0.05, 0.0, losses),
    "10 %": lambda losses, rng: np.where(rng.random((len(losses), 1)) < 0.1, 0.0, losses),
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


def simulated(name: str, solver: Solver, number: int, known: Sequence[str]) -> dict[str, Entry]:
    """An entry under a version as the board has it, without a box; by what it knew of the tasks."""
    suite, generator = suite_of(version(number)), np.random.default_rng(number)
    found: dict[str, list[Row]] = {one: [] for one in known}
    for task in suite.tasks:
        law, by_seed = build_law(task), []
        for seed in suite.seeds:
            count, place = task.tasks or suite.scores.tasks, torch.device("cpu")
            problem = scored_tasks(law, seed, count, torch.float64, place, "plain", Purpose.SCORE)
            losses = measure(solver, problem, tuple(suite.steps)).losses[METRIC]
            by_seed.append(np.stack([*losses], axis=1).astype(np.float64))
        for one in known:
            strata = [KNOWN[one](losses, generator) for losses in by_seed]
            mean = np.concatenate(strata).mean(axis=0) + np.finfo(np.float64).tiny
            low, high = hall([values / mean for values in strata])
            for steps, *ends in zip(suite.steps, np.log(mean), *np.log(np.maximum([low, high], 1e-300)), strict=True):
                found[one].append(_row(task, steps, *map(float, ends)))
    return {one: Entry(name=name, kind="entry", sha256="0", rows=rows) for one, rows in found.items()}


def _row(task: Any, steps: int, log_mean: float, low: float, high: float) -> Row:
    told = {"law": task.law, "law_version": 1, "law_params": "{}", "d": task.d, "N": task.N, "fingerprint": ""}
    told |= {"noise_std": task.noise_std, "steps": steps, "tasks": "", "num_tasks": 1, "group": "", "status": "ok"}
    told |= {"log_loss": log_mean, "low": log_mean + low, "high": log_mean + high, "levels": "tasks"}
    told |= {"tail_limited": None, "gap": None, "floor": "", "rank": None, "last": None, "tied": [], "alarm": ""}
    return Row.model_validate({**told, "reason": ""})


def pairs(versions: int) -> Iterator[dict[str, Any]]:
    """Of each method that learns nothing and each kind of knowledge: how often pairs of versions are told apart."""
    for name, solver in {
        "momentum": api.solver("heavy_ball", eta=0.5, beta=0.3),
        "pseudoinverse": api.solver("ols"),
    }.items():
        drawn = [
            (simulated(name, solver, 1000 + k, [*KNOWN]), simulated(name, solver, 1001 + k, ["nothing"])["nothing"])
            for k in range(0, versions, 2)
        ]
        for known in KNOWN:
            both = [(now[known], before) for now, before in drawn]
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


def main(output: Path = Path("results/studies"), versions: int = 400, boxed: bool = False) -> None:
    """Count flags and write `entry_flags.md`; or of entries in their boxes, `entry_flags_in_boxes.md`."""
    torch.set_num_threads(1)
    name = "entry_flags_in_boxes" if boxed else "entry_flags"
    found = list(compared(in_boxes(Path("results/entries"))) if boxed else pairs(versions))
    rows, head = [list(row.values()) for row in found], list(found[0])
    page = render("benchmarks.validation", f"{name}.md.jinja", versions=IN_BOXES - 1, rows=rows, head=head)
    Report(texts={f"{name}.md": page}).write(output)
    print(page)


if __name__ == "__main__":
    run(main)
