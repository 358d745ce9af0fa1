"""How time and memory of the command line grow with what it is asked for, and how many rows it can carry.

    python -m benchmarks.validation.growth_of_runs [--rows 1000000]

First `memformer-bench run` with one thing after the other ten times as large, each in a process of its own: seconds and
the most memory it held, and the exponents of both by least squares. Then a run of many rows, the rows of one cell for
every law and solver that its suite asks for, is written, validated, and compared with another; and one of a tenth as
many is shown as a site. Results in results/studies/growth_of_runs.md.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
from numpy.typing import NDArray
from typer import Option, run

from benchmarks import api
from benchmarks.errors import UserError
from benchmarks.harness.resolve import build_cells
from benchmarks.harness.scores.fitting import ParameterStore
from benchmarks.harness.scores.measure import run_cell
from benchmarks.harness.scores.table import summarised
from benchmarks.reports.template import render
from benchmarks.runs import environment
from benchmarks.runs.schema import ScoreRow
from benchmarks.runs.write import Part, RunWriter
from benchmarks.suites.suite import Suite
from benchmarks.validation.committed import RESULTS

TOOL = [sys.executable, "-m", "benchmarks.cli.main"]
BASE = {"tasks": 2000, "d": 5, "N": 50, "steps": 4, "solvers": 3, "seeds": 3}
"""What a run is asked for where it does not grow."""

FACTORS = (1, 3, 10)
TIMES = 3
"""Runs of each size, of which the median counts."""

LEAST = (0.2, 5.0)
"""Seconds and megabytes below which what a run takes is not told from what its start takes."""

CELL = {**BASE, "tasks": 20, "steps": 10, "seeds": 9}
CELL_LAW = {"law": "isotropic", "d": BASE["d"], "N": BASE["N"]}
SOLVERS = 25
"""The run of many rows: of so many solvers on laws of so many noises, each with the rows of a cell of this size."""

BYTES = 2**10 if sys.platform != "darwin" else 1
"""Of the unit in which the system tells a process's most memory."""


def suite(asked: dict[str, int]) -> str:
    """A suite with so many tasks, dimensions, points, steps, solvers and seeds, as TOML."""
    more = [
        f'{{ name = "gradient_descent", params = {{ eta = {0.1 + 0.01 * k:.2f} }} }}'
        for k in range(asked["solvers"] - 3)
    ]
    return f"""schema = 1
steps = {list(range(1, asked["steps"] + 1))}
seeds = {list(range(asked["seeds"]))}
solvers = [{", ".join(['"cg"', '"nesterov"', '"gradient_descent"', *more])}]
[scores]
tasks = {asked["tasks"]}
[[tasks]]
law = "isotropic"
d = {asked["d"]}
N = {asked["N"]}
"""


def in_a_process(words: Sequence[str], folder: Path) -> tuple[float, float]:
    """Seconds and the most megabytes of a command.

    Raises:
        UserError: if it fails.
    """
    code = (
        "import resource, subprocess, sys\n"
        "done = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL)\n"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)\n"
        "sys.exit(done.returncode)\n"
    )
    began = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code, *words], cwd=folder, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - began
    if done.returncode or "Traceback" in done.stderr:
        raise UserError(f"{' '.join(words)} failed, exit status {done.returncode}: {done.stderr.strip()[-300:]}")
    return seconds, int(done.stdout.split()[-1]) * BYTES / 1e6


def of_runs(folder: Path) -> list[list[str]]:
    """Rows of the first table: exponents of what is beyond a run of next to nothing."""
    rows, start = [], measured({**BASE, "tasks": 10, "steps": 1, "seeds": 1}, folder)
    for variable, base in BASE.items():
        sizes = [base * factor for factor in FACTORS]
        asked = [{**BASE, variable: size} for size in sizes]
        if variable == "d":
            asked = [{**one, "N": 10 * one["d"]} for one in asked]
        found = np.array([measured(one, folder) for one in asked])
        shown = [f"{seconds:.1f} s, {size:,.0f} MB" for seconds, size in found]
        ends = [f"{size:,}" for size in (sizes[0], sizes[-1])]
        exponents = [exponent(beyond, least) for beyond, least in zip((found - start).T, LEAST, strict=True)]
        rows.append([variable, *ends, *shown, *exponents])
        print(rows[-1], flush=True)
    return rows


def exponent(beyond: NDArray[np.float64], least: float) -> str:
    """Slope of the logarithm of what is beyond the start against that of the size, by least squares.

    Args:
        beyond: of the sizes `FACTORS`.
        least: that can be told from nothing; where a size is below it there is no slope.

    Example:
        >>> exponent(np.array([1.0, 9.0, 100.0]), 0.5), exponent(np.array([0.1, 9.0, 100.0]), 0.5)
        ('2.00', '–')
    """
    if (beyond < least).any():
        return "–"
    return f"{np.polyfit(np.log(FACTORS), np.log(beyond), 1)[0]:.2f}"


def measured(asked: dict[str, int], folder: Path) -> NDArray[np.float64]:
    """Seconds and megabytes of a run in one process, the median of some."""
    (folder / "growth.toml").write_text(suite(asked), encoding="utf-8")
    found = []
    for _ in range(TIMES):
        shutil.rmtree(folder / "results", ignore_errors=True)
        found.append(in_a_process([*TOOL, "run", "growth.toml", "--jobs", "1", "--name", "growth"], folder))
    return np.median(found, axis=0)


def write_rows(folder: Path, name: str, rows: int, shift: float) -> None:
    """A run of at least so many rows, as its suite asks: those of one cell for every law and solver."""
    one = Suite.model_validate(tomllib.loads(suite(CELL)) | {"name": "cell", "solvers": ["cg"]})
    scored = summarised(run_cell(build_cells(one)[0], ParameterStore()))
    solvers = api.names("solver")[:SOLVERS]
    noises = [round(0.01 * number, 2) for number in range(-(-rows // (len(scored.rows) * len(solvers))))]
    laws = [{**CELL_LAW, "noise_std": noise} for noise in noises]
    asked = Suite.model_validate(
        {**one.model_dump(mode="json", by_alias=True), "name": "rows", "timings": None}
        | {"solvers": solvers, "tasks": laws}
    )

    def parts() -> Iterator[Part]:
        for noise in noises:
            for solver in solvers:
                own = {"solver": solver, "noise_std": noise}
                losses = {row: array * (1 + shift) for row, array in scored.losses.items()}
                yield [row.model_copy(update=own | _scaled(row, 1 + shift)) for row in scored.rows], losses

    meta = {
        "suite": asked.model_dump(mode="json", by_alias=True),
        "suite_hash": asked.content_hash,
        "command": "growth",
    }
    meta |= {"measured_at": "2000-01-01T00:00:00+00:00", "seconds": 0.0, **environment.describe()}
    with RunWriter(folder / "results" / "runs", name) as writer:
        writer.write(parts(), [], meta)


def _scaled(row: ScoreRow, factor: float) -> dict[str, float]:
    """The columns of a row that change where all losses are so many times as large; gaps and logarithms are moved."""
    sizes = {name: getattr(row, name) * factor for name in ("mean", "median", "trimmed_mean", "q90", "q99")}
    moved = ("log_mean", "log_low", "log_high", "gap_to_floor", "gap_low", "gap_high", "gap_to_bayes")
    known = {name: getattr(row, name) for name in moved}
    return sizes | {name: value + float(np.log(factor)) for name, value in known.items() if value is not None}


def of_rows(folder: Path, rows: int) -> list[list[str]]:
    """Rows of the second table."""
    few, found = rows // 10, []
    commands: list[tuple[str, int, list[str]]] = [
        ("written", rows, ["--write", "many", str(rows), "0"]),
        ("written, a second", rows, ["--write", "other", str(rows), "0.01"]),
        ("validated", rows, ["results", "validate", "many"]),
        ("compared", rows, ["results", "compare", "many", "other"]),
        ("a tenth written", few, ["--write", "tenth", str(few), "0"]),
        ("shown as a site", few, ["site", "tenth", "--output", "site"]),
    ]
    for what, count, words in commands:
        own = [sys.executable, "-m", "benchmarks.validation.growth_of_runs"] if words[0] == "--write" else TOOL
        seconds, megabytes = in_a_process([*own, *words], folder)
        found.append([what, f"{count:,}", f"{seconds:.0f}", f"{megabytes:,.0f}"])
        print(found[-1], flush=True)
    return found


def main(
    rows: Annotated[int, Option(help="of the largest run")] = 1_000_000,
    write: Annotated[tuple[str, int, float] | None, Option(hidden=True)] = None,
    output: Annotated[Path, Option(help="folder of the page")] = RESULTS / "studies",
) -> None:
    """Measure and write the page."""
    if write is not None:
        return write_rows(Path(), *write)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        facts = {
            "rows": of_rows(folder, rows),
            "runs": of_runs(folder),
            "base": BASE,
            "times": TIMES,
            "solvers": SOLVERS,
        }
    here = environment.machine(torch.device("cpu"))
    page = render("benchmarks.validation", "growth_of_runs.md.jinja", machine=here, **facts)
    (output / "growth_of_runs.md").write_text(page, encoding="utf-8")
    return None


if __name__ == "__main__":
    run(main)
