"""Which cases a change cannot touch: all the source that they run is the same in both trees.

Tasks, training and losses hang on nothing but that source, their seeds and what is installed, which both sides share.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from benchmarks.regression.gate.cases import LossCase, SpeedCase
from benchmarks.runs.source import OWN, imported

CATALOGUE = "benchmarks/catalogue/built_in.toml"
"""Where a tree says what defines a solver or law; every other file counts as a whole."""

DOOR = "benchmarks.api"

Case = TypeVar("Case", SpeedCase, LossCase)


def touched(base: Path, head: Path, cases: Sequence[Case]) -> list[Case]:
    """The cases that run anything which differs between two trees, or whose source cannot be told from the catalogue.

    Args:
        base: a tree of this project.
        head: another.
        cases: in any order, which they keep.
    """
    trees = [_Tree(folder) for folder in (base, head)]
    return [case for case in cases if _differs(*(tree.source(case.solver, case.law) for tree in trees))]


def _differs(base: Mapping[str, Any] | None, head: Mapping[str, Any] | None) -> bool:
    return base is None or base != head


def _toml(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except ValueError:  # whoever fills the registry says what is wrong with it
        return {}


class _Tree:
    """What is defined in a tree, and where."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        file = folder / CATALOGUE
        self.catalogue = _toml(file) if file.is_file() else {}
        self.content = cache(self._content)
        self.imports = cache(self._imports)
        self.reached = cache(self._reached)

    def source(self, solver: str, law: str) -> dict[str, Any] | None:
        """Everything that a solver on a law runs: entries of the catalogue, and the content of each file by its module.

        Args:
            solver: its id, or nothing where tasks are only drawn.
            law: its id.

        Returns:
            None if that cannot be told: the tree does not have them, or not as it has them today.
        """
        named = {"laws": law, **({"solvers": solver} if solver else {})}
        if any(name not in self.catalogue.get(kind, {}) for kind, name in named.items()):
            return None
        entries = [self.catalogue[kind][name] for kind, name in named.items()]
        entries += self.catalogue.get("metrics", {}).values()
        roots = [DOOR, *(entry[0].partition(":")[0] for entry in entries)]
        try:
            modules = frozenset().union(*map(self.reached, roots))
        except (SyntaxError, ValueError):  # what imports it will say so
            return None
        return {"entries": entries, **{module: self.content(module) for module in modules}} if DOOR in modules else None

    def _reached(self, root: str) -> frozenset[str]:
        """A module and all that it imports, at whatever distance."""
        found: set[str] = set()
        todo = [root]
        while todo:
            module = todo.pop()
            if module not in found and self.content(module) is not None:
                found.add(module)
                todo += self.imports(module)
        return frozenset(found)

    def _path(self, module: str) -> Path | None:
        path = self.folder / module.replace(".", "/")
        return next((file for file in (path.with_suffix(".py"), path / "__init__.py") if file.is_file()), None)

    def _content(self, module: str) -> bytes | None:
        """Of its file; None for what is no module of the tree."""
        path = self._path(module) if module.partition(".")[0] in OWN else None
        return None if path is None else path.read_bytes()

    def _imports(self, module: str) -> set[str]:
        """The packages a module lies in, and what it imports anywhere in its file: modules, and names in them."""
        path = self._path(module)
        assert path is not None
        package = module if path.name == "__init__.py" else module.rpartition(".")[0]
        found = set(imported(path.read_bytes(), package))
        return {name.rsplit(".", above)[0] for name in {module, *found} for above in range(name.count(".") + 1)}
