"""Fit what takes long in the suites `core` and `learned`, and put the parameters into the package.

    python -m benchmarks.validation.ship [--only memformer_gdpp] [--jobs 2] [--index]

Each file of `benchmarks/catalogue/checkpoints` holds one fitted solver in float32. `index.json` says its SHA-256,
recipe, seed, licence, the seconds of the fit on one thread, and the log of the mean loss that it reaches after each
number of steps.
"""

from __future__ import annotations

import hashlib
import json
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from typer import Option, run

from benchmarks.harness.cell import Cell
from benchmarks.harness.resolve import available, build_cells
from benchmarks.harness.scores.fitting import ParameterStore, header_of
from benchmarks.harness.scores.measure import measure
from benchmarks.harness.scores.shipped import INDEX, SHIPPED, bound, file_name
from benchmarks.harness.workers.limits import pinned_threads
from benchmarks.suites.suite import load_suite
from benchmarks.tasks.law import Purpose
from memformer.core import checkpoint
from memformer.solvers.learned import LearnedSolver
from memformer.solvers.memformer import Memformer

LICENCE = "Apache-2.0"
TASKS = 1_000
"""Fresh tasks that the loss of a file is taken on."""

SUITES = ("core", "learned")

ALWAYS = ("memformer_gdpp", "memformer_heads", "newton_schulz_law")
"""Solvers whose fit takes long at any d."""

LARGE = 20
"""From this d on the fit of every Memformer does; that of every other learned method at any."""


def takes_long(cell: Cell) -> bool:
    """Whether a cell's parameters are shipped."""
    large = cell.law.d >= LARGE and isinstance(cell.solver, Memformer)
    return large or cell.solver_name in ALWAYS or isinstance(cell.solver, LearnedSolver)


def cells(only: list[str]) -> list[Cell]:
    """The cells whose parameters are shipped, each fit once."""
    every = [cell for name in SUITES for cell in build_cells(available(load_suite(name))[0])]
    found = [cell for cell in every if takes_long(cell) and (not only or cell.solver_name in only)]
    return list({file_name(headers(cell)[0]): cell for cell in found}.values())


def headers(cell: Cell) -> list[dict[str, str]]:
    """What names the parameters of a cell, for each seed."""
    about = (cell.solver_name, cell.solver, cell.fitted_on, cell.steps)
    return [header_of(*about, seed, cell.dtype, cell.device) for seed in cell.seeds]


def ship(cell: Cell, folder: Path = SHIPPED) -> None:
    """Fit a cell's solver and write its files."""
    with pinned_threads(1):
        about = (cell.solver_name, cell.solver, cell.fitted_on, cell.steps, cell.seeds, cell.dtype, cell.device)
        fit = ParameterStore().fit(*about)
    seconds = (fit.seconds or 0.0) / len(cell.seeds)
    for header, solver in zip(headers(cell), fit.solvers, strict=True):
        found: Any = solver
        small = {name: one.float() if one.is_floating_point() else one for name, one in found.parameters.items()}
        about_it = {**bound(header), "source": header["source"], "licence": LICENCE, "train_seconds": f"{seconds:.1f}"}
        checkpoint.save(folder / file_name(header), small, about_it)
    print(f"{cell.solver_name} on {cell.fitted_on.metadata.name}, d = {cell.law.d}: {seconds:.0f} s a seed", flush=True)


def entries(cell: Cell, folder: Path = SHIPPED) -> dict[str, dict[str, Any]]:
    """What the index says of a cell's files, by name."""
    found = {}
    for header, seed in zip(headers(cell), cell.seeds, strict=True):
        name = file_name(header)
        kept = checkpoint.load(folder / name).header
        found[name] = {
            "sha256": hashlib.sha256((folder / name).read_bytes()).hexdigest(),
            **bound(header),
            "seconds": float(kept["train_seconds"]),
            "licence": kept["licence"],
            "log_loss": log_losses(cell, folder / name, seed),
        }
    return found


def log_losses(cell: Cell, path: Path, seed: int) -> list[float]:
    """Log of the mean loss on fresh tasks of the law it was fitted on, after each number of steps.

    The loss is the expected one, where the solver answers weights; else that at a query point of each task.
    """
    parameters = checkpoint.load(path).parameters
    wide = {name: one.to(cell.dtype) if one.is_floating_point() else one for name, one in parameters.items()}
    solver: Any = replace(cell.solver, parameters=wide)  # type: ignore[type-var]
    problem = cell.fitted_on.stream(seed, Purpose.FRESH, cell.dtype, cell.device).sample(TASKS)
    losses = measure(solver, problem, cell.steps).losses
    found = losses.get("expected_test_loss", losses["test_loss"])
    return [round(float(value), 4) for value in np.log(found.mean(1))]


def main(
    only: Annotated[list[str], Option(help="only this solver; repeatable")] = [],  # noqa: B006
    jobs: Annotated[int, Option(min=1, help="processes")] = 2,
    index: Annotated[bool, Option("--index", help="fit nothing; write the index of what is there")] = False,
) -> None:
    """Fit, write, and say what there is."""
    if not index:
        with ProcessPoolExecutor(jobs, get_context("spawn")) as pool:
            list(pool.map(ship, cells(only)))
    known = {name: entry for cell in cells([]) for name, entry in entries(cell).items()}
    for path in SHIPPED.glob("*.safetensors"):
        if path.name not in known:
            path.unlink()
    (SHIPPED / INDEX).write_text(json.dumps(dict(sorted(known.items())), indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    run(main)
