"""The gate's sequential test on recorded pairs of identical code, drawn anew: alarms over runs of the suite, and power.

What is drawn is a pair of processes with the ratios of all its cases, which hang together, read forwards or backwards,
since neither side of identical code is the other's base. The interval of the share of alarms is that of the recorded
pairs: it is found again for other pairs drawn from them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks.regression.gate import sequential
from benchmarks.regression.gate.sequential import SLOWER, UNDECIDED, decided

RUNS = 2000
"""Drawn runs of the whole suite; a fifth as many for each planted slowdown, of `AT_ONCE` cases."""

OTHERS, RUNS_OF_OTHERS = 40, 100
"""Other sets of recorded pairs for the interval, and runs with each."""

PLANTED, AT_ONCE = (1.02, 1.03, 1.05, 1.10), 4

ENOUGH = 5
"""A/A runs of today's suite from which its pairs are taken, instead of those recorded before."""

Array = NDArray[np.float64]


def recorded(table: pd.DataFrame) -> Array:
    """`(pairs, cases)` log ratios of identical code: the first two pairs of every A/A run, which all cases are in."""
    today = table.loc[(table["study"] == "speed") & (table["of_run"].astype(float) == 1)]
    same = today if today["run"].nunique() >= ENOUGH else table.loc[table["study"] == "pairs"]
    wide = [same.pivot(index="run", columns="what", values=f"ratio_{number}") for number in (1, 2)]
    both = pd.concat(wide).dropna(axis=1, how="any")
    return np.log(both.to_numpy(dtype=float))


def reached(table: pd.DataFrame) -> int:
    """Pairs that A/A runs of the whole suite came to before their time was up, in the median."""
    runs = table.loc[(table["study"] == "speed") & (table["of_run"].astype(float) == 1)]
    return int(runs.groupby("run")["pairs"].max().median()) if len(runs) else sequential.MOST


def resampled(table: pd.DataFrame, seed: int = 0, runs: int = RUNS, others: int = OTHERS) -> Iterator[dict[str, Any]]:
    """Rows of `gate.csv`: the whole suite, then one for each planted slowdown.

    A run has time for as many pairs as measured runs of the whole suite came to in theirs; without any, as the rule
    allows.

    Args:
        table: rows with `study`, `what`, `run`, `of_run`, `ratio_1` and `ratio_2`.
        seed: of the draws.
        runs: of the whole suite.
        others: sets of recorded pairs for the interval.
    """
    known, rng = recorded(table), np.random.default_rng(seed)
    most = reached(table)
    about = {"study": "resampled", "recorded": len(known), "cases": known.shape[1], "most": most}
    found = [decided(_drawn(known, rng), timely=most) for _ in range(runs)]
    shares = []
    for _ in range(others):
        other = known[rng.integers(len(known), size=len(known))]
        shares.append(np.mean([_alarmed(decided(_drawn(other, rng), timely=most)[0]) for _ in range(RUNS_OF_OTHERS)]))
    low, high = np.quantile(shares, [0.025, 0.975]) if shares else (float("nan"), float("nan"))
    pairs = np.array([one[1] for one in found])
    yield {
        **about,
        "planted": 1.0,
        "trials": runs,
        "alarm": float(np.mean([_alarmed(one[0]) for one in found])),
        "low": float(low),
        "high": float(high),
        "undecided": float(np.mean([one[0] == UNDECIDED for one in found])),
        "pairs": float(pairs.mean()),
        "rounds": float(pairs.max(axis=1).mean()),
    }
    for planted in PLANTED:
        trials = [_planted(known, rng, most, planted) for _ in range(runs // 5)]
        verdicts, pairs = (np.concatenate(part) for part in zip(*trials, strict=True))
        alarms, undecided = (float((verdicts == kind).mean()) for kind in (SLOWER, UNDECIDED))
        more = {"planted": planted, "trials": len(verdicts), "alarm": alarms, "undecided": undecided}
        yield {**about, **more, "pairs": float(pairs.mean())}


def _alarmed(verdicts: NDArray[np.int_]) -> bool:
    return bool((verdicts == SLOWER).any())


def _drawn(known: Array, rng: np.random.Generator) -> Array:
    """`(MOST, cases)` log ratios of a run."""
    sign = rng.choice([-1.0, 1.0], size=(sequential.MOST, 1))
    return sign * known[rng.integers(len(known), size=sequential.MOST)]


def _planted(
    known: Array, rng: np.random.Generator, most: int, slower: float
) -> tuple[NDArray[np.int_], NDArray[np.int_]]:
    """Verdicts and pairs of some cases that are slower."""
    ratios, cases = _drawn(known, rng), rng.choice(known.shape[1], min(AT_ONCE, known.shape[1]), replace=False)
    ratios[:, cases] += np.log(slower)
    verdicts, pairs = decided(ratios, timely=most)
    return verdicts[cases], pairs[cases]
