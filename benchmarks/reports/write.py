"""Tables, figures and texts that belong together, written into a folder: what experiments and views leave behind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from benchmarks.errors import UserError
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
        contents = {
            f"{name}.csv": pd.DataFrame(rows).to_csv(index=False, float_format=self.form, lineterminator="\n")
            for name, rows in self.tables.items()
        }
        written = []
        make_folder(folder)
        try:
            for name, text in {**contents, **self.texts}.items():
                written.append(folder / name)
                written[-1].write_text(text, encoding="utf-8")
            for name, drawn in self.figures.items():
                written += save(drawn, folder / name, png)
        except OSError as error:
            raise _cannot_write(folder, error) from None
        return written


def make_folder(folder: Path) -> Path:
    """The folder, made if it is not there.

    Raises:
        UserError: if it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _cannot_write(folder, error) from None
    return folder


def _cannot_write(folder: Path, error: OSError) -> UserError:
    return UserError(f"the report cannot be written to {folder}: {error.strerror}")
