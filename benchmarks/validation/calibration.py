"""Are the statistics calibrated? Simulated A/A comparisons from real losses; minutes.

    python -m benchmarks.validation.calibration [--output results/studies] [--quick] [--only exact]

A pool of 400,000 tasks a law gives the truth. Samples of the sizes of suite `core` are drawn from it with replacement,
and the intervals and tests of `benchmarks.statistics` are applied to them as the harness applies them. Intervals of
methods with fixed coefficients are also held against exact risks, on tasks that are all new.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
from typer import Option, run

from benchmarks import api
from benchmarks.harness.scores.measure import measure
from benchmarks.reports.write import Report
from benchmarks.tasks.law import Purpose
from benchmarks.validation.calibration_report import report
from benchmarks.validation.exact_coverage import exact_coverage
from benchmarks.validation.simulations import (
    DIFFERENCE_METHODS,
    Record,
    coverage,
    exchangeable,
    family_errors,
    rejections,
    two_level_coverage,
)

Pool = dict[tuple[str, str, str, int], np.ndarray]
"""Losses by law, solver, metric and number of steps."""

CHUNK = 20_000
"""Tasks of the pool drawn and solved at once."""

STEPS = (1, 2, 3, 4)
LAWS = ("isotropic", "anisotropic")
SOLVERS = ("cg", "heavy_ball", "lfom_optimal", "heavy_ball_tuned")
METRIC = "expected_test_loss"
SIZES = ((500, 1), (4_000, 1), (12_000, 3))
"""Tasks in all, and seeds they come in: one small seed, one seed of core, a row of core that pools its seeds."""

PAIRS = (("cg", "lfom_optimal"), ("heavy_ball", "cg"), ("lfom_optimal", "heavy_ball_tuned"))
INTERVALS = ("hall", "bootstrap_t", "bca", "percentile", "normal")


@dataclass(frozen=True)
class Effort:
    """Size of the study: tasks of the pool and simulations a figure."""

    pool: int = 400_000
    intervals: int = 600
    tests: int = 300
    exact: int = 1_000


def main(
    output: Annotated[Path, Option(help="folder of the results")] = Path("results/studies"),
    quick: Annotated[bool, Option("--quick", help="a minute's trial with few simulations")] = False,
    only: Annotated[str, Option(help="one study; the others stay as calibration.csv has them")] = "",
) -> None:
    """Calibrate intervals and tests on simulated A/A comparisons; write `calibration.csv` and `calibration.md`."""
    effort = Effort(40_000, 60, 20, 20) if quick else Effort()
    start = time.perf_counter()
    pool = {} if only == exact.__name__ else draw_pool(effort.pool)
    print(f"pool drawn, {time.perf_counter() - start:.0f} s", flush=True)
    tables = [pd.read_csv(output / "calibration.csv").query("study != @only")] if only else []
    for study in (marginal, paired, sizes, families, power, levels, exact):
        if only in ("", study.__name__):
            tables.append(pd.DataFrame(study(pool, effort)).assign(study=study.__name__))
            print(f"{study.__name__} done, {time.perf_counter() - start:.0f} s", flush=True)
    table = pd.concat(tables)
    table.insert(0, "study", table.pop("study"))
    (file,) = Report({"calibration": table}).write(output)
    # From the file, so that the words can be made again from it alone.
    Report(texts={"calibration.md": report(pd.read_csv(file), effort.pool)}).write(output)


def draw_pool(tasks: int) -> Pool:
    """Losses `(tasks,)` of every solver on the same fresh tasks of each law (default d and N), in whole chunks."""
    parts: dict[tuple[str, str, str, int], list[np.ndarray]] = {}
    for law_name in LAWS:
        law = api.law(law_name)
        fitted = {name: api.solver(name).fit(law.stream(7, Purpose.TRAIN), STEPS) for name in SOLVERS}
        stream = law.stream(7, Purpose.TRUTH)
        for _ in range(-(-tasks // CHUNK)):
            problem = stream.sample(CHUNK)
            for name, solver in fitted.items():
                for metric, losses in measure(solver, problem, STEPS).losses.items():
                    for steps, row in zip(STEPS, losses, strict=True):
                        parts.setdefault((law_name, name, metric, steps), []).append(row)
    return {key: np.concatenate(arrays) for key, arrays in parts.items()}


def exact(_: Pool, effort: Effort) -> Iterator[Record]:
    """Coverage of the interval of one solver's mean loss against its exact risk, by how tasks are drawn."""
    return exact_coverage(effort.exact)


def marginal(pool: Pool, effort: Effort) -> Iterator[Record]:
    """Coverage of the interval of one solver's mean loss."""
    rng = np.random.default_rng(1)
    for law, metric, solver, steps in product(LAWS, (METRIC, "test_loss"), ("cg", "lfom_optimal"), STEPS):
        values = pool[law, solver, metric, steps]
        methods = INTERVALS if metric == METRIC else ("hall", "percentile", "normal")
        for tasks, seeds in SIZES:
            for record in coverage(values, tasks, seeds, effort.intervals, methods, rng):
                what = {"law": law, "solver": solver, "metric": metric, "steps": steps, "tasks": tasks}
                yield {**what, "simulations": effort.intervals, **record}


def paired(pool: Pool, effort: Effort) -> Iterator[Record]:
    """Coverage of the interval of a paired difference: A/A (exchanged at random) and as the solvers are."""
    rng = np.random.default_rng(2)
    for law, (first, second), steps, kind in product(LAWS, PAIRS, STEPS, ("A/A", "A/B")):
        a, b = _pair(pool, law, first, second, steps)
        if first == "lfom_optimal" and steps == 1:
            continue  # one tuned step of either is the same method
        difference = np.subtract(*exchangeable(a, b, rng)) if kind == "A/A" else a - b
        # An A/A pool is made symmetric exactly: its truth is 0.
        values = np.concatenate([difference, -difference]) if kind == "A/A" else difference
        for tasks, seeds in SIZES:
            for record in coverage(values, tasks, seeds, effort.intervals, DIFFERENCE_METHODS, rng):
                what = {"law": law, "solver": f"{first} - {second}", "metric": METRIC, "steps": steps, "kind": kind}
                yield {**what, "tasks": tasks, "simulations": effort.intervals, **record}


def sizes(pool: Pool, effort: Effort) -> Iterator[Record]:
    """Share of true hypotheses rejected: exchangeable solvers, and different ones scaled to equal mean loss."""
    rng = np.random.default_rng(3)
    for law, (first, second), steps, kind in product(LAWS, PAIRS, (2, 4), ("A/A", "equal means")):
        a, b = _pair(pool, law, first, second, steps)
        for tasks, _ in SIZES:
            count = effort.tests if tasks < SIZES[-1][0] else effort.tests // 3
            for test, share in rejections(a, b, tasks, count, kind == "A/A", rng):
                what = {"law": law, "solver": f"{first} - {second}", "metric": METRIC, "steps": steps, "kind": kind}
                yield {**what, "tasks": tasks, "simulations": count, "method": test, "rejected": share}


def families(pool: Pool, effort: Effort) -> Iterator[Record]:
    """Family-wise error over all pairs of four exchangeable solvers."""
    rng = np.random.default_rng(4)
    for law, steps in product(LAWS, (2, 4)):
        losses = np.stack([pool[law, solver, METRIC, steps] for solver in SOLVERS])
        losses /= losses.mean(axis=1, keepdims=True)
        for method, share in zip(("Holm", "uncorrected"), family_errors(losses, 4_000, effort.tests, rng), strict=True):
            what = {"law": law, "solver": "all pairs of 4", "metric": METRIC, "steps": steps, "tasks": 4_000}
            yield {**what, "simulations": effort.tests, "method": method, "rejected": share}


def power(pool: Pool, effort: Effort) -> Iterator[Record]:
    """Share of true differences of 2 % and 5 % of the mean loss that are found at the size of a row of core."""
    rng = np.random.default_rng(5)
    tasks = SIZES[-1][0]
    for law, (first, second), steps, percent in product(LAWS, PAIRS, (2, 3), (2, 5)):
        a, b = _pair(pool, law, first, second, steps)
        for test, share in rejections(a, b * (1 + percent / 100), tasks, effort.tests // 3, False, rng):
            what = {"law": law, "solver": f"{first} - {second}", "metric": METRIC, "steps": steps, "tasks": tasks}
            correlation = float(np.corrcoef(a, b)[0, 1])
            noise = float((a - b).std() / tasks**0.5)
            extra = {"kind": f"{percent} %", "correlation": correlation, "width": 2 * 1.96 * noise}
            yield {**what, **extra, "simulations": effort.tests // 3, "method": test, "rejected": share}


def levels(pool: Pool, effort: Effort) -> Iterator[Record]:
    """Coverage for a learned solver whose training seeds differ by a multiple of the error over tasks."""
    rng = np.random.default_rng(6)
    values = pool["isotropic", "lfom_optimal", METRIC, 2]
    for seeds, spread in product((3, 5), (0.0, 1.0, 3.0)):
        for method, share in two_level_coverage(values, 1_000, seeds, spread, 2 * effort.tests, rng).items():
            what = {"law": "isotropic", "solver": "lfom_optimal", "metric": METRIC, "steps": 2, "tasks": 1_000 * seeds}
            extra = {"kind": f"{seeds} seeds, spread {spread:g}", "simulations": 2 * effort.tests}
            yield {**what, **extra, "method": method, "coverage": share}


def _pair(pool: Pool, law: str, first: str, second: str, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Losses of two solvers on the pool, each scaled to mean 1, so that the hypothesis of equal means is true."""
    a, b = pool[law, first, METRIC, steps], pool[law, second, METRIC, steps]
    return a / a.mean(), b / b.mean()


if __name__ == "__main__":
    run(main)
