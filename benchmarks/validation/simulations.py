"""Simulated experiments with known truth: coverage of intervals, size and power of tests, on samples from a pool."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from benchmarks.statistics import equal_means_test, holm, sign_flip_test, summarise, two_level_interval
from benchmarks.statistics.intervals import Array
from benchmarks.statistics.significance import ALPHA, wilcoxon_log_test
from benchmarks.validation.estimators import METHODS, two_level_percentile

Record = dict[str, Any]

DIFFERENCE_METHODS = ("cautious", "hall", "normal", "percentile")
"""Intervals that make sense for values of either sign."""


def coverage(
    values: Array, tasks: int, seeds: int, count: int, methods: Sequence[str], rng: np.random.Generator
) -> Iterator[Record]:
    """Share of simulated samples whose 95 % interval holds the mean of the pool.

    Args:
        values: `(pool,)`, positive losses or differences.
        tasks: sampled in each simulation, all seeds together.
        seeds: strata of equal size.
        count: simulations.
        methods: names in `METHODS`.
        rng: source of the samples.

    Yields:
        For each method `coverage`, the shares of intervals `above` and `below` the truth, and the median `width` in
        units of the pool's mean (of its standard deviation for differences).
    """
    truth, unit = values.mean(), values.std()
    sample = np.array_split(values[rng.integers(0, len(values), (tasks, count))] / unit, seeds)
    for method in methods:
        low, high = METHODS[method](sample)
        above, below = float(np.mean(low > truth / unit)), float(np.mean(high < truth / unit))
        width = float(np.median(high - low) * unit / (truth if values.min() >= 0 else unit))
        yield {"method": method, "coverage": 1 - above - below, "above": above, "below": below, "width": width}


def exchangeable(a: Array, b: Array, rng: np.random.Generator) -> tuple[Array, Array]:
    """The pair with its members exchanged on a random half of the tasks: an A/A comparison."""
    swap = rng.random(a.shape) < 0.5
    return np.where(swap, b, a), np.where(swap, a, b)


def rejections(
    a: Array, b: Array, tasks: int, count: int, swap: bool, rng: np.random.Generator
) -> Iterator[tuple[str, float]]:
    """Share of simulated paired comparisons that each test rejects at 5 %.

    Args:
        a: losses of one solver on the pool, `(pool,)`.
        b: of the other.
        tasks: sampled in each simulation.
        count: simulations.
        swap: whether to exchange the solvers on a random half of the tasks.
        rng: source of the samples.
    """
    found = {"default": 0, "sign flip": 0, "Wilcoxon": 0}
    for _ in range(count):
        index = rng.integers(0, len(a), tasks)
        pair = exchangeable(a[index], b[index], rng) if swap else (a[index], b[index])
        difference = np.subtract(*pair)
        flips = sign_flip_test(difference)
        found["sign flip"] += flips <= ALPHA
        # The default rejects where the sign flips do and Hall's interval, widened to the plain one, excludes 0.
        found["default"] += flips <= ALPHA and equal_means_test(difference) <= ALPHA
        found["Wilcoxon"] += wilcoxon_log_test(*pair) <= ALPHA
    for name, number in found.items():
        yield name, number / count


def family_errors(losses: Array, tasks: int, count: int, rng: np.random.Generator) -> tuple[float, float]:
    """Share of simulations in which any pair of exchangeable solvers is told apart: with Holm's correction, without.

    Args:
        losses: `(solvers, pool)`; on every sampled task the solvers are shuffled.
        tasks: sampled in each simulation.
        count: simulations.
        rng: source of the samples.
    """
    corrected = plain = 0
    for _ in range(count):
        sample = rng.permuted(losses[:, rng.integers(0, losses.shape[1], tasks)], axis=0)
        pairs = [(i, j) for i in range(len(losses)) for j in range(i)]
        p_values = np.array([equal_means_test(sample[i] - sample[j]) for i, j in pairs])
        corrected += bool((holm(p_values) <= ALPHA).any())
        plain += bool((p_values <= ALPHA).any())
    return corrected / count, plain / count


def two_level_coverage(
    values: Array, tasks: int, seeds: int, spread: float, count: int, rng: np.random.Generator
) -> dict[str, float]:
    """Coverage of the log mean for a learned solver whose seeds differ.

    Args:
        values: pool of losses of one solver, `(pool,)`.
        tasks: sampled for each seed.
        seeds: trained and scored.
        spread: standard deviation of the seeds' log loss, in units of its standard error over tasks.
        count: simulations.
        rng: source of samples and seeds.
    """
    truth = float(np.log(values.mean()))
    sigma = spread * float(values.std() / values.mean()) / tasks**0.5
    covered = {"tasks alone": 0, "two-level bootstrap": 0, "two-level t (default)": 0}
    for _ in range(count):
        effects = np.exp(sigma * rng.standard_normal(seeds))
        strata = [effect * values[rng.integers(0, len(values), tasks)] for effect in effects]
        alone = summarise(strata)
        ends = {
            "tasks alone": (alone.log_low, alone.log_high),
            "two-level bootstrap": two_level_percentile(strata),
            "two-level t (default)": two_level_interval(strata),
        }
        for name, (start, end) in ends.items():
            covered[name] += start <= truth <= end
    return {name: number / count for name, number in covered.items()}
