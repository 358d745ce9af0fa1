"""How often does the gate cry wolf, and what does it find? Slow; run it on the machine the gate is to run on.

    python -m benchmarks.validation.gate [--runs 4] [--passes 3] [--seeds 200] [--append]

Speed: this checkout against the files of its own HEAD, which must hold the same code. A/A runs go through the whole
suite of cases; for power, head's side of some cases is slowed by idle turns and every case is one trial. Losses: see
`benchmarks.validation.gate_losses`. Every trial is a row of `gate.csv`; `gate.md` is made from it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
from typer import Option, run

from benchmarks.errors import UserError
from benchmarks.regression.gate.cases import speed_cases
from benchmarks.regression.gate.paired_processes import a_cpu
from benchmarks.regression.gate.speed import SpeedResult, compare_speed
from benchmarks.regression.gate.trees import checkout_root, resolve, tree_of
from benchmarks.reports.write import Report
from benchmarks.validation.gate_losses import loss_trials
from benchmarks.validation.gate_report import report

SLOWED_CASES = (
    *(f"solve {name}" for name in ("gradient_descent", "steepest_descent", "heavy_ball", "nesterov", "chebyshev")),
    *(f"solve {name}" for name in ("cg", "pcg", "newton_schulz", "ols", "scipy_lsqr", "memformer_first_order")),
    "draw anisotropic",
)
"""Cases that are slowed; cheap to prepare, of every kind."""

Row = dict[str, Any]


def main(
    output: Annotated[Path, Option(help="folder of the results")] = Path("results/studies"),
    runs: Annotated[int, Option(help="A/A runs of the whole suite")] = 4,
    passes: Annotated[int, Option(help="passes over the slowed cases, at 10 % and at 3 %")] = 3,
    seeds: Annotated[int, Option(help="trials of each loss comparison")] = 200,
    append: Annotated[bool, Option("--append", help="add to the trials of gate.csv")] = False,
    report_only: Annotated[bool, Option("--report", help="only make gate.md anew from gate.csv")] = False,
) -> None:
    """The gate's false alarms and power, every trial kept as it comes."""
    file = output / "gate.csv"
    if not report_only:
        rows: list[Row] = pd.read_csv(file).to_dict("records") if append and file.is_file() else []
        done = 1 + max((int(row["run"]) for row in rows if row["study"] == "speed"), default=-1)
        for row in trials(runs, passes, seeds, done):
            rows.append(row)
            Report({"gate": rows}, form="%.5g").write(output)
    if not file.is_file():
        raise UserError(f"there is no {file}; run the study first")
    Report(texts={"gate.md": report(pd.read_csv(file))}).write(output)


def trials(runs: int, passes: int, seeds: int, done: int = 0) -> Iterator[Row]:
    """Every trial: the loss comparisons, then power and A/A in turn; runs are numbered from `done` on."""
    if seeds:
        yield from loss_trials(seeds)
    head = checkout_root(Path.cwd())
    with tree_of(head, resolve(head, "HEAD")) as base:
        for number in range(max(passes, runs)):
            if number < passes:
                yield from speed_trials(base, head, done + number, 1.10, SLOWED_CASES)
                yield from speed_trials(base, head, done + number, 1.03, SLOWED_CASES)
            if number < runs:
                yield from speed_trials(base, head, done + number, 1.0, ())


def speed_trials(base: Path, head: Path, run: int, slowed: float, names: tuple[str, ...]) -> Iterator[Row]:
    """One run of the gate's speed half: a row a case."""
    cases = [case for case in speed_cases() if not names or case.name in names]
    start, load = time.perf_counter(), os.getloadavg()[0]
    results = compare_speed(base, head, cases, a_cpu(), slowed=dict.fromkeys(names, slowed))
    seconds = time.perf_counter() - start
    print(f"slowed {slowed:g}, run {run}: {seconds:.0f} s, {[r.case.name for r in results if r.second]}", flush=True)
    for result in results:
        yield {"study": "speed", "run": run, "what": result.case.name, "planted": slowed, **_numbers(result)} | {
            "alarm": int(result.status == "slower"),
            "load": load,
            "seconds": seconds,
        }


def _numbers(result: SpeedResult) -> Row:
    second = result.second or [float("nan")]
    found = {f"first_{index}": ratio for index, ratio in enumerate(result.first, 1)}
    return {**found, "second_median": float(np.median(second)), "second_least": float(np.min(second))}


if __name__ == "__main__":
    run(main)
