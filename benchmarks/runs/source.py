"""Hashes of source: what changes with every line that could change a number."""

from __future__ import annotations

import hashlib
import inspect
import sys
import sysconfig
from collections.abc import Iterable
from functools import cache
from importlib.metadata import packages_distributions, version
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

OWN = ("memformer", "baselines", "benchmarks")
"""The packages of this project."""

FITTING = ("memformer", "baselines", "benchmarks/tasks")
"""The source that fitted parameters depend on."""

SCORING = (
    *FITTING,
    "benchmarks/harness",
    "benchmarks/statistics",
    "benchmarks/catalogue/built_in.toml",
    "benchmarks/catalogue/metrics.py",
    "benchmarks/catalogue/registry.py",
    "benchmarks/runs/schema.py",
)
"""The source that a row of a table depends on."""


@cache
def source_hash(parts: tuple[str, ...] = FITTING) -> str:
    """12 hexadecimal digits of the project's own source in these files and folders."""
    files = [file for part in parts for file in _files(ROOT / part)]
    return _hash((file.relative_to(ROOT).as_posix(), file) for file in files)


def foreign_source(modules: Iterable[str]) -> str | None:
    """What plug-ins add to the source that a number depends on: a hash of theirs.

    A plug-in may call anything that it has imported, so the hash covers every loaded file outside of installed
    packages, and for an installed plug-in its whole package and its version. What a plug-in reads from data files
    is not seen.

    Args:
        modules: where a law, a solver, their bases and the metrics are defined; this project's add nothing.

    Returns:
        The hash, empty if nothing is foreign; None if the source of something cannot be found.
    """
    foreign = sorted({m for m in modules if m.partition(".")[0] not in (*OWN, "builtins", "abc", "typing")})
    if not foreign:
        return ""
    files: dict[str, Path] = {}
    for name in foreign:
        path = _file(name)
        if path is None:
            return None
        package = _file(name.partition(".")[0])
        whole = _files(package.parent) if package is not None and package.name == "__init__.py" else [path]
        files |= {f"{name}/{file.relative_to(path.anchor).as_posix()}": file for file in whole}
    for name in list(sys.modules):
        path = None if name.partition(".")[0] in OWN else _file(name)
        if path is not None and path.suffix == ".py" and not _installed(path):
            files[name] = path
    distributions = packages_distributions()
    versions = [f"{d} {version(d)}" for name in foreign for d in distributions.get(name.partition(".")[0], [])]
    return _hash(sorted(files.items())) + "".join(f", {text}" for text in sorted(set(versions)))


def _file(module: str) -> Path | None:
    """The file a loaded module came from, if it is there."""
    try:
        name = inspect.getsourcefile(sys.modules[module])
    except (KeyError, TypeError):
        return None
    path = Path(name).absolute() if name else None
    return path if path is not None and path.is_file() else None


def _installed(path: Path) -> bool:
    return any(path.is_relative_to(folder) for folder in {*sysconfig.get_paths().values(), sys.prefix})


def _files(path: Path) -> list[Path]:
    return [path] if path.is_file() else sorted(path.rglob("*.py"))


def _hash(files: Iterable[tuple[str, Path]]) -> str:
    digest = hashlib.sha256()
    for name, file in files:
        content = file.read_bytes()
        digest.update(f"{name}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()[:12]
