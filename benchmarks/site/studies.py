"""Pages of Markdown under results/, with the figures and tables beside them."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.reports.escape import plain
from benchmarks.site.archive import archive
from benchmarks.site.markdown import Words, to_html
from benchmarks.site.numbers import slug

NO_STUDY = ("runs", "paper", "parameters", "asv", "perf")
"""Folders of results with pages of another kind, or with none."""

FIGURES = (".svg", ".png")


@dataclass(frozen=True)
class Study:
    """A page that a command wrote.

    Attributes:
        slug: of its file, in the folder `studies` of the site.
        words: what it says.
        figures: beside it that it does not show itself: file in the site's folder `figures`, and a name.
        tables: names of the tables beside it, which are in the archive; empty without any.
        archive: its place in the site.
        made: the command that writes it, and how long it takes; empty where nobody noted it.
        files: figures and the archive, by their place in the site.
    """

    slug: str
    words: Words
    figures: Sequence[tuple[str, str]]
    tables: Sequence[str]
    archive: str
    made: str
    files: Mapping[str, Path | bytes]


def studies(results: Path) -> list[Study]:
    """Every study in a folder of results, by its title; what `--quick` left is none."""
    found = [
        page
        for page in results.glob("*/*.md")
        if page.parent.name not in NO_STUDY and not page.parent.name.endswith("-quick")
    ]
    places = {page.resolve(): f"{slug(f'{page.parent.name} {page.stem}')}.html" for page in sorted(found)}
    made = _made(results)
    read = [_study(page, places, made.get(page.relative_to(results).as_posix(), "")) for page in sorted(found)]
    return sorted(read, key=lambda study: study.words.title.lower())


def own_files(page: Path, kinds: Sequence[str]) -> list[Path]:
    """Files beside a page that belong to it: all where it is alone, else those whose name begins with its name."""
    alone = len(list(page.parent.glob("*.md"))) == 1
    beside = sorted(path for path in page.parent.iterdir() if path.suffix in kinds and path.is_file())
    return [path for path in beside if alone or path.stem == page.stem or path.stem.startswith(f"{page.stem}-")]


def shown_name(path: Path) -> str:
    """A file's name as the name of what it shows."""
    return path.stem.replace("_", " ").replace("-", " ")


def _study(page: Path, places: Mapping[Path, str], made: str) -> Study:
    folder = slug(page.parent.name)
    figures = {path: f"figures/{folder}/{path.name}" for path in own_files(page, FIGURES)}
    tables = {path.name: path for path in own_files(page, (".csv",))}
    place = f"data/studies/{places[page.resolve()].removesuffix('.html')}.zip"
    known = {path.resolve(): f"../{figure}" for path, figure in figures.items()} | dict(places)
    shown: set[str] = set()

    def find(name: str) -> str | None:
        found = known.get(Path(os.path.normpath(page.resolve().parent / name)))
        shown.update([found] if found else [])
        return found

    words = to_html(page.read_text(encoding="utf-8"), find, shown_name(page))
    return Study(
        slug=places[page.resolve()].removesuffix(".html"),
        words=words,
        figures=[(figure, shown_name(path)) for path, figure in figures.items() if f"../{figure}" not in shown],
        tables=list(tables),
        archive=place,
        made=made,
        files={figure: path for path, figure in figures.items()} | ({place: archive(tables)} if tables else {}),
    )


def _made(results: Path) -> dict[str, str]:
    """How each file was made, where `provenance.json` says it."""
    try:
        noted: Any = json.loads((results / "provenance.json").read_text(encoding="utf-8"))
        return {
            name: f"{plain(one['command'])}, {one['seconds']:,} s" if one.get("seconds") else plain(one["command"])
            for name, one in noted.items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}
