"""Real data as a law: each task is an episode of rows of one table, and nothing is known of it that rows do not say.

Three data sets come inside packages (`pip install 'memformer-bench[real]'`): `diabetes` (442 rows, 10 features; Efron,
Hastie, Johnstone & Tibshirani, Ann. Stat. 32 (2004) 407) in scikit-learn, `boston_housing` (506, 13; Harrison &
Rubinfeld, J. Environ. Econ. Manag. 5 (1978) 81) and `auto_mpg` (392, 7; Quinlan, ICML 1993) in mlxtend. scikit-learn's
other data sets are for classification, have 20 rows, or are downloaded.

Boston housing is here because papers on regression have used it for decades and because of its collinear, skewed
columns: a solver that does well on Gaussians meets its opposite. It should not be used to learn anything about
housing. Its column B is `1000 (b - 0.63)^2`, b the share of Black residents of a town: it was made on the assumption
that segregation raises prices, it cannot be turned back into b, and prices are capped at 50. scikit-learn removed the
data set in version 1.2 for it. Here it is numbers to solve systems with; leave B out of anything that is about people.
"""

from __future__ import annotations

import dataclasses
import hashlib
from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor

from benchmarks.tasks.gaussian import gaussian_prior
from benchmarks.tasks.law import Draw, Law, Metadata, Purpose
from benchmarks.tasks.randomness import LAW_KEY, make_generator
from benchmarks.tasks.tables import Table, load_table
from memformer.core.checks import store_ints
from memformer.core.problem import Prior


class GaussianModel(NamedTuple):
    """The Gaussian model `y = x^T w + noise` fitted to the training rows: what they say about all tasks.

    Attributes:
        second_moment: mean of `x x^T`, `(columns, columns)`.
        w: least squares, `(columns,)`.
        covariance: of `w`, `noise_var (X^T X)^+`.
        noise_var: squared residuals by degrees of freedom.
    """

    second_moment: np.ndarray
    w: np.ndarray
    covariance: np.ndarray
    noise_var: float


@dataclass(frozen=True, kw_only=True)
class RealData(Law):
    """Each task is N context and `num_queries` query rows of a table, no row twice; with fewer `d` than the table has
    columns, also `d` of its columns, in random order.

    The rows are cut once, at random from `law_seed`, into `folds` parts. A stream of seed s scores rows of part
    s mod `folds` and nothing else; all other streams of that seed draw from the rest, so no solver is ever fitted on a
    row it is scored on. Every column is standardised, the labels too, with mean and standard deviation of the training
    rows: an answer of 0 has a loss near 1. Tasks of one seed share rows and depend on each other; different seeds below
    `folds` score different rows.

    The noise is what the rows have (`noise_std` is added to it, 0 by default). There are no true weights, no noise
    variance of the scored tasks and no floor; what a solver may know of the law is what the training rows say:
    second moment, and with all columns the prior `N(w, s^2 (X^T X)^-1)` that their Gaussian model gives (under which
    the Bayes estimate is least squares on training rows and context together).

    Attributes:
        dataset: `diabetes`, `boston_housing` (whose column B was engineered from the share of Black residents: numbers
            to solve systems with, no source about housing or people), `auto_mpg`, or the path of a CSV file with a
            line of names (see `benchmarks.tasks.csv_file`).
        target: the column of a CSV file that is predicted.
        folds: parts the rows are cut into, at least 2.

    Raises:
        ValueError: if a parameter is out of its range, or the table is no good.
        MissingPackage: if the package with the data set is not installed.

    Example:
        >>> RealData(dataset="prices.csv", target="price")
        Traceback (most recent call last):
        ValueError: there is no file 'prices.csv'
    """

    metadata: ClassVar[Metadata] = Metadata("real", 1, "scikit-learn, mlxtend, or a file")
    synthetic: ClassVar[bool] = False

    dataset: str = "diabetes"
    target: str | None = None
    folds: int = 5
    fold: int = field(default=0, init=False)
    scored: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        store_ints(self, "folds", least=2)
        table, rows = self.table, len(self.table.y)
        if self.d > len(table.features):
            raise ValueError(
                f"d is {self.d}, but {table.name} has {len(table.features)} features; d must be at most that"
            )
        episode, part = self.N + self.num_queries, rows // self.folds
        if part < episode:
            raise ValueError(
                f"{table.name} has too few rows: one of {self.folds} parts of {rows} rows is {part}, "
                f"and it must hold an episode of N + num_queries = {episode} rows"
            )
        training, needed = rows - part - (rows % self.folds > 0), len(table.features) + 2
        if training < needed:
            raise ValueError(
                f"{table.name} has too many columns for its rows: {len(table.features)} features need {needed} "
                f"training rows, and {rows} rows in {self.folds} parts leave {training}; leave columns out"
            )
        for number in range(self.folds):
            training = self._parts(number)[0]
            for name, values in zip((*table.features, table.target), (*table.X.T, table.y), strict=True):
                if np.ptp(values[training]) == 0:
                    raise ValueError(f"the column {name!r} of {table.name} is constant but for few rows; leave it out")

    def under(self, seed: int, purpose: Purpose) -> RealData:
        """The law of one stream: rows of the seed's fold for scoring, all other rows for anything else."""
        found = object.__new__(type(self))
        known = {"table", *(part.name for part in dataclasses.fields(self))}  # the file is not read again
        vars(found).update({name: value for name, value in vars(self).items() if name in known})
        vars(found).update(fold=seed % self.folds, scored=purpose is Purpose.SCORE)
        return found

    @cached_property
    def table(self) -> Table:
        """The data as they are."""
        return load_table(self.dataset, self.target)

    def _parts(self, fold: int) -> tuple[np.ndarray, np.ndarray]:
        """Numbers of the training rows and of the scored rows of a fold."""
        order = make_generator(self.law_seed, LAW_KEY).permutation(len(self.table.y))
        parts = np.array_split(order, self.folds)
        return np.concatenate([part for number, part in enumerate(parts) if number != fold]), parts[fold]

    @cached_property
    def rows(self) -> np.ndarray:
        """Numbers of the rows of the table that tasks are drawn from."""
        return self._parts(self.fold)[int(self.scored)]

    @cached_property
    def standardised(self) -> tuple[np.ndarray, np.ndarray]:
        """All rows of the table, columns and labels, in units of the training rows."""
        training, _ = self._parts(self.fold)
        # By powers of 2, which changes no digit, so that no square overflows.
        X, y = (np.ldexp(part, -np.frexp(np.abs(part).max(0))[1]) for part in (self.table.X, self.table.y))
        return (X - X[training].mean(0)) / X[training].std(0), (y - y[training].mean()) / y[training].std()

    @cached_property
    def fit(self) -> GaussianModel:
        """What the training rows say."""
        training, _ = self._parts(self.fold)
        X, y = (part[training] for part in self.standardised)
        cutoff = max(X.shape) * np.finfo(X.dtype).eps
        inverse = np.linalg.pinv(X, rcond=cutoff)  # of X: rounding in X^T X hides which of its eigenvalues are 0
        w, _, rank, _ = np.linalg.lstsq(X, y, rcond=cutoff)
        noise_var = float(np.sum((y - X @ w) ** 2) / (len(y) - rank))
        return GaussianModel(X.T @ X / len(y), w, noise_var * inverse @ inverse.T, noise_var)

    def draw(self, batch: int, generator: np.random.Generator) -> Draw:
        columns = self.table.X.shape[1]
        features = generator.random((batch, columns)).argsort(1)[:, : self.d] if self.d < columns else None
        episode = self.N + self.num_queries
        keys = np.empty(len(self.rows))
        chosen = np.stack([_smallest(generator.random(out=keys), episode) for _ in range(batch)])
        X, y = (part[self.rows[chosen]] for part in self.standardised)
        if features is not None:
            X = np.take_along_axis(X, features[:, None, :], 2)
        return Draw(X[:, : self.N], X[:, self.N :], None, y=y[:, : self.N], y_query=y[:, self.N :])

    @cached_property
    def second_moment(self) -> Tensor:
        """Of the training rows; averaged over the columns that a task may draw."""
        moment = self.fit.second_moment
        if self.d == len(moment):
            return torch.from_numpy(moment)
        square = (moment.sum() - moment.trace()) / (len(moment) * (len(moment) - 1))
        mean = np.full((self.d, self.d), square)
        np.fill_diagonal(mean, moment.trace() / len(moment))
        return torch.from_numpy(mean)

    @property
    def noise_var(self) -> float:
        """Residual variance of the training rows, and the noise that is added."""
        return self.fit.noise_var + self.noise_std**2

    def prior(self, X: Tensor) -> Prior | None:
        if self.d < len(self.table.features):
            return None  # which columns a task has drawn is not told
        own = gaussian_prior(torch.from_numpy(self.fit.covariance).to(X))
        return dataclasses.replace(own, mean=torch.from_numpy(self.fit.w).to(X)[None])

    @cached_property
    def fingerprint(self) -> str:
        """12 hexadecimal digits that change with the table, the parts it is cut into, and the tasks."""
        digest = hashlib.sha256(super().fingerprint.encode())
        for array in (self.table.X, self.table.y):
            digest.update(array.astype("<f8").tobytes())
        return digest.hexdigest()[:12]


def _smallest(keys: np.ndarray, count: int) -> np.ndarray:
    """Where the `count` smallest of keys uniform on [0, 1) lie, in their order; few keys are sorted, not all."""
    below = np.flatnonzero(keys < (count + 8 * count**0.5) / len(keys))
    if len(below) < count:
        below = np.arange(len(keys))
    return below[keys[below].argsort()[:count]]
