"""Hashes of source: what changes with every line that could change a number."""

from __future__ import annotations

import ast
import hashlib
import inspect
import sys
import sysconfig
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from importlib.metadata import packages_distributions, version
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

OWN = ("memformer", "baselines", "benchmarks")
"""The packages of this project."""

FITTING = ("memformer", "baselines", "benchmarks/tasks")
"""The source that fitted parameters depend on."""

ENTRIES = ROOT / "baselines" / "entries"
"""Methods of strangers, on which no other number depends."""

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


TOLD: dict[str, str] = {}
"""Of modules that this process cannot import, as a worker cannot import plug-in files: what `plugin_source` gave
elsewhere."""


def foreign_source(modules: Iterable[str]) -> str | None:
    """What plug-ins add to the source that a number depends on: a hash of theirs, by `plugin_source`.

    Args:
        modules: where a law, a solver, their bases and the metrics are defined; this project's add nothing.

    Returns:
        The hash, empty if nothing is foreign; None if the source of something cannot be found.
    """
    sources = plugin_sources(modules)
    if not sources or None in sources.values():
        return None if sources else ""
    return hashlib.sha256(repr(sorted(sources.items())).encode()).hexdigest()[:12]


def plugin_sources(modules: Iterable[str]) -> dict[str, str | None]:
    """`plugin_source` of each module that is not of this project."""
    foreign = {m for m in modules if m.partition(".")[0] not in (*OWN, "builtins", "abc", "typing")}
    return {name: TOLD.get(name) or plugin_source(name) for name in sorted(foreign)}


def plugin_source(module: str) -> str | None:
    """Hash of a loaded plug-in: of an installed one its package and version, else its file and what that imports.

    Imports count where they are statements, and files outside of installed packages; what else this process has loaded
    does not. What a plug-in reads from data files is not seen. None if there is no source file.
    """
    if _file(module) is None:
        return None
    files: dict[str, Path] = {}
    todo = [module]
    while todo:
        name = todo.pop()
        path = _file(name)
        if path is None or name in files or (name != module and (name.partition(".")[0] in OWN or _installed(path))):
            continue
        files[name] = path
        if not _installed(path):
            todo += imported(path.read_bytes(), getattr(sys.modules[name], "__package__", None) or "")
    package = _file(module.partition(".")[0])
    if package is not None and package.name == "__init__.py":
        files |= {f"{module}/{file.relative_to(package.parent).as_posix()}": file for file in _files(package.parent)}
    names = _distributions().get(module.partition(".")[0], [])
    return _hash(sorted(files.items())) + "".join(f", {name} {version(name)}" for name in sorted(set(names)))


@cache
def _distributions() -> Mapping[str, list[str]]:
    return packages_distributions()


def imported(content: bytes, package: str) -> Iterator[str]:
    """Names of modules, or of what may be one, in the import statements of a file, wherever they stand in it.

    Args:
        content: of the file.
        package: that it lies in, from which relative imports count.
    """
    for node in ast.walk(ast.parse(content)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.rsplit(".", node.level - 1)[0] if node.level else ""
            name = ".".join(filter(None, (above, node.module)))
            yield from (name, *(f"{name}.{alias.name}" for alias in node.names))


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
    return [path] if path.is_file() else sorted(one for one in path.rglob("*.py") if ENTRIES not in one.parents)


def _hash(files: Iterable[tuple[str, Path]]) -> str:
    digest = hashlib.sha256()
    for name, file in files:
        content = file.read_bytes()
        digest.update(f"{name}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()[:12]
