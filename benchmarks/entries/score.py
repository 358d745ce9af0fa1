"""Entries run on the tasks of a version, each in its boxes; what was run by the same source is found again."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.catalogue.registry import SOLVERS
from benchmarks.entries.board import Version
from benchmarks.entries.boxed import Boxed
from benchmarks.entries.enter import SUITE
from benchmarks.harness.passes import Progress
from benchmarks.harness.resolve import build_law
from benchmarks.harness.run import run_suite
from benchmarks.runs.read import Run, read_run
from benchmarks.runs.source import SCORING, source_hash
from benchmarks.suites.entries import SolverEntry
from benchmarks.suites.suite import Suite, load_suite

ENTRY = "entry"
"""Name under which every entry is registered; its file is a parameter."""

SOURCE = (*SCORING, *(f"benchmarks/entries/{name}.py" for name in ("box", "boxed", "inside", "wire")))
"""What the rows of an entry depend on, beside its file."""


AGAIN = {"error", "time_limit"}
"""What may end otherwise another time: the machine may have been busy, or short of something."""


@dataclass(frozen=True)
class Executed:
    """A run of one entry or of the references, with the training tasks and seconds that its fits used."""

    run: Run
    tasks: int = 0
    seconds: float = 0.0


def suite_of(version: Version) -> Suite:
    """The suite of references, with the seeds of a version. A box would be timed: nothing is."""
    suite = load_suite(SUITE)
    return suite.model_copy(update={"seeds": version.seeds(len(suite.seeds)), "timings": None})


def execute(
    suite: Suite, folder: Path, command: Sequence[str], progress: Progress, name: str = "", solver: Boxed | None = None
) -> Executed:
    """Run a suite's own solvers, or one entry in their place.

    A run is found again by a key: a hash of the suite with its seeds, of the file, of the laws' versions and
    fingerprints, and of the source. One in which something ended by an error or out of time is executed again.

    Args:
        suite: of a version.
        folder: where runs are kept.
        command: for the run's `meta.json`.
        progress: told of every cell.
        name: of the entry.
        solver: the entry, None for the references.
    """
    if ENTRY not in SOLVERS:
        SOLVERS.add(ENTRY, Boxed, "an entry, in its box", ENTRY)
    laws = [build_law(task) for task in suite.tasks]
    told = [suite.content_hash, *([solver.file, solver.sha256, solver.isolated] if solver else [])]
    told += [[law.metadata.version, law.fingerprint] for law in laws]
    key = hashlib.sha256(json.dumps([*told, source_hash(SOURCE)]).encode()).hexdigest()[:16]
    place = f"{name or 'references'}-{key}"
    log = (folder / f"{place}.jsonl").absolute()
    if solver is not None:
        given: dict[str, Any] = {"file": solver.file, "isolated": solver.isolated, "log": str(log)}
        suite = suite.model_copy(update={"solvers": [SolverEntry(name=ENTRY, params=given)]})
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / place / "meta.json").is_file() and AGAIN & set(read_run(folder / place).scores["status"]):
        shutil.rmtree(folder / place)
        log.unlink(missing_ok=True)
    run = read_run(run_suite(suite, folder, None, command, progress, name=place, resume=True).path)
    fits = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()] if log.is_file() else []
    return Executed(run, sum(fit["tasks"] for fit in fits), round(sum(fit["seconds"] for fit in fits), 1))
