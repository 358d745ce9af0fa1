"""From a file to an entry: checked, scored beside others, and put into the folder that a pull request needs."""

from __future__ import annotations

import hashlib
import json
import secrets
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.catalogue.registry import SOLVERS
from benchmarks.entries.boxed import Boxed
from benchmarks.entries.metadata import Metadata
from benchmarks.errors import UserError
from benchmarks.harness.passes import Progress
from benchmarks.harness.run import Finished, run_suite
from benchmarks.suites.entries import SolverEntry
from benchmarks.suites.suite import load_suite

SUITE = "entry"
"""Where an entry is shown beside others before it is one."""

SEED_BITS = 48
"""Of a seed: too many to try."""


@dataclass(frozen=True)
class Entered:
    """Where an entry's files are."""

    folder: Path
    written: tuple[str, ...]


def refuse_taken(name: str) -> None:
    """Raise UserError if a solver has that name."""
    if name in SOLVERS:
        raise UserError(f"the name {name!r} is taken ({SOLVERS[name].origin}); choose another")


def preview(about: Metadata, solver: Boxed, results: Path, command: Sequence[str], progress: Progress) -> Finished:
    """Score an entry on the suite `entry`, beside the solvers that are in it. A box would be timed: nothing is.

    Seeds are drawn anew, so that nobody can have known the tasks when the entry was written.

    Raises:
        UserError: if its name is taken.
    """
    refuse_taken(about.name)
    SOLVERS.add(about.name, Boxed, about.source, "entry", file=solver.file, isolated=solver.isolated)
    suite = load_suite(SUITE)
    mine = SolverEntry(name=about.name)
    seeds = [secrets.randbits(SEED_BITS) for _ in suite.seeds]
    suite = suite.model_copy(update={"solvers": [mine, *suite.solvers], "seeds": seeds, "timings": None})
    return run_suite(suite, results / "runs", None, command, progress, jobs=1)


def write(about: Metadata, solver: Boxed, kept: Sequence[str], output: Path) -> Entered:
    """Write an entry's folder: its file, and what is known of it.

    Args:
        about: what the file says.
        solver: as it was checked.
        kept: names of the checks that it keeps to.
        output: folder of all entries.

    Raises:
        UserError: if there is another entry of that name.
    """
    folder, file = output / about.name, Path(solver.file)
    if (folder / "entry.json").is_file():
        try:
            authors = json.loads((folder / "entry.json").read_text(encoding="utf-8"))["authors"]
        except (ValueError, KeyError, TypeError):
            raise UserError(f"{folder / 'entry.json'} is damaged; remove it or put it right") from None
        if authors != about.authors:
            raise UserError(f"{folder} has an entry of {', '.join(map(str, authors))}; choose another name")
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"{about.name}.py"
    if not target.exists() or not target.samefile(file):
        shutil.copyfile(file, target)
    told = {
        **about.model_dump(),
        "class": about.solver or None,
        "needs": str(solver.needs),
        "reach": str(solver.reach),
        "fitting": str(solver.fitting),
        "learned": solver.learned,
        "version": solver.version,
        "sha256": hashlib.sha256(target.read_bytes()).hexdigest(),
        "keeps": list(kept),
    }
    del told["solver"]
    (folder / "entry.json").write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    return Entered(folder, (target.name, "entry.json"))
