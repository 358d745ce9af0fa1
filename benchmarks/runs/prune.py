"""What nobody needs any more: unfinished runs that nobody writes, fitted parameters that nobody would find again."""

from __future__ import annotations

import shutil
import time
from importlib.metadata import version
from pathlib import Path

from benchmarks.runs.source import source_hash
from benchmarks.runs.write import unfinished_runs
from memformer.core import checkpoint

YOUNG = 24 * 3600
"""Seconds for which a file that a process is writing is left alone."""


def left_over(results: Path) -> list[tuple[Path, int, str]]:
    """Path, size in bytes and reason of everything that can go. Complete runs are never among it."""
    found = [(path, "an unfinished run") for path in unfinished_runs(results / "runs")]
    for path in sorted((results / "parameters").glob("*.safetensors")):
        reason = _stale(path)
        if reason:
            found.append((path, reason))
    for path in sorted((results / "parameters").glob(".*")):
        if time.time() - path.stat().st_mtime > YOUNG:
            found.append((path, "a file that was never finished"))
    return [(path, _size(path), reason) for path, reason in found]


def remove(path: Path) -> None:
    """Remove a file, or a folder with all that is in it; a link is removed, not what it leads to."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _stale(path: Path) -> str:
    """Why fitted parameters will not be found again; empty if they may be."""
    try:
        header = checkpoint.load(path).header
    except (checkpoint.CheckpointError, OSError):
        return "damaged parameters"
    if header.get("source") != source_hash():
        return "parameters fitted by other source"
    return "" if header.get("torch") == version("torch") else "parameters fitted with another torch"


def _size(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())
