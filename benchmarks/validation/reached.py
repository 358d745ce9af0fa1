"""Which files of the project a program reaches: what it imports, and the solvers and laws whose ids it names."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

from benchmarks.errors import UserError
from benchmarks.runs.source import OWN, ROOT, imported

CATALOGUE = ROOT / "benchmarks" / "catalogue" / "built_in.toml"


def reached(roots: Iterable[Path]) -> tuple[set[Path], dict[str, Any]]:
    """What a program depends on.

    Args:
        roots: its own files: Python, and the TOML and templates that it reads.

    Returns:
        Every Python file of the project that the roots, or the classes of the solvers and laws whose ids they name,
        import at whatever distance, wherever in the file; and those ids with their entries in the catalogue.
    """
    roots = set(roots)
    known = {
        name: entry for part in tomllib.loads(CATALOGUE.read_text("utf-8")).values() for name, entry in part.items()
    }
    named = {name: known[name] for name in sorted(_words(roots) & set(known))}
    modules = {entry[0].split(":")[0] for entry in named.values()}
    for root in roots:
        modules |= _imports(root)
    graph = _graph()
    found = {name for module in modules & graph.modules for name in (module, *graph.find_upstream_modules(module))}
    return {_file_of(name) for name in found}, named


def _file_of(module: str) -> Path:
    path = ROOT / module.replace(".", "/")
    return next(file for file in (path.with_suffix(".py"), path / "__init__.py") if file.is_file())


def _words(files: Iterable[Path]) -> set[str]:
    """Everything that stands between quotation marks."""
    return {word for file in files for word in re.findall(r"""["'](\w+)["']""", file.read_text(encoding="utf-8"))}


def _imports(file: Path) -> set[str]:
    """Modules, and names in them that may be modules, that a Python file imports; itself if it belongs to a package."""
    if file.suffix != ".py":
        return set()
    found = {".".join(file.relative_to(ROOT).with_suffix("").parts)} if file.is_relative_to(ROOT) else set()
    return found | set(imported(file.read_bytes(), ""))


@cache
def _graph() -> Any:
    try:
        grimp = import_module("grimp")
    except ModuleNotFoundError:
        raise UserError("grimp is not installed, which tells what imports what: pip install -e '.[dev]'") from None
    return grimp.build_graph(*OWN, exclude_type_checking_imports=True, cache_dir=None)
