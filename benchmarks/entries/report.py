"""What a pull request with an entry is told: the contract, then where the entry would stand, in Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.entries.board import Board, Entry, Row
from benchmarks.reports.template import render
from benchmarks.runs.standing import ROUNDING


def report(name: str, kept: Sequence[tuple[str, str]], board: Board | None, refused: str = "") -> str:
    """The page.

    Args:
        name: of the entry.
        kept: each check of the contract, and why it is not kept to, empty if it is.
        board: a board with the entry, None if it was not scored.
        refused: why it was not even checked, empty if it was.
    """
    entry = board.entry(name) if board is not None else None
    return render(
        "benchmarks.entries",
        "report.md.jinja",
        title=name,
        kept=kept,
        refused=refused,
        broken=[(check, why) for check, why in kept if why],
        board=board,
        entry=entry,
        laws=_laws(board, entry) if board is not None and entry is not None else [],
    )


def shown_loss(row: Row | None) -> str:
    """A log loss with its interval; `exact` below rounding, the status where there is none.

    Example:
        >>> shown_loss(None)
        ''
    """
    if row is None:
        return ""
    if row.log_loss is None:
        return row.status
    if row.log_loss < ROUNDING["float64"]:
        return "exact"
    ends = "" if row.low is None or row.high is None else f" [{row.low:.2f}, {row.high:.2f}]"
    return f"{row.log_loss:.2f}{'~' * bool(row.tail_limited)}{ends}"


def shown_rank(row: Row | None) -> str:
    """The ranks that it shares.

    Example:
        >>> shown_rank(None)
        ''
    """
    if row is None or row.rank is None:
        return ""
    return str(row.rank) if row.rank == row.last else f"{row.rank} to {row.last}"


def tables(board: Board) -> list[tuple[str, list[int], list[tuple[str, list[tuple[Entry, list[Row | None]]]]]]]:
    """For each law its title, the numbers of steps, and for each group everyone's rows at these, the best first."""
    found = []
    rows = [(one, row) for one in board.entries for row in one.rows]
    for title in dict.fromkeys(row.law_title for _, row in rows):
        mine = [(one, row) for one, row in rows if row.law_title == title]
        steps = sorted({row.steps for _, row in mine})
        groups = []
        for group in dict.fromkeys(row.group for _, row in mine):
            lines = {
                one.name: (one, [_at(one, title, step) for step in steps]) for one, row in mine if row.group == group
            }
            groups.append((group, sorted(lines.values(), key=lambda line: _place(line[1][-1]))))
        found.append((title, steps, groups))
    return found


def _at(entry: Entry, title: str, steps: int) -> Row | None:
    return next((row for row in entry.rows if (row.law_title, row.steps) == (title, steps)), None)


def _place(row: Row | None) -> float:
    return float("inf") if row is None or row.log_loss is None else row.log_loss


def _laws(board: Board, entry: Entry) -> list[tuple[str, str, list[str], list[list[str]]]]:
    """For each law its title, where the entry stands in a sentence, and its table: the entry's group, step by step."""
    found = []
    for title, steps, groups in tables(board):
        for group, lines in groups:
            mine = next((rows for one, rows in lines if one.name == entry.name and one.kind == "entry"), None)
            if mine is None:
                continue
            head = [f"told {group}" if group != "direct" else "direct", "rank", *(f"k = {step}" for step in steps)]
            body = [
                [f"**{one.name}**" if one is entry else one.name, shown_rank(rows[-1]), *map(shown_loss, rows)]
                for one, rows in lines
            ]
            found.append((title, _standing(mine[-1], len(lines)), head, body))
    return found


def _standing(row: Row | None, of: int) -> str:
    if row is None or row.rank is None:
        return f"no rank: {row.reason or row.status}" if row is not None else "no rank"
    among = f"rank {shown_rank(row)} of {of} that are told as much, after {row.steps} steps"
    return among + (f"; tied with {', '.join(row.tied)}" if row.tied else "")
