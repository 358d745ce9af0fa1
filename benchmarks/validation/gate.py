"""How often does the gate cry wolf, and what does it find? Slow; run it on the machine the gate is to run on.

    python -m benchmarks.validation.gate [--aa-runs 30] [--planted-runs 30] [--seeds 200]

Speed: this checkout against the files of its own HEAD, which must hold the same code. An A/A run goes through the whole
suite of cases, as long as a check would let it; in a planted run head's side of one case in eight, about as many as a
change of a solver's file touches, is slowed by idle turns. Losses: see `benchmarks.validation.gate_losses`. Every
trial is a row of `gate.csv`, written when its run ends: a study that is interrupted goes on where it stopped, and one
that has all its trials only makes `gate.md` anew. Runs by another rule or on another machine are left behind.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import torch
from typer import Option, run

from benchmarks.errors import UserError
from benchmarks.regression.gate.cases import SpeedCase, speed_cases
from benchmarks.regression.gate.paired_processes import lanes
from benchmarks.regression.gate.sequential import MOST, PINNED
from benchmarks.regression.gate.speed import SpeedResult, compare_speed, rule_text
from benchmarks.regression.gate.trees import checkout_root, resolve, tree_of
from benchmarks.reports.write import Report
from benchmarks.runs.environment import machine
from benchmarks.runs.git import git
from benchmarks.validation.gate_losses import loss_trials
from benchmarks.validation.gate_report import report
from benchmarks.validation.gate_resampled import resampled

CHEAP = (
    *(f"solve {name}" for name in ("gradient_descent", "steepest_descent", "heavy_ball", "nesterov", "chebyshev")),
    *(f"solve {name}" for name in ("cg", "cgls", "pcg", "newton_schulz", "ols", "ridge", "bayes", "scipy_lsqr")),
    *(f"solve {name}" for name in ("scipy_cg", "memformer_first_order", "memformer_conjugate")),
    *(f"draw {law}" for law in ("isotropic", "anisotropic", "sphere", "gamma")),
)
"""Cases that planted runs slow in turn: of every kind, and cheap to prepare."""

ROOMS = ("memformer", "baselines", "benchmarks")
"""What both sides run."""

TOGETHER = 8
"""Cases of a planted run, of which the first is slowed."""

PLANTED = 1.03

SECONDS = 160.0
"""That a check of four minutes leaves to speed."""

BY = ("rule", "machine", "lanes")
"""Columns of a run that say what was measured: the rule's hash, and where."""

Row = dict[str, Any]


def main(
    output: Annotated[Path, Option(help="folder of the results")] = Path("results/studies"),
    aa_runs: Annotated[int, Option(help="A/A runs of the whole suite there are to be")] = 30,
    planted_runs: Annotated[int, Option(help="runs with one case in eight 3 % slower there are to be")] = 30,
    seeds: Annotated[int, Option(help="trials of each loss comparison, if there are none")] = 200,
) -> None:
    """The gate's false alarms and power, every trial kept as it comes."""
    file = output / "gate.csv"
    rows: list[Row] = kept(pd.read_csv(file).to_dict("records")) if file.is_file() else []
    for found in trials(rows, aa_runs, planted_runs, seeds):
        rows += found
        Report({"gate": rows}, form="%.5g").write(output)
    if not rows:
        raise UserError("no trials were asked for; give a number of runs")
    table = pd.DataFrame([row for row in rows if row["study"] != "resampled"])
    Report({"gate": [*table.to_dict("records"), *resampled(table)]}, form="%.5g").write(output)
    Report(texts={"gate.md": report(pd.read_csv(file))}).write(output)


def trials(rows: Sequence[Row], aa_runs: int, planted_runs: int, seeds: int) -> Iterator[list[Row]]:
    """Rows of the trials that there are not yet: losses, then a planted and an A/A run in turn.

    Args:
        rows: of the trials that there are.
        aa_runs: how many there are to be in the end.
        planted_runs: likewise.
        seeds: of the losses; 0 for none.
    """
    if seeds and not any(row["study"] == "loss" for row in rows):
        yield list(loss_trials(seeds))
    done = {planted: next_run(rows, planted) for planted in (PLANTED, 1.0)}
    head = checkout_root(Path.cwd())
    if max(aa_runs, planted_runs) and (edited := git(head, "status", "--porcelain", "--", *ROOMS).decode().strip()):
        raise UserError(f"both sides must be the same code; commit or put away:\n{edited}")
    with tree_of(head, resolve(head, "HEAD")) as base:
        for number in range(max(aa_runs, planted_runs)):
            if done[PLANTED] <= number < planted_runs:
                yield speed_trials(base, head, number, together(number), PLANTED)
            if done[1.0] <= number < aa_runs:
                yield speed_trials(base, head, number, speed_cases(), 1.0)


def by() -> Row:
    """What is measured here and now."""
    rule = hashlib.sha256(rule_text(PINNED).encode()).hexdigest()[:12]
    return dict(zip(BY, (rule, machine(torch.device("cpu")), len(lanes())), strict=True))


def kept(rows: Sequence[Row]) -> list[Row]:
    """All rows but those of runs by another rule, or elsewhere."""
    here = by()
    return [row for row in rows if row["study"] != "speed" or all(row.get(name) == here[name] for name in BY)]


def next_run(rows: Sequence[Row], planted: float) -> int:
    """Number of the first run of a kind that is not there."""
    mine = [int(row["run"]) for row in rows if row["study"] == "speed" and float(row["of_run"]) == planted]
    return 1 + max(mine, default=-1)


def together(run: int) -> list[SpeedCase]:
    """Cases of a planted run, that which is slowed first."""
    known = {case.name: case for case in speed_cases()}
    return [known[CHEAP[(run + 3 * place) % len(CHEAP)]] for place in range(TOGETHER)]


def speed_trials(base: Path, head: Path, run: int, cases: Sequence[SpeedCase], planted: float) -> list[Row]:
    """One run of the gate's speed half: a row a case."""
    start, load = time.monotonic(), os.getloadavg()[0]
    slowed = {} if planted == 1 else {cases[0].name: planted}
    results = compare_speed(base, head, cases, lanes(), slowed=slowed, until=start + SECONDS)
    seconds = time.monotonic() - start
    alarms = [result.case.name for result in results if result.status == "slower"]
    print(f"slowed {planted:g}, run {run}: {seconds:.0f} s, load {load:.1f}, alarms {alarms}", flush=True)
    more = {"run": run, "of_run": planted, "load": load, "seconds": seconds, **by()}
    return [_row(result, slowed.get(result.case.name, 1.0), more) for result in results]


def _row(result: SpeedResult, planted: float, more: Row) -> Row:
    row = {"study": "speed", "what": result.case.name, "planted": planted, "alarm": int(result.status == "slower")}
    ratios = dict(zip((f"ratio_{number}" for number in range(1, MOST + 1)), result.ratios, strict=False))
    return {**row, **more, "status": result.status, "pairs": len(result.ratios), **ratios}


if __name__ == "__main__":
    run(main)
