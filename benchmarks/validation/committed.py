"""What is committed under results/: made anew by one command, and known to be old when its source has changed.

    python -m benchmarks.validation.committed [--only memory] [--stale]

`committed.toml` lists what there is. `results/provenance.json` keeps, for every file, the command that made it, the
seconds that took, and two hashes: of the file, and of the source its numbers hang on. A file is stale once that source
is another; comments, docstrings and layout are no part of it.
"""

from __future__ import annotations

import ast
import hashlib
import json
import shlex
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import cache
from importlib import resources
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any

from typer import BadParameter, Exit, Option, run

from benchmarks.errors import UserError
from benchmarks.runs.source import ROOT, SCORING
from benchmarks.validation.reached import CATALOGUE, reached

RESULTS = ROOT / "results"
PROVENANCE = "provenance.json"
GENERATED = (PROVENANCE, "runs/core-reference/losses.npz", "paper/figures/*.png")
"""Patterns of files under results/ that no product makes, or that are not committed."""

ROWS = "rows"
"""Among a product's sources: everything that a row of a table hangs on."""

RUN = "benchmarks/harness/run.py"
"""From where that is reached."""


@dataclass(frozen=True)
class Product:
    """Some committed files that belong together.

    Attributes:
        name: of the product.
        commands: that make it, one after another.
        writes: patterns of its files, relative to results/.
        sources: its own files, and folders of Python, TOML and templates; and the project's rooms whose source its
            numbers hang on, of which those files count that its own files reach (see `reached`).
    """

    name: str
    commands: tuple[str, ...]
    writes: tuple[str, ...]
    sources: tuple[str, ...]

    def files(self, results: Path = RESULTS) -> list[Path]:
        """Its files that are there, figures in folders of their own included."""
        found = {path for pattern in self.writes for path in results.glob(pattern)}
        found |= {inner for path in found if path.is_dir() for inner in path.rglob("*")}
        return sorted(path for path in found if path.is_file() and not _is_generated(_name(path, results)))

    @property
    def source(self) -> str:
        """12 hexadecimal digits that change with its source."""
        own = [file for name in self.sources if name not in (*SCORING, ROWS) for file in _sources(ROOT / name)]
        parts = [part for name in self.sources for part in (SCORING if name == ROWS else (name,))]
        rooms = {file for part in parts if part in SCORING for file in _sources(ROOT / part)} - {CATALOGUE}
        files, named = reached([*own, ROOT / RUN] if ROWS in self.sources else own)
        return source_digest([*own, *(rooms & files)], named)


def products() -> list[Product]:
    """Everything that `committed.toml` lists, in its order."""
    content = tomllib.loads(resources.files("benchmarks.validation").joinpath("committed.toml").read_text("utf-8"))
    return [
        Product(name, *(tuple(entry[key]) for key in ("commands", "writes", "sources")))
        for name, entry in content.items()
    ]


def source_digest(files: Iterable[Path], named: Mapping[str, Any] = MappingProxyType({})) -> str:
    """A hash of what files do: of the syntax trees of Python, without docstrings, and of data and templates.

    Args:
        files: in any order.
        named: entries of the catalogue.
    """
    digest = hashlib.sha256(json.dumps(dict(named)).encode())
    for file in sorted(set(files)):
        digest.update(_tree_digest(file))
    return digest.hexdigest()[:12]


@cache
def _tree_digest(file: Path) -> bytes:
    if file.suffix != ".py":
        return hashlib.sha256(file.read_bytes()).digest()
    tree = ast.parse(file.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            node.body = [part for part in node.body if not _is_text(part)]
    return hashlib.sha256(ast.dump(tree).encode()).digest()


def _is_text(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _sources(path: Path) -> list[Path]:
    return [path] if path.is_file() else [file for kind in ("py", "toml", "jinja") for file in path.rglob(f"*.{kind}")]


def _is_generated(name: str) -> bool:
    return any(fnmatch(name, pattern) for pattern in GENERATED)


def _name(path: Path, results: Path) -> str:
    return path.relative_to(results).as_posix()


def read_provenance(results: Path = RESULTS) -> dict[str, dict[str, Any]]:
    """What is kept of each file, by its name under results/; empty if nothing is."""
    try:
        return json.loads((results / PROVENANCE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}


def stale(product: Product, results: Path = RESULTS) -> str:
    """Why a product is not what its command would make today, in a sentence; empty if it is."""
    kept, files, source = read_provenance(results), product.files(results), product.source
    if not files:
        return "its files are not there"
    for file in files:
        known = kept.get(_name(file, results))
        if known is None or known["file"] != _file_digest(file):
            return f"{_name(file, results)} was made by a command whose source nobody kept"
        if known["source"] != source:
            return f"{_name(file, results)} was made by other source ({known['source']}, now {source})"
    return ""


def edited(product: Product, results: Path = RESULTS) -> list[str]:
    """Its files that are not what this same source made: somebody wrote into them."""
    kept, source = read_provenance(results), product.source
    known = [(file, kept[name]) for file in product.files(results) if (name := _name(file, results)) in kept]
    return [
        _name(file, results) for file, made in known if made["source"] == source and made["file"] != _file_digest(file)
    ]


def make(product: Product, results: Path = RESULTS) -> float:
    """Run a product's commands and keep what made its files.

    Returns:
        Seconds that took.

    Raises:
        UserError: if a command fails; a run with rows that failed (exit status 1) is written all the same.
    """
    _ = product.source  # what cannot be told is told before hours of work
    start = time.perf_counter()
    for command in product.commands:
        print(f"$ {command}", flush=True)
        status = subprocess.run(_words(command), cwd=ROOT, check=False).returncode
        if status > command.startswith("memformer-bench run"):
            raise UserError(f"{command!r} ended with exit status {status}")
    seconds = time.perf_counter() - start
    keep(product, seconds, results)
    return seconds


def keep(product: Product, seconds: float, results: Path = RESULTS) -> None:
    """Keep that a product's files were made by this source, in so many seconds."""
    files = product.files(results)
    entry = {"command": " && ".join(product.commands), "source": product.source, "seconds": round(seconds)}
    mine = {_name(file, results): {**entry, "file": _file_digest(file)} for file in files}
    others = {name: known for name, known in read_provenance(results).items() if (results / name).is_file()}
    text = json.dumps(dict(sorted({**others, **mine}.items())), indent=1) + "\n"
    (results / PROVENANCE).write_text(text, encoding="utf-8")


def _file_digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()[:12]


def _words(command: str) -> list[str]:
    """The command with the interpreter that runs this, whatever is on the path."""
    program, *rest = shlex.split(command)
    known = {"python": [sys.executable], "memformer-bench": [sys.executable, "-m", "benchmarks.cli.main"]}
    beside = Path(sys.executable).with_name(program)
    return [*known.get(program, [str(beside) if beside.exists() else program]), *rest]


def main(
    only: Annotated[list[str], Option(metavar="NAME", help="only this product; repeatable")] = [],  # noqa: B006
    say_stale: Annotated[bool, Option("--stale", help="make nothing; say what is stale")] = False,
) -> None:
    """Make everything anew that is committed under results/, or say what is stale."""
    known = {product.name: product for product in products()}
    unknown = next((name for name in only if name not in known), None)
    if unknown is not None:
        raise BadParameter(f"there is no product {unknown!r}; there are {', '.join(known)}")
    chosen = [known[name] for name in only or known]
    total = 0.0
    try:
        for product in chosen:
            if say_stale:
                print(f"{product.name:<14} {stale(product) or 'made by this source'}")
                continue
            total += (seconds := make(product))
            print(f"{product.name}: {seconds:.0f} s", flush=True)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        raise Exit(2) from None
    if not say_stale:
        print(f"results/ made anew in {total / 60:.0f} min")


if __name__ == "__main__":
    run(main)
