"""Per-task values of one row, and the sums that its statistics ask for: each is taken once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class SampleMoments:
    """First three moments of n values; arrays `(...)` if many samples are treated at once.

    Attributes:
        count: n.
        mean: of the values.
        variance: of the values, with n - 1.
        third: third central moment.
    """

    count: int
    mean: Any
    variance: Any
    third: Any

    @cached_property
    def standard_error(self) -> Any:
        """Of the mean."""
        return np.sqrt(self.variance / self.count)

    @cached_property
    def skewness(self) -> Any:
        """Of the sample mean: `skew / √n`. Edgeworth corrections are its powers; near 1 they mean nothing."""
        spread = np.where(self.variance > 0, self.variance, 1.0)
        return np.where(self.variance > 0, self.third / spread**1.5 / self.count**0.5, 0.0)


class Sample(tuple[Array, ...]):
    """One array `(tasks,)` of values for each seed, as every statistic takes them, with the sums taken of them so far.

    The row of all seeds shares them with those of each seed (`joined`), a gap with other gaps to the same floor. The
    arrays must not be written to afterwards.

    Example:
        >>> sample = Sample([np.array([1.0, 2.0]), np.array([3.0])])
        >>> sample.mean, [part.mean for part in sample.parts]
        (2.0, [1.5, 3.0])
    """

    @classmethod
    def of(cls, strata: Iterable[Array]) -> Sample:
        """These strata; as they are, with their sums, where they are a sample already."""
        return strata if isinstance(strata, cls) else cls(strata)

    @classmethod
    def joined(cls, parts: Sequence[Sample]) -> Sample:
        """The strata of samples of one stratum each."""
        if len(parts) == 1:
            return parts[0]
        whole = cls(part[0] for part in parts)
        whole.parts = tuple(parts)
        return whole

    @cached_property
    def parts(self) -> tuple[Sample, ...]:
        """A sample of each stratum."""
        return (self,) if len(self) == 1 else tuple(Sample([values]) for values in self)

    @cached_property
    def finite(self) -> bool:
        """Whether all values are."""
        return bool(np.isfinite(self[0]).all()) if len(self) == 1 else all(part.finite for part in self.parts)

    @cached_property
    def mean(self) -> float:
        """Of all values."""
        if len(self) == 1:
            return float(self.total / len(self[0]))
        return float(np.concatenate(self).mean())

    @cached_property
    def total(self) -> Any:
        """Of one stratum: the sum of its values."""
        return np.add.reduce(self[0])

    @cached_property
    def powers(self) -> list[tuple[Any, Any, Any]]:
        """Of each stratum: the sum of its values, and of the squares and cubes of what they lie above its mean."""
        if len(self) > 1:
            return [part.powers[0] for part in self.parts]
        return [(self.total, *_squares_and_cubes(self.centred))]

    @cached_property
    def moments(self) -> SampleMoments:
        """As `moments` has them."""
        return _pooled([len(values) for values in self], self.powers)

    @cached_property
    def deviations(self) -> Array:
        """What each value lies above the mean of its stratum, in units of the mean of all."""
        if len(self) == 1:
            return self.centred / self.mean
        whole = np.concatenate([part.centred for part in self.parts])
        whole /= self.mean
        return whole

    @cached_property
    def centred(self) -> Array:
        """Of one stratum: what each value lies above its mean."""
        return self[0] - self.mean

    def less(self, other: Sample) -> Sample:
        """What it lies above another sample of the same tasks; the last such difference is kept."""
        if len(self) > 1:
            return Sample.joined([mine.less(theirs) for mine, theirs in zip(self.parts, other.parts, strict=True)])
        if self._last is None or self._last[0] is not other:
            self._last = other, Sample([self[0] - other[0]])
        return self._last[1]

    _last: tuple[Sample, Sample] | None = None


def moments(strata: Sequence[Array]) -> SampleMoments:
    """Moments of values `(tasks, ...)` pooled over strata, each about the mean of its own stratum.

    Example:
        >>> moments([np.array([1.0, 2.0, 3.0])]).variance.item()
        1.0
    """
    if isinstance(strata, Sample):
        return strata.moments
    totals = [np.add.reduce(values, axis=0) for values in strata]
    centred = (values - total / len(values) for values, total in zip(strata, totals, strict=True))
    powers = [(total, *_squares_and_cubes(values)) for total, values in zip(totals, centred, strict=True)]
    return _pooled([len(values) for values in strata], powers)


def _squares_and_cubes(centred: Array) -> tuple[Any, Any]:
    """Sums over tasks of the squares and cubes of values `(tasks, ...)`."""
    powers = centred * centred
    squares = np.add.reduce(powers, axis=0)
    powers *= centred
    return squares, np.add.reduce(powers, axis=0)


def _pooled(counts: Sequence[int], powers: Sequence[tuple[Any, Any, Any]]) -> SampleMoments:
    count = sum(counts)
    several = len(counts) > 1
    total, squares, cubes = (np.sum(parts, axis=0) for parts in zip(*powers, strict=True)) if several else powers[0]
    return SampleMoments(count, total / count, squares / max(count - len(counts), 1), cubes / count)
