"""What nobody needs any more: unfinished runs that nobody writes, fitted parameters that nobody would find again."""

from __future__ import annotations

import json
import os
import re
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.runs.source import source_hash
from benchmarks.runs.unfinished import abandoned_runs, remove_unfinished
from memformer.core import checkpoint

YOUNG = 24 * 3600
"""Seconds for which a file that a process is writing is left alone."""

MOST_HEADER = 10**8
"""Bytes that the header of a safetensors file may have."""


TEMPORARY = re.compile(r"\..+\.safetensors\.[0-9a-f]{32}")
"""Name that a file of parameters has while it is written (see `memformer.core.checkpoint.save`)."""


def left_over(results: Path) -> list[tuple[Path, int, str]]:
    """Path, size in bytes and reason of everything that can go.

    Complete runs are never among it, nor is a file that does not say in its header that this project wrote it.
    """
    found = [(path, "an unfinished run") for path in abandoned_runs(results / "runs")]
    for path in sorted((results / "parameters").glob("*")):
        if path.is_file() and not path.is_symlink() and (reason := _stale(path)):
            found.append((path, reason))
    return [(path, _size(path), reason) for path, reason in found]


def remove(path: Path) -> bool:
    """Remove what `left_over` found; whether it is gone."""
    if path.is_dir() and not path.is_symlink():
        return remove_unfinished(path)
    try:
        path.unlink(missing_ok=True)
    except OSError:
        return False
    return True


def _stale(path: Path) -> str:
    """Why a file among the parameters can go; empty if it may be needed, or is not ours."""
    if TEMPORARY.fullmatch(path.name):
        found = _stat(path)
        old = found is not None and time.time() - found.st_mtime > YOUNG
        return "a file that was never finished" if old else ""
    header = _header(path) if path.suffix == ".safetensors" else {}
    if header.get("format") != checkpoint.FORMAT:
        return ""
    if header.get("source") != source_hash():
        return "parameters fitted by other source"
    return "" if header.get("torch") == version("torch") else "parameters fitted with another torch"


def _header(path: Path) -> dict[str, Any]:
    """What a safetensors file says of itself, whether or not the rest of it is whole; empty if it says nothing.

    Source: the format's description, https://huggingface.co/docs/safetensors (8 bytes of length, then JSON).
    """
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(min(length, MOST_HEADER)))
        metadata = header["__metadata__"]
    except (OSError, ValueError, RecursionError, KeyError, TypeError):
        return {}
    return metadata if isinstance(metadata, dict) else {}


def _size(path: Path) -> int:
    """Bytes of what is still there: another process may be removing it."""
    files = [Path(folder, name) for folder, _, names in os.walk(path) for name in names] if path.is_dir() else [path]
    return sum(found.st_size for file in files if (found := _stat(file)) is not None)


def _stat(path: Path) -> os.stat_result | None:
    try:
        return path.lstat()
    except OSError:
        return None
