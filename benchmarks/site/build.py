"""The site: every page of it, and how it comes into a folder."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from benchmarks.errors import UserError
from benchmarks.reports.board import GROUPS
from benchmarks.reports.devices import devices
from benchmarks.reports.style import COLOURS, LEARNED, NEEDS
from benchmarks.reports.summary import best, failures, places
from benchmarks.reports.template import render
from benchmarks.reports.write import csv_text, writing
from benchmarks.runs.ranking import rank
from benchmarks.runs.read import Run
from benchmarks.site import entries
from benchmarks.site.archive import archive
from benchmarks.site.figures import shrunk
from benchmarks.site.laws import LawPage, law_pages
from benchmarks.site.markdown import to_html
from benchmarks.site.numbers import minus, slug
from benchmarks.site.paper import TABLES, PaperPage, paper_page
from benchmarks.site.runs import run_pages
from benchmarks.site.studies import studies

ROOM = "benchmarks.site"

ASSETS = ("site.js", "sortable.min.js", "sortable.LICENSE.txt")

MARK = ".memformer-bench-site"
"""File that says of a folder that it is a site, which the next one may replace."""

BEST = 5
"""So many solvers of each group are in the table of all laws."""

KINDS = {**COLOURS, "learned": LEARNED, "floor": "#777777"}
"""The colour of each kind of curve."""

Content = str | bytes | Path


def site(runs: Sequence[Run], results: Path) -> dict[str, Content]:
    """Every file of the site by its place in it; the same runs and results give the same files.

    Args:
        runs: that are shown, ranked together.
        results: folder with studies and the paper's verdicts; what is not there has no page.

    Raises:
        UserError: if the runs cannot be ranked together, or a table of the paper's cannot be read.
    """
    ranked = rank(runs)
    laws, paper, found, about = law_pages(ranked), paper_page(results / "paper"), studies(results), run_pages(runs)
    entered = entries.entries_page(results / "entries")
    menu = [("index.html", "Overview"), *[("verdicts.html", "Verdicts")] * (paper is not None)]
    menu += [
        *[("entries.html", "Entries")] * (entered is not None),
        *[("studies.html", "Studies")] * bool(found),
        ("runs.html", "Runs and downloads"),
        ("reading.html", "How to read this"),
    ]
    shared = {
        "menu": menu,
        "laws": laws,
        "kinds": _kinds(laws),
        "names": ", ".join(run.name for run in runs),
        "slug": slug,
        "archive": TABLES,
    }

    def page(template: str, here: str, title: str, **facts: Any) -> str:
        given = {**shared, "here": here, "title": title, "root": "../" * here.count("/"), "minus": minus, **facts}
        return render(ROOM, f"templates/{template}.html.jinja", **given)

    files: dict[str, Content] = {MARK: "", "assets/site.css": _style()}
    files |= {f"assets/{name}": _read(name) for name in ASSETS}
    said = {"devices": devices(runs), "failures": failures(ranked), "table": list(_overview(laws)), "paper": paper}
    files["index.html"] = page("index", "index.html", "Overview", **said, alarms=sum(ranked["alarm"] != ""))
    for law in laws:
        files[f"laws/{law.slug}.html"] = page("law", f"laws/{law.slug}.html", law.title, law=law)
        files[f"data/laws/{law.slug}.zip"] = archive({f"{law.slug}.csv": csv_text(law.table, "%.6g")})
    files |= _paper(page, paper)
    if entered is not None:
        files["entries.html"] = page("entries", "entries.html", "Entries", **entered.facts)
        files[entries.ARCHIVE] = entered.archived
    if found:
        files["studies.html"] = page("studies", "studies.html", "Studies", studies=found)
    for study in found:
        here = f"studies/{study.slug}.html"
        files[here] = page("study", here, study.words.title, study=study)
        files |= study.files
    files["runs.html"] = page("runs", "runs.html", "Runs and downloads", runs=about, paper=paper, studies=found)
    files |= {run.archive: run.content for run in about}
    reading = to_html(_read("reading.md").decode(), lambda _: None, "How to read this")
    files["reading.html"] = page("words", "reading.html", reading.title, words=reading)
    return files


def write_site(files: Mapping[str, Content], folder: Path) -> None:
    """Bring a site into a folder, all of it or nothing, in place of the one that is there.

    Raises:
        UserError: if the folder holds something else, or cannot be written.
    """
    if not folder.name:
        raise UserError(f"{str(folder)!r} cannot be swapped for a site as a whole; name a folder in it")
    if folder.exists() and not (folder / MARK).is_file() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder} is there and no site of memformer-bench; name another folder, or empty it")
    fresh, old = (folder.with_name(f".{folder.name}.{what}-{os.getpid()}") for what in ("new", "old"))
    with writing(folder, "the site"):
        try:
            for place, content in files.items():
                path = fresh / place
                path.parent.mkdir(parents=True, exist_ok=True)
                if isinstance(content, Path) and content.suffix == ".svg":
                    path.write_text(shrunk(content), encoding="utf-8")
                elif isinstance(content, Path):
                    shutil.copyfile(content, path)
                else:
                    path.write_bytes(content.encode() if isinstance(content, str) else content)
            if folder.exists():
                folder.rename(old)
            try:
                fresh.rename(folder)
            except OSError:
                old.rename(folder)
                raise
        finally:
            for left in (fresh, old):
                shutil.rmtree(left, ignore_errors=True)


def _paper(page: Any, paper: PaperPage | None) -> dict[str, Content]:
    if paper is None:
        return {}
    files: dict[str, Content] = {
        "verdicts.html": page("verdicts", "verdicts.html", "Verdicts", paper=paper),
        **paper.files,
    }
    if paper.before is not None:
        files["before.html"] = page("words", "before.html", paper.before.title, words=paper.before)
    return files


def _kinds(laws: Sequence[LawPage]) -> list[tuple[str, str]]:
    """Kinds of curves that there are, and what they are called."""
    there = {drawn.curve.kind for law in laws for plot in law.plots for drawn in plot.curves}
    return [(kind, {**NEEDS, "learned": "learned", "floor": "floor"}[kind]) for kind in KINDS if kind in there]


def _overview(laws: Sequence[LawPage]) -> Iterator[tuple[str, list[tuple[str, str, list[str]]]]]:
    """Of each group its title, and its best solvers over all laws: name, kind, and the cell of each law."""
    boards = [law.board for law in laws]
    known = places(boards)
    for need, names in best(known, BEST):
        kinds = ["learned" if known.loc[name, "learned"] else need for name in names]
        cells = [[minus(board.cell(name)) for board in boards] for name in names]
        yield GROUPS[need], list(zip(names, kinds, cells, strict=True))


def _read(name: str) -> bytes:
    return resources.files(ROOM).joinpath("assets", name).read_bytes()


def _style() -> str:
    """The style sheet, with the colours that figures have."""
    return render(ROOM, "assets/site.css.jinja", kinds={slug(kind): colour for kind, colour in KINDS.items()})
