"""Tables of real data: those that come inside packages, and a CSV file of the user's; read, named and checked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.errors import MissingPackage
from benchmarks.tasks.csv_file import listed, read_frame, shown
from memformer.core.checks import near


@dataclass(frozen=True)
class Table:
    """Rows of real data, as they are.

    Attributes:
        name: of the data set, or of the file.
        features: names of the columns of `X`.
        target: name of `y`.
        X: `(n, columns)`, float64, finite, no column constant.
        y: `(n,)`, float64, finite, not constant.
    """

    name: str
    features: tuple[str, ...]
    target: str
    X: np.ndarray
    y: np.ndarray


def _diabetes() -> Table:
    from sklearn.datasets import load_diabetes

    data: Any = load_diabetes(scaled=False)
    return Table("diabetes", tuple(data["feature_names"]), "progression", data["data"], data["target"])


def _boston_housing() -> Table:
    from mlxtend.data import boston_housing_data

    X, y = boston_housing_data()
    names = ("CRIM", "ZN", "INDUS", "CHAS", "NOX", "RM", "AGE", "DIS", "RAD", "TAX", "PTRATIO", "B", "LSTAT")
    return Table("boston_housing", names, "MEDV", X, y)


def _auto_mpg() -> Table:
    from mlxtend.data import autompg_data

    X, y = autompg_data()
    names = ("cylinders", "displacement", "horsepower", "weight", "acceleration", "year", "origin")
    return Table("auto_mpg", names, "mpg", X[:, : len(names)], y)  # the eighth column, the car's name, holds no number


DATA_SETS: dict[str, Callable[[], Table]] = {
    "diabetes": _diabetes,
    "boston_housing": _boston_housing,
    "auto_mpg": _auto_mpg,
}
"""The data sets that come inside packages; nothing is downloaded."""


def load_table(dataset: str, target: str | None) -> Table:
    """The data set of that name, or the CSV file at that path.

    Args:
        dataset: one of `DATA_SETS`, or a path that ends in `.csv`.
        target: the column of a CSV file that is predicted; every other column is a feature.

    Raises:
        ValueError: if there is no such data set, or its table is no good: the first thing that is wrong.
        MissingPackage: if the package that holds the data set is not installed.
    """
    if not isinstance(dataset, str) or not (dataset in DATA_SETS or dataset.lower().endswith(".csv")):
        known = f"{', '.join(map(repr, DATA_SETS))} or the path of a .csv file"
        raise ValueError(f"dataset is {dataset!r}; it must be {known}{near(dataset, list(DATA_SETS))}")
    if dataset in DATA_SETS:
        if target is not None:
            raise ValueError(f"target is {target!r}, but {dataset} has its own; only a .csv file is given one")
        return _built_in(dataset)
    return read_csv(Path(dataset), target)


@lru_cache
def _built_in(dataset: str) -> Table:
    try:
        table = DATA_SETS[dataset]()
    except ImportError:
        raise MissingPackage(
            f"the data set {dataset!r} is part of another package; install it with: pip install 'memformer-bench[real]'"
        ) from None
    return Table(table.name, table.features, table.target, table.X.astype(np.float64), table.y.astype(np.float64))


def read_csv(path: Path, target: str | None) -> Table:
    """A CSV file with a line of names, every column of it numbers.

    Raises:
        ValueError: if it cannot be read, or a column is missing, incomplete, text or constant; names the file.
    """
    name, frame = path.name, read_frame(path)
    columns = list(frame.columns)
    if len(columns) < 2:
        raise ValueError(
            f"{name} has too few columns ({listed(columns) or 'none'}); a feature and a target are needed, separated "
            "by commas, semicolons, tabs, '|' or spaces"
        )
    if target is None or target not in columns:
        given = "target is not given" if target is None else f"{name} has no column {shown(target)}"
        raise ValueError(f"{given}; target must be a column of {name}: {listed(columns)}{near(target, columns)}")
    if len(frame) < 2:
        raise ValueError(f"{name} has too few rows: {len(frame)}")
    for column in columns:
        _check_column(name, column, frame[column])
    y = frame.pop(target)
    return Table(name, tuple(frame.columns), target, frame.to_numpy(dtype=np.float64), y.to_numpy(dtype=np.float64))


def _check_column(name: str, column: str, values: Any) -> None:
    """Raise ValueError unless a column, a series indexed by lines, holds finite numbers that differ."""
    where = f"the column {shown(column)} of {name}"
    words, missing = values.dropna(), values.index[values.isna()]
    text = words[pd.isna(pd.to_numeric(words, errors="coerce"))]
    if len(text):
        raise ValueError(
            f"{where} is text ({shown(text.iloc[0])} in line {text.index[0]}); make numbers of it (pandas.get_dummies "
            "makes columns of 0 and 1), or leave it out"
        )
    if len(missing):
        raise ValueError(
            f"{where} has missing values ({len(missing)}, the first in line {missing[0]}); fill them in or drop the "
            "rows"
        )
    numbers = values.to_numpy(dtype=np.float64)
    if not np.isfinite(numbers).all():
        line = values.index[~np.isfinite(numbers)][0]
        raise ValueError(f"{where} has infinite values (line {line}); every value must be a finite number")
    if numbers.min() == numbers.max():
        raise ValueError(f"{where} is constant ({numbers[0]:g}); leave it out")
