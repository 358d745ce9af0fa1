"""Fit by search what the suites `core` and `learned` ask for, and put the parameters into the package.

    python -m benchmarks.validation.ship [--only memformer_gdpp] [--jobs 2] [--missing] [--index]

Each file of `benchmarks/catalogue/checkpoints` holds one fitted solver. `index.json` says its SHA-256, recipe, seed,
licence, the seconds of the fit on one thread, and the log of the mean loss that it reaches after each number of steps.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from torch import Tensor
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
from memformer.core.solver import Fitting

LICENCE = "Apache-2.0"
TASKS = 1_000
"""Fresh tasks that the loss of a file is taken on."""

SUITES = ("core", "learned")

FEW = 4096
"""Fewer numbers are kept as they were fitted, so that a row is the same to the last digit; more in float32."""


def cells(only: list[str]) -> list[Cell]:
    """The cells whose parameters are shipped, those of a random search, each fit once."""
    every = [cell for name in SUITES for cell in build_cells(available(load_suite(name))[0])]
    found = [cell for cell in every if cell.solver.fitting is Fitting.RANDOM and (not only or cell.solver_name in only)]
    return list({file_name(headers(cell)[0]): cell for cell in found}.values())


def headers(cell: Cell) -> list[dict[str, str]]:
    """What names the parameters of a cell, for each seed."""
    about = (cell.solver_name, cell.solver, cell.fitted_on, cell.steps)
    return [header_of(*about, seed, cell.dtype, cell.device) for seed in cell.seeds]


def files(cell: Cell, folder: Path = SHIPPED) -> list[Path]:
    """Where the parameters of a cell are, for each seed."""
    return [folder / file_name(header) for header in headers(cell)]


def is_there(cell: Cell) -> bool:
    """Whether all of them are."""
    return all(path.is_file() for path in files(cell))


def ship(cell: Cell, folder: Path = SHIPPED) -> None:
    """Fit a cell's solver and write its files."""
    with pinned_threads(1):
        about = (cell.solver_name, cell.solver, cell.fitted_on, cell.steps, cell.seeds, cell.dtype, cell.device)
        fit = ParameterStore().fit(*about)
    seconds = (fit.seconds or 0.0) / len(cell.seeds)
    for header, path, solver in zip(headers(cell), files(cell, folder), fit.solvers, strict=True):
        found: Any = solver
        about_it = {**bound(header), "source": header["source"], "licence": LICENCE, "train_seconds": f"{seconds:.1f}"}
        checkpoint.save(path, kept(found.parameters), about_it)
    print(f"{cell.solver_name} on {cell.fitted_on.metadata.name}, d = {cell.law.d}: {seconds:.0f} s a seed", flush=True)


def kept(parameters: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Parameters as they are stored."""
    few = sum(one.numel() for one in parameters.values()) < FEW
    return {name: one if few or not one.is_floating_point() else one.float() for name, one in parameters.items()}


def entries(cell: Cell, folder: Path = SHIPPED) -> dict[str, dict[str, Any]]:
    """What the index says of a cell's files, by name."""
    found = {}
    for path, seed in zip(files(cell, folder), cell.seeds, strict=True):
        header = checkpoint.load(path).header
        found[path.name] = {
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
            **bound(header),
            "seconds": float(header["train_seconds"]),
            "licence": header["licence"],
            "log_loss": log_losses(cell, path, seed),
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
    missing: Annotated[bool, Option("--missing", help="fit only what is not there")] = False,
    index: Annotated[bool, Option("--index", help="fit nothing; write the index of what is there")] = False,
) -> None:
    """Fit, write, and say what there is."""
    if not index:
        with ProcessPoolExecutor(jobs, get_context("spawn")) as pool:
            list(pool.map(ship, [cell for cell in cells(only) if not missing or not is_there(cell)]))
    known = {name: entry for cell in cells([]) for name, entry in entries(cell).items()}
    for path in SHIPPED.glob("*.safetensors"):
        if path.name not in known:
            path.unlink()
    (SHIPPED / INDEX).write_text(json.dumps(dict(sorted(known.items())), indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    run(main)
