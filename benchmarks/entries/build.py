"""The board made: every entry that there is, and the references, on the tasks of one version."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.entries.board import BOARD, Board, Entry, Row, Version, kept_board, read_board, write_board
from benchmarks.entries.box import BoxError, require
from benchmarks.entries.boxed import Boxed
from benchmarks.entries.flags import flags
from benchmarks.entries.metadata import read_metadata
from benchmarks.entries.score import SOURCE, Executed, execute, suite_of
from benchmarks.errors import UserError, one_line
from benchmarks.harness.passes import Progress
from benchmarks.runs import cells
from benchmarks.runs.cells import grouped, rows_of
from benchmarks.runs.git import git
from benchmarks.runs.schema import SCORED_ON, SOLVER
from benchmarks.runs.source import source_hash
from benchmarks.runs.standing import DIRECT, standings, takes_no_steps
from memformer import __version__

RUNS = "runs"
"""Folder beside the board where runs are kept; not committed."""


@dataclass(frozen=True)
class Place:
    """Where entries and their board are.

    Attributes:
        entries: folder with a folder for each.
        board: folder of the boards.
        isolated: whether entries run in a box.
    """

    entries: Path
    board: Path
    isolated: bool = True

    def names(self) -> list[str]:
        """Of the entries that there are."""
        return sorted(path.parent.name for path in self.entries.glob("*/*.py") if path.stem == path.parent.name)

    def file(self, name: str) -> Path:
        """Of an entry."""
        return self.entries / name / f"{name}.py"


def head(place: Place, base: str = "HEAD") -> str:
    """The full hash of a commit.

    Raises:
        UserError: if there is none.
    """
    try:
        return git(place.entries, "rev-parse", "--verify", f"{base}^{{commit}}").decode().strip()
    except (OSError, subprocess.CalledProcessError):
        raise UserError(
            f"{base} is no commit of the repository that {place.entries} is in; name one by --base"
        ) from None


def held(place: Place, base: str, name: str) -> bool:
    """Whether a commit holds an entry's file as it is; then the file cannot know the commit's hash."""
    try:
        content = git(place.entries, "show", f"{base}:./{name}/{name}.py")
    except (OSError, subprocess.CalledProcessError):
        return False
    return content == place.file(name).read_bytes()


def _in_history(place: Place, base: str) -> bool:
    """Whether a commit led to the present one: after a rebase, say, the old ones did not."""
    try:
        git(place.entries, "merge-base", "--is-ancestor", base, "HEAD")
    except (OSError, subprocess.CalledProcessError):
        return False
    return True


def choose_version(place: Place, old: Board | None, name: str = "", base: str = "") -> Version:
    """The version that there is, while its base commit, of this history, holds every file; else the next, by HEAD.

    Args:
        place: of the entries.
        old: the board that there is.
        name: of the version, if another one is wanted.
        base: its base commit.

    Raises:
        UserError: if the commit is none, or the version is there and has another base.
    """
    known = old.version if old is not None else None
    if known is not None and name in ("", known.name):
        commit = head(place, base) if base else known.base
        if name and commit != known.base:
            raise UserError(f"version {name} of the board has the base {known.base}; choose another name")
        kept = _in_history(place, commit) and all(held(place, commit, one) for one in place.names())
        if commit == known.base and (name or kept):
            return known
    before = known.name if known is not None else ""
    following = str(int(before) + 1) if before.isdigit() else "1"
    return Version(name=name or following, base=head(place, base or "HEAD"), previous=before)


def build(place: Place, version: Version, command: Sequence[str], progress: Progress) -> Board:
    """Score everything under a version.

    Args:
        place: of entries and boards.
        version: whose tasks are scored.
        command: for the `meta.json` of runs.
        progress: told of every cell.

    Raises:
        UserError: if there is no box, or a kept board cannot be read.
    """
    if place.isolated:
        require()
    suite, runs = suite_of(version), place.board / RUNS
    executed = {"": execute(suite, runs, command, progress)}
    known: dict[str, Entry] = {}
    for name in place.names():
        try:
            about = read_metadata(place.file(name))
            known[name] = Entry(
                name=name,
                kind="entry",
                authors=about.authors,
                source=about.source,
                licence=about.licence,
                budget=about.budget,
                sha256=hashlib.sha256(place.file(name).read_bytes()).hexdigest(),
                commit=_commit(place, name),
                foreknown=not held(place, version.base, name),
            )
            solver = Boxed(str(place.file(name)), isolated=place.isolated)
            executed[name] = execute(suite, runs, command, progress, name, solver)
        except Exception as error:  # of one entry, which must not end the board of all
            reason = str(error) if isinstance(error, BoxError | UserError) else one_line(error)
            bare = known.get(name) or Entry(name=name, kind="entry")
            known[name] = bare.model_copy(update={"status": "no longer runs", "reason": reason})
    entries = [*_with_rows(known, executed, version)]
    old = read_board(place.board / BOARD)
    there = {one.name for one in entries}
    for one in old.entries if old is not None else []:
        if one.kind == "entry" and one.name not in there:
            gone = {"status": "withdrawn", "reason": "its folder is gone", "rows": [], "flags": []}
            entries.append(one.model_copy(update=gone))
    before = kept_board(place.board, version.previous) if version.previous else None
    return Board(
        schema=1,
        version=version,
        suite=suite.name,
        suite_hash=suite.content_hash,
        software=__version__,
        source=source_hash(SOURCE),
        entries=[_flagged(one, before) for one in entries],
    )


def keep(place: Place, board: Board) -> None:
    """Write a board in place of the one that there is; one of another version is kept beside it.

    Raises:
        UserError: if it cannot be written.
    """
    old = read_board(place.board / BOARD)
    if old is not None and old.version.name != board.version.name:
        write_board(old, place.board / f"version-{old.version.name}.json")
    write_board(board, place.board / BOARD)


def _flagged(one: Entry, before: Board | None) -> Entry:
    other = before.entry(one.name) if before is not None and one.kind == "entry" else None
    if before is None or other is None:
        return one
    return one.model_copy(update={"flags": flags(one, other, before.version.name)})


def _commit(place: Place, name: str) -> str:
    try:
        return git(place.entries, "log", "-1", "--format=%H", "--", f"./{name}/{name}.py").decode().strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def _with_rows(known: dict[str, Entry], executed: dict[str, Executed], version: Version) -> Iterator[Entry]:
    """Entries with their rows, ranked together, and the references after them."""
    rows: list[cells.Row] = [
        {**row, "row": 0, "at": (one.run, row["row"]), "who": name or row["solver"], "entry": name}
        for name, one in executed.items()
        for row in rows_of(one.run.scores)
    ]
    for number, row in enumerate(rows):
        row["row"] = number

    def stored(number: int) -> object:
        run, row = rows[number]["at"]
        return run.stored(row)

    ranks, direct = standings(rows, stored), takes_no_steps(rows)  # type: ignore[arg-type]
    shown = [
        _last(own) for own in grouped([row for row in rows if row["shown"]], [*SCORED_ON, *SOLVER, "steps"]).values()
    ]
    for row in shown:
        row["group"], row["rank"] = DIRECT if row["row"] in direct else row["needs"], ranks.get(row["row"])
    made = [(row, _row(row, shown, version)) for row in shown]
    for name, entry in known.items():
        if name not in executed:
            yield entry
            continue
        mine = [(row, found) for row, found in made if row["entry"] == name]
        broken = all(row["status"] in ("error", "time_limit", "memory_limit") for row, _ in mine)
        told = {"needs": mine[0][0]["needs"], "learned": mine[0][0]["learned"]}
        if broken:
            told |= {"status": "no longer runs", "reason": mine[0][0]["reason"]}
        used = {"train_tasks": executed[name].tasks, "train_seconds": executed[name].seconds}
        yield entry.model_copy(update={**told, **used, "rows": [found for _, found in mine]})
    for who in dict.fromkeys(row["who"] for row in shown if not row["entry"]):
        mine = [(row, found) for row, found in made if not row["entry"] and row["who"] == who]
        told = {"needs": mine[0][0]["needs"], "learned": mine[0][0]["learned"]}
        yield Entry(name=who, kind="reference", rows=[found for _, found in mine], **told)


def _last(rows: Sequence[cells.Row]) -> cells.Row:
    """The row of all seeds, or the only one."""
    return next((row for row in rows if row["seed"] is None), rows[-1])


def _row(row: cells.Row, shown: Iterable[cells.Row], version: Version) -> Row:
    same = [other for other in shown if all(other[name] == row[name] for name in (*SCORED_ON, "steps", "group"))]
    sharing = [other for other in same if row["rank"] is not None and other["rank"] == row["rank"]]
    known = ("law", "law_version", "law_params", "d", "N", "noise_std", "fingerprint", "steps", "num_tasks", "group")
    numbers = {"log_loss": "log_mean", "low": "log_low", "high": "log_high", "gap": "gap_to_floor"}
    told: dict[str, Any] = {name: row[name] for name in (*known, "levels", "tail_limited", "rank", "status")}
    told |= {name: row[column] for name, column in numbers.items()}
    told |= {name: row[name] or "" for name in ("floor", "alarm", "reason")}
    last = None if row["rank"] is None else row["rank"] + len(sharing) - 1
    return Row(**told, tasks=version.rule, last=last, tied=[other["who"] for other in sharing if other is not row])
