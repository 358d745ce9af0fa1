"""An entry's folder looked at before anything of it is scored."""

from __future__ import annotations

import hashlib
import json
import re

from benchmarks.entries.box import BoxError
from benchmarks.entries.boxed import Boxed
from benchmarks.entries.build import Place
from benchmarks.entries.contract import broken
from benchmarks.entries.metadata import Metadata, read_metadata
from benchmarks.errors import UserError

NAME = re.compile(r"[a-z][a-z0-9_]{1,39}")
"""Of an entry."""


def examine(place: Place, name: str) -> tuple[list[tuple[str, str]], str]:
    """The checks of the contract, each with why it is not kept to; and why the entry is refused before any is made.

    Args:
        place: of the entries.
        name: of the entry.

    Raises:
        UserError: if there is no such entry, or no box.
    """
    if not NAME.fullmatch(name) or not place.file(name).is_file():
        raise UserError(f"there is no entry {name!r}; {place.entries} has {', '.join(place.names()) or 'none'}")
    try:
        about = read_metadata(place.file(name))
    except UserError as error:
        return [], str(error)
    why = _odd(place, name, about)
    if why:
        return [], why
    try:
        solver = Boxed(str(place.file(name)), isolated=place.isolated)
    except BoxError as error:
        return [], f"{name}.py cannot be loaded: {error}"
    return list(broken(solver)), ""


def _odd(place: Place, name: str, about: Metadata) -> str:
    """What in a folder is not as `memformer-bench enter` leaves it; empty if nothing."""
    if about.name != name:
        return f"the folder {name} holds an entry named {about.name}; they must be the same"
    folder = place.entries / name
    allowed = {f"{name}.py", "entry.json"}
    odd = sorted(path.name for path in folder.iterdir() if path.name not in allowed and path.name != "__pycache__")
    if odd:
        return f"the folder {name} holds {odd[0]!r}; it may hold {' and '.join(sorted(allowed))}"
    again = f"'memformer-bench enter baselines/entries/{name}/{name}.py' writes it"
    try:
        told = json.loads((folder / "entry.json").read_text(encoding="utf-8"))
        same = told["sha256"] == hashlib.sha256(place.file(name).read_bytes()).hexdigest()
    except FileNotFoundError:
        return f"the folder {name} has no entry.json; {again}"
    except (OSError, ValueError, KeyError, TypeError):
        return f"the entry.json of {name} is damaged; {again}"
    return "" if same else f"the entry.json of {name} is of another file; {again}"
