"""Tables, figures and texts that belong together, written into a folder: what experiments and views leave behind."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from benchmarks.errors import UserError
from benchmarks.reports import escape
from benchmarks.reports.style import save

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Report:
    """What was found, ready to be written.

    Attributes:
        tables: rows by name of file, without `.csv`.
        figures: by name of file, without `.svg`; a name may have a folder in it.
        texts: by name of file.
        form: of numbers in tables.
    """

    tables: Mapping[str, Sequence[Mapping[str, Any]] | pd.DataFrame] = field(default_factory=dict)
    figures: Mapping[str, Figure] = field(default_factory=dict)
    texts: Mapping[str, str] = field(default_factory=dict)
    form: str = "%.4g"

    def write(self, folder: Path, png: bool = False) -> list[Path]:
        """Write everything, figures as SVG, and as PNG if wanted; the same report gives the same files.

        Raises:
            UserError: if the folder cannot be written.
        """
        contents = {f"{name}.csv": csv_text(pd.DataFrame(rows), self.form) for name, rows in self.tables.items()}
        written = []
        make_folder(folder)
        with writing(folder):
            for name, text in {**contents, **self.texts}.items():
                written.append(folder / name)
                written[-1].write_text(text, encoding="utf-8")
            for name, drawn in self.figures.items():
                written += save(drawn, folder / name, png)
        return written


def csv_text(table: pd.DataFrame, form: str) -> str:
    """A table as CSV, for people and their spreadsheets: see `benchmarks.reports.escape.csv`."""
    texts = table.select_dtypes(exclude=["number", "bool"])
    escaped = {name: pd.Series(map(escape.csv, texts[name]), table.index, object) for name in texts}
    return table.assign(**escaped).to_csv(index=False, float_format=form, lineterminator="\n")


def make_folder(folder: Path) -> Path:
    """The folder, made if it is not there.

    Raises:
        UserError: if it cannot be made.
    """
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextmanager
def writing(path: Path, what: str = "the report") -> Iterator[None]:
    """The body writes to a file or folder; UserError says that it cannot."""
    try:
        yield
    except OSError as error:
        raise UserError(f"{what} cannot be written to {path}: {error.strerror}") from None
