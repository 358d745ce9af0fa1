"""Folders of unfinished runs: whose they are, and how those that nobody needs go without harm to a live run.

Whoever makes, uses or removes such a folder holds its lock. A folder is removed by a new name that nobody looks for, so
that no process can find the folder, or the lock in it, half removed.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import uuid
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

UNFINISHED = ".unfinished-"
"""Before the name of a run, names the folder that it has while it is unfinished."""

REMOVED = re.compile(r"\.removed-[0-9a-f]{32}")
"""Name of a folder that is being removed."""

OURS = {"lock", "cells", "scratch", "complete", "state.json", ".state.json", "errors.log"}
"""What lies in the folder of an unfinished run; a folder with anything else in it is not ours to remove."""

PATIENCE = 0.3
"""Seconds that a lock is waited for: another process may be looking whether the folder is in use."""


def locked(folder: Path, make: bool = False) -> FileLock | None:
    """The lock of an unfinished run's folder, taken; None if another has it, or there is no such folder.

    A folder that another process removes after it was made, and before it was locked, is made again.

    Args:
        folder: of the unfinished run.
        make: make it if it is missing.

    Raises:
        OSError: if it cannot be made, or its lock cannot be written.
    """
    lock, file = FileLock(folder / "lock"), folder / "lock"
    while True:
        kept = False
        if make:
            folder.mkdir(parents=True, exist_ok=True)
        try:
            file.touch()
            before = file.stat()
            lock.acquire(timeout=PATIENCE if make else 0)
            kept = os.path.samestat(before, file.stat())  # what is locked is what others will find
            if kept:
                return lock
        except Timeout:
            return None
        except (FileNotFoundError, NotADirectoryError):
            if not make:
                return None
        finally:
            if not kept:
                lock.release()


def discard(folder: Path) -> bool:
    """Remove a folder whose lock is held; whether all of it is gone."""
    if not _only_ours(folder):
        return False
    grave = folder.with_name(f".removed-{uuid.uuid4().hex}")
    try:
        folder.rename(grave)
    except OSError:
        return not folder.exists()
    shutil.rmtree(grave, ignore_errors=True)
    return not grave.exists()


def remove_unfinished(folder: Path, unless_needed: bool = False) -> bool:
    """Remove the folder of an unfinished run, or what was left of one that was being removed; whether it is gone.

    Args:
        folder: of the run.
        unless_needed: leave it if it has finished cells of a run that is not complete.
    """
    if REMOVED.fullmatch(folder.name):
        shutil.rmtree(folder, ignore_errors=True)
        return not folder.exists()
    try:
        lock = locked(folder)
    except OSError:
        return False
    if lock is None:
        return False
    try:
        complete = (folder.parent / folder.name.removeprefix(UNFINISHED)).exists()
        return not (unless_needed and has_cells(folder) and not complete) and discard(folder)
    finally:
        lock.release()


def sweep(folder: Path) -> None:
    """Remove what runs left that were killed when they were already complete, or before a cell was finished."""
    for path in abandoned_runs(folder):
        remove_unfinished(path, unless_needed=True)


def abandoned_runs(folder: Path) -> list[Path]:
    """Folders of unfinished runs that no process is using, oldest first, and of those that were being removed."""
    graves = (path for path in folder.glob(".removed-*") if REMOVED.fullmatch(path.name) and _plain_folder(path))
    return [*(path for path in unfinished_runs(folder) if not _in_use(path)), *sorted(graves)]


def unfinished_runs(folder: Path) -> list[Path]:
    """Folders of unfinished runs: first those that a process is using, then the others, each oldest first."""
    found = [path for path in folder.glob(f"{UNFINISHED}*") if _plain_folder(path) and _only_ours(path)]
    used = {path: _in_use(path) for path in found}
    began = {path: str(describe_unfinished(path).get("started_at", "")) for path in found}
    return sorted(found, key=lambda path: (not used[path], began[path], path.name))


def describe_unfinished(path: Path) -> dict[str, Any]:
    """What an unfinished run says about itself; empty if it says nothing."""
    try:
        state = json.loads((path / "state.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return state if isinstance(state, dict) else {}


def has_cells(folder: Path) -> bool:
    """Whether finished cells lie in the folder of an unfinished run."""
    try:
        return any((folder / "cells").iterdir())
    except OSError:
        return False


def _plain_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _only_ours(path: Path) -> bool:
    try:
        return {file.name for file in path.iterdir()} <= OURS
    except OSError:
        return False


def _in_use(path: Path) -> bool:
    """Whether a process holds the lock; looking makes no file."""
    if not (path / "lock").exists():
        return False
    try:
        with FileLock(path / "lock").acquire(timeout=0):
            return False
    except (Timeout, OSError):
        return True
