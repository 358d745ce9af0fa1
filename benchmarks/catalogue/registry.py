"""One registry for everything pluggable: laws, solvers and metrics, named by strings and loaded when used."""

from __future__ import annotations

import difflib
import inspect
import pkgutil
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, TypeVar

from benchmarks.errors import MissingPackage, UserError, one_line

Made = TypeVar("Made")

BUILT_IN = Path(__file__).with_name("built_in.toml")
"""What comes with the project."""


class RegistryError(UserError):
    """A name, or that of a parameter, is unknown, or taken; the message is a sentence for people."""


@dataclass(frozen=True)
class Registration:
    """What a name stands for.

    Attributes:
        name: the string id.
        target: an object, or `"module:attribute"`, imported when first used.
        defaults: keyword arguments that the name implies, overridden by those of the caller.
        summary: one line for `memformer-bench list`.
        origin: where the entry came from: "built in", or the distribution or plug-in file that added it.
    """

    name: str
    target: Any
    defaults: Mapping[str, Any] = field(default_factory=dict)
    summary: str = ""
    origin: str = "built in"

    def load(self) -> Any:
        """The object itself."""
        if isinstance(self.target, EntryPoint):
            return self.target.load()
        if isinstance(self.target, str):
            return pkgutil.resolve_name(self.target)
        return self.target


class Registry:
    """Named entries of one kind; other packages add theirs through the entry-point group.

    Args:
        kind: what the entries are, for messages.
        group: entry-point group.
        built_in: section of `built_in.toml` with what comes with the project; read when the registry is first used.

    Example:
        >>> animals = Registry("animal", group="example.animals")
        >>> animals.add("dict", "builtins:dict", legs=4)
        >>> animals.create("dict", eyes=2)
        {'legs': 4, 'eyes': 2}
        >>> animals.create("dcit")
        Traceback (most recent call last):
        benchmarks.catalogue.registry.RegistryError: unknown animal 'dcit'; did you mean 'dict'?
    """

    def __init__(self, kind: str, group: str, built_in: str = "") -> None:
        self.kind = kind
        self.group = group
        self._built_in = built_in
        self._entries: dict[str, Registration] = {}
        self._discovered = False

    def add(self, name: str, target: Any, summary: str = "", origin: str = "built in", **defaults: Any) -> None:
        """Add an entry.

        Args:
            name: its id, not taken yet.
            target: a class or function, or `"module:attribute"`.
            summary: one line for people.
            origin: who adds it.
            defaults: keyword arguments the name implies.

        Raises:
            RegistryError: if the name is taken.
        """
        self._discover()
        if name in self._entries:
            taken = self._entries[name].origin
            raise RegistryError(f"the {self.kind} {name!r} is already registered ({taken}); choose another name")
        self._entries[name] = Registration(name, target, defaults, summary, origin)

    def register(self, name: str, summary: str = "", origin: str = "plug-in", **defaults: Any) -> Any:
        """Class decorator: add the decorated class under `name`."""

        def decorate(target: Any) -> Any:
            self.add(name, target, summary, origin, **defaults)
            return target

        return decorate

    def __getitem__(self, name: str) -> Registration:
        self._discover()
        if name not in self._entries:
            near = difflib.get_close_matches(str(name), self._entries, n=1, cutoff=0.5)
            listed = f"'memformer-bench list {self.kind}s' shows them all, and --plugin FILE adds those of a plug-in"
            hint = f"did you mean {near[0]!r}?" if near else listed
            raise RegistryError(f"unknown {self.kind} {name!r}; {hint}")
        return self._entries[name]

    def __iter__(self) -> Iterator[str]:
        self._discover()
        return iter(self._entries)

    def __contains__(self, name: object) -> bool:
        self._discover()
        return name in self._entries

    def create(self, name: str, **parameters: Any) -> Any:
        """An instance of the named class (or the result of the named function)."""
        entry = self[name]
        return entry.load()(**{**entry.defaults, **parameters})

    def build(self, kind: type[Made], name: str, parameters: Mapping[str, Any]) -> Made:
        """An instance of `kind` with these parameters, every mistake a sentence.

        Raises:
            UserError: if the name or a parameter is unknown, a value is out of its range, or the entry does not fit.
            MissingPackage: if a package that it needs is not installed.
        """
        entry = self[name]
        try:
            target = entry.load()
        except (Exception, SystemExit) as error:
            raise UserError(
                f"the {self.kind} {name!r} ({entry.origin}) cannot be imported: {one_line(error)}"
            ) from None
        known = inspect.signature(target).parameters
        unknown = next((key for key in parameters if key not in known), None)
        if unknown is not None:
            has = f"it has {', '.join(known)}" if known else "it has none"
            raise RegistryError(f"unknown parameter {unknown!r} of the {self.kind} {name!r}; {has}")
        try:
            built = self.create(name, **parameters)
        except (ValueError, TypeError) as error:
            raise UserError(f"{self.kind} {name!r}: {error}") from None
        except MissingPackage:
            raise
        except (Exception, SystemExit) as error:
            raise UserError(f"the {self.kind} {name!r} ({entry.origin}) cannot be made: {one_line(error)}") from None
        if not isinstance(built, kind):
            raise UserError(f"the {self.kind} {name!r} ({entry.origin}) is not a subclass of {kind.__name__}")
        return built

    def _discover(self) -> None:
        if self._discovered:
            return
        content = tomllib.loads(BUILT_IN.read_text(encoding="utf-8"))
        self._discovered = True
        for name, (target, summary, *implied) in content.get(self._built_in, {}).items():
            self.add(name, target, summary, **(implied[0] if implied else {}))
        for point in entry_points(group=self.group):
            distribution = point.dist.name if point.dist else "unknown distribution"
            self.add(point.name, point, origin=distribution)


LAWS = Registry("law", group="memformer_bench.laws", built_in="laws")
SOLVERS = Registry("solver", group="memformer_bench.solvers", built_in="solvers")
METRICS = Registry("metric", group="memformer_bench.metrics", built_in="metrics")
