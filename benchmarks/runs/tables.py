"""Tables as files: read, held to the schema and written some thousand rows at a time."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import count, islice
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import pandas as pd
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from benchmarks.errors import UserError
from benchmarks.runs.cells import AT_ONCE
from benchmarks.runs.schema import SCHEMA_VERSION, ScoreRow

TEXT = pd.StringDtype("python", na_value=np.nan)
"""Of columns of words: rows are read one by one, which strings held by Arrow are slow at."""


FORM = "%.8g"
"""Of numbers in tables."""


def read_table(path: Path) -> Iterator[pd.DataFrame]:
    """A table as text, missing cells as nan, some thousand rows at a time."""
    try:
        with pd.read_csv(path, dtype=TEXT, keep_default_na=False, na_values=[""], chunksize=AT_ONCE) as parts:
            yield from parts
    except FileNotFoundError:
        raise UserError(f"{path.parent} is not complete: it has no {path.name}") from None
    except (OSError, ValueError, pd.errors.ParserError) as error:
        raise UserError(f"{path} is not a table: {' '.join(str(error).split())}") from None


def checked(parts: Iterable[pd.DataFrame], path: Path, model: type[BaseModel]) -> pd.DataFrame:
    """A table of which every row fits the model.

    Raises:
        UserError: naming the first that does not.
    """
    try:
        return table_of(_fitting(parts, path, model), model)
    except (OverflowError, TypeError, ValueError) as error:
        raise UserError(f"{path} holds a number that is too large: {' '.join(str(error).split())}") from None


def _fitting(parts: Iterable[pd.DataFrame], path: Path, model: type[BaseModel]) -> Iterator[BaseModel]:
    wanted, numbers = list(model.model_fields), count(2)
    for table in parts:
        if list(table.columns) != wanted:
            odd = repr(", ".join(sorted(set(table.columns) ^ set(wanted)) or ["their order"]))
            raise UserError(f"{path} does not have the columns of schema version {SCHEMA_VERSION}: see {odd:.200}")
        for row, number in zip(table.to_dict("records"), numbers, strict=False):
            try:
                fitting = model.model_validate(row)
            except ValidationError as error:
                problem = error.errors()[0]
                where = f"{path}, line {number}, column {'.'.join(map(str, problem['loc']))}"
                raise UserError(f"{where}: {problem['msg']} (found {str(problem['input'])[:40]!r})") from None
            wrong = _ill_formed(fitting)
            if wrong:
                raise UserError(f"{path}, line {number}, {wrong}")
            yield fitting


def _ill_formed(row: BaseModel) -> str:
    """What a row says that its model cannot refuse, and that no reader could use; empty if nothing."""
    for name in ("law_params", "solver_params"):
        try:
            given = json.loads(getattr(row, name))
        except (ValueError, RecursionError):
            given = None
        if not isinstance(given, dict):
            return f"column {name}: it must be a JSON object (found {getattr(row, name)[:40]!r})"
    if isinstance(row, ScoreRow) and row.seed is not None and not 0 <= row.seed < 2**63:
        return f"column seed: {str(row.seed)[:20]!r} is no seed, which is at least 0 and below 2^63"
    return ""


def table_of(rows: Iterable[BaseModel], model: type[BaseModel]) -> pd.DataFrame:
    """Rows as a table, of which some thousand are held as models at a time."""
    left = iter(rows)
    parts = [_table([], model)]
    while some := list(islice(left, AT_ONCE)):
        parts.append(_table(some, model))
    return pd.concat(parts, ignore_index=True)


def _table(rows: Sequence[BaseModel], model: type[BaseModel]) -> pd.DataFrame:
    return pd.DataFrame({name: _column(rows, name, field) for name, field in model.model_fields.items()})


def _column(rows: Sequence[BaseModel], name: str, field: FieldInfo) -> pd.Series:
    """A column of a table, in the type that the schema says: a large seed is no float on its way."""
    types: dict[Any, Any] = {int: "int64", float: "float64", bool: "bool", float | None: "float64", int | None: "Int64"}
    types[bool | None] = "boolean"
    kind, values = types.get(field.annotation, TEXT), [getattr(row, name) for row in rows]
    known: dict[Any, Any] = {}  # words that are the same are held once
    return pd.Series([known.setdefault(value, value) for value in values] if kind is TEXT else values, dtype=kind)


def as_written(number: float) -> float:
    """A number with the digits that tables are written with: it is the same before it is written and after.

    Example:
        >>> as_written(2**0.5)
        1.4142136
    """
    return float(FORM % number)


def write_table(table: pd.DataFrame, path: Path) -> None:
    """A table as a file that is on the disk when this returns."""
    with durable(path) as file:
        table.to_csv(file, index=False, float_format=FORM, lineterminator="\n")


@contextmanager
def durable(path: Path) -> Iterator[TextIO]:
    """A file to write, which is on the disk when this ends."""
    with open(path, "w", encoding="utf-8", newline="\n") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())
