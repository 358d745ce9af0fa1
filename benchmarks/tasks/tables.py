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
    name = path.name
    if not path.is_file():
        raise ValueError(f"there is no file {str(path)!r}")
    try:
        frame = pd.read_csv(path, skipinitialspace=True)
    except OSError as error:
        raise ValueError(f"{name} cannot be read: {error.strerror}") from None
    except (ValueError, pd.errors.ParserError) as error:  # not UTF-8, empty, or lines of different lengths
        raise ValueError(f"{name} is not a CSV file: {' '.join(str(error).split())}") from None
    columns = [str(column) for column in frame.columns]
    if target is None or target not in columns:
        given = "target is not given" if target is None else f"{name} has no column {target!r}"
        raise ValueError(f"{given}; target must be a column of {name}: {', '.join(columns)}{near(target, columns)}")
    if len(columns) < 2:
        raise ValueError(f"{name} has no column beside {target!r}; at least one feature is needed")
    if len(frame) < 2:
        raise ValueError(f"{name} has too few rows: {len(frame)}")
    for place, column in enumerate(columns):
        _check_column(name, column, frame.iloc[:, place])
    numbers = frame.to_numpy(dtype=np.float64)
    place = columns.index(target)
    features = tuple(column for column in columns if column != target)
    return Table(name, features, target, np.delete(numbers, place, axis=1), numbers[:, place])


def _check_column(name: str, column: str, values: pd.Series) -> None:
    """Raise ValueError unless a column holds finite numbers that differ."""
    missing = int(values.isna().sum())
    if missing:
        raise ValueError(
            f"the column {column!r} of {name} has missing values ({missing}); fill them in or drop the rows"
        )
    if not pd.api.types.is_numeric_dtype(values):
        raise ValueError(f"the column {column!r} of {name} is text ({str(values.iloc[0])[:30]!r}); it must be numbers")
    numbers = values.to_numpy(dtype=np.float64)
    if not np.isfinite(numbers).all():
        raise ValueError(f"the column {column!r} of {name} has infinite values; every value must be a finite number")
    if numbers.min() == numbers.max():
        raise ValueError(f"the column {column!r} of {name} is constant ({numbers[0]:g}); leave it out")
