"""The board of entries as a page, with the boards of earlier versions and releases to download."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.entries.board import BOARD, RULE, Board, read_board
from benchmarks.entries.report import shown_loss, shown_rank, tables
from benchmarks.reports.board import GROUPS
from benchmarks.site.archive import archive

ARCHIVE = "data/entries.zip"
"""Place in the site of all boards and their schema."""


@dataclass(frozen=True)
class EntriesPage:
    """The page of a board: what its template shows, and the boards of all versions and releases, with their schema."""

    board: Board
    files: Mapping[str, Path]

    @property
    def archived(self) -> bytes:
        """The files, as `ARCHIVE` holds them: JSON that says its rules in every row is long."""
        return archive(self.files)

    @property
    def facts(self) -> dict[str, Any]:
        """What the template shows."""
        mine = [one for one in self.board.entries if one.kind == "entry"]
        return {
            "board": self.board,
            "rule": RULE.format(base="BASE", index="0, 1, ..."),
            "tables": tables(self.board),
            "told": GROUPS,
            "entries": mine,
            "flagged": [one for one in mine if one.flags],
            "alarmed": [(one, row) for one in mine for row in one.rows if row.alarm],
            "boards": ARCHIVE,
            "of_boards": list(self.files),
            "shown_loss": shown_loss,
            "shown_rank": shown_rank,
        }


def entries_page(folder: Path) -> EntriesPage | None:
    """What a folder such as results/entries holds; None if it has no board.

    Raises:
        UserError: if its board is none.
    """
    board = read_board(folder / BOARD)
    if board is None:
        return None
    return EntriesPage(board, {path.name: path for path in sorted(folder.glob("*.json"))})
