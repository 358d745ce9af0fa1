"""The paper, redone and judged: what `run paper` and `judge` left, as one page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.errors import UserError
from benchmarks.experiments.experiment import read_toml
from benchmarks.site.archive import archive
from benchmarks.site.markdown import VERDICTS, Words, to_html
from benchmarks.site.numbers import fixed, missing

FRESH = "-on-fresh-tasks"

TABLES = "data/paper.zip"
"""Where the site has the tables of the paper."""


@dataclass(frozen=True)
class PaperFigure:
    """An experiment of the paper: its id and title, its figures (place in the site, what it shows), its numbers."""

    id: str
    title: str
    figures: Sequence[tuple[str, str]]
    tables: Sequence[tuple[str, Sequence[str], Sequence[Sequence[str]]]]


@dataclass(frozen=True)
class PaperPage:
    """The page of the paper.

    Attributes:
        words: VERDICTS.md; `before` what was said earlier, None if nothing is kept of it.
        counts: verdicts and how many claims have them, the best first.
        experiments: in the order of the paper.
        tables: names of the tables in the archive; empty without any.
        files: figures and the archive, by their place in the site.
    """

    words: Words
    before: Words | None
    counts: Sequence[tuple[str, int]]
    experiments: Sequence[PaperFigure]
    tables: Sequence[str]
    files: Mapping[str, Path | bytes]


def paper_page(folder: Path) -> PaperPage | None:
    """What a folder such as results/paper holds; None if it has no verdicts.

    Raises:
        UserError: if a table in it cannot be read.
    """
    if not (folder / "VERDICTS.md").is_file():
        return None
    before = folder / "before_and_after.md"
    places = {"before_and_after.md": "before.html", "VERDICTS.md": "verdicts.html"}
    words = to_html((folder / "VERDICTS.md").read_text(encoding="utf-8"), places.get, "Verdicts")
    figures = {path.stem: path for path in sorted((folder / "figures").glob("*.svg"))}
    tables = {path.name: path for path in sorted(folder.glob("*.csv"))}
    counted = Counter(words.verdicts)
    return PaperPage(
        words=words,
        before=to_html(before.read_text(encoding="utf-8"), places.get, "Before") if before.is_file() else None,
        counts=[(word, counted[word]) for word in VERDICTS if counted[word]],
        experiments=_experiments(figures, tables),
        tables=list(tables),
        files={f"figures/paper/{path.name}": path for path in figures.values()}
        | ({TABLES: archive(tables)} if tables else {}),
    )


def _experiments(figures: Mapping[str, Path], tables: Mapping[str, Path]) -> list[PaperFigure]:
    titles = {
        one["id"]: one["title"] for one in read_toml("benchmarks.experiments.paper", "experiments.toml")["experiment"]
    }
    ids = list(dict.fromkeys([*titles, *(name.removesuffix(FRESH) for name in figures)]))
    numbers = {
        title: _read(tables[name])
        for name, title in {"agreement.csv": "As published, redone", "fresh_tasks.csv": "On fresh tasks"}.items()
        if name in tables
    }
    found = []
    for one in ids:
        title = titles.get(one, one)
        shown = {one: title, one + FRESH: f"{title}, on fresh tasks"}
        drawn = [(f"figures/paper/{figures[name].name}", text) for name, text in shown.items() if name in figures]
        own = [(kind, *_rows(table, one)) for kind, table in numbers.items()]
        own = [part for part in own if part[2]]
        if drawn or own:
            found.append(PaperFigure(one, title, drawn, own))
    return found


def _read(path: Path) -> pd.DataFrame:
    try:
        return pd.read_csv(path)
    except (OSError, ValueError) as error:
        raise UserError(f"{path} is not a table: {' '.join(str(error).split())}") from None


def _rows(table: pd.DataFrame, experiment: str) -> tuple[list[str], list[list[str]]]:
    """The rows of one experiment as text, without the column that names it."""
    if "experiment" not in table:
        return [], []
    mine: Any = table[table["experiment"] == experiment].drop(columns="experiment")
    return [str(name).replace("_", " ") for name in mine], [
        [_text(v) for v in row] for row in mine.itertuples(index=False)
    ]


def _text(value: Any) -> str:
    if missing(value):
        return ""
    return fixed(value, 3) if isinstance(value, float) else str(value)
