"""Rows of tables as dictionaries: of some thousand at a time, since each takes ten times what it does in a table."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Row = dict[Any, Any]

AT_ONCE = 2000
"""Rows that are dictionaries, or models, at a time."""


def rows_of(table: pd.DataFrame) -> Iterator[Row]:
    """Rows as dictionaries: what is empty is None, and `row` is the number in the table."""
    for first in range(0, len(table), AT_ONCE):
        yield from _rows(table, np.arange(first, min(first + AT_ONCE, len(table))))


def grouped(rows: Sequence[Row], names: Sequence[str]) -> dict[tuple[Hashable, ...], list[Row]]:
    """Rows by these columns, in order."""
    groups: dict[tuple[Hashable, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault(tuple(row[name] for name in names), []).append(row)
    return groups


class Cells:
    """Rows of one table, or of several, by what some columns say.

    Args:
        tables: of the same columns.
        names: of the columns.
    """

    def __init__(self, tables: Sequence[pd.DataFrame], names: Sequence[str]) -> None:
        self._tables, self._names = tables, list(names)
        keys = pd.concat([table[self._names] for table in tables], ignore_index=True)
        cell = keys.groupby(self._names, sort=False, dropna=False).ngroup().to_numpy()
        self._count = int(cell.max(initial=-1)) + 1
        parts = np.split(cell, np.cumsum([len(table) for table in tables])[:-1])
        self._orders = [np.argsort(part, kind="stable") for part in parts]
        self._starts = [
            np.searchsorted(part[order], np.arange(self._count + 1))
            for part, order in zip(parts, self._orders, strict=True)
        ]

    def __iter__(self) -> Iterator[tuple[list[Row], ...]]:
        """The rows that each table has of a cell, for all cells in the order in which they begin."""
        before, first = np.sum(self._starts, axis=0), 0
        while first < self._count:
            last = max(first + 1, int(np.searchsorted(before, before[first] + AT_ONCE, "right")) - 1)
            yield from zip(*(self._between(number, first, last) for number in range(len(self._tables))), strict=True)
            first = last

    def of(self, key: tuple[Hashable, ...]) -> list[Row]:
        """The rows of the cell of a single table whose columns say this; empty if there is none."""
        cell = self._numbers.get(key)
        return [] if cell is None else self._between(0, cell, cell + 1)[0]

    @cached_property
    def _numbers(self) -> dict[tuple[Hashable, ...], int]:
        (table,), (order,), (starts,) = self._tables, self._orders, self._starts
        keys = table[self._names].iloc[order[starts[:-1]]].itertuples(index=False, name=None)
        return {key: cell for cell, key in enumerate(keys)}

    def _between(self, number: int, first: int, last: int) -> list[list[Row]]:
        starts = self._starts[number][first : last + 1]
        rows = _rows(self._tables[number], self._orders[number][starts[0] : starts[-1]])
        ends = starts - starts[0]
        return [rows[begin:end] for begin, end in pairwise(ends)]


def _rows(table: pd.DataFrame, numbers: NDArray[np.intp]) -> list[Row]:
    part = table.iloc[numbers]
    columns = [
        [None if empty else value for value, empty in zip(column.tolist(), column.isna().tolist(), strict=True)]
        for _, column in part.items()
    ]
    names = [*table.columns, "row"]
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, numbers.tolist(), strict=True)]
