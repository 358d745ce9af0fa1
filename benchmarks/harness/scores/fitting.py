"""Fitting, and finding again what was fitted before under the same law, settings, seed and source."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from benchmarks.errors import UserError
from benchmarks.harness.devices import synchronise
from benchmarks.harness.guard import checked_fit
from benchmarks.harness.scores.shipped import shipped_parameters
from benchmarks.runs.environment import machine
from benchmarks.runs.source import foreign_source, source_hash
from benchmarks.tasks.law import Law, Purpose
from memformer.core import checkpoint
from memformer.core.solver import Solver

if TYPE_CHECKING:
    from memformer.training.recipe import ProgressCallback

NO_SOURCE = "no source"
"""In a header, in place of the hash of a plug-in that has no source file."""


NUMERICAL = ("torch", "numba", "numpy", "scipy")
"""Packages whose version can change a number."""


@dataclass(frozen=True)
class Fit:
    """Fitted solvers, one for each seed, and the seconds it took (None: nothing is fitted).

    Attributes:
        reused: whether their parameters were found again.
        shipped: whether they are those that come with the project.
    """

    solvers: list[Solver]
    seconds: float | None
    reused: bool
    shipped: bool = False


@dataclass(frozen=True)
class ParameterStore:
    """A folder of fitted parameters in safetensors, each with what it was fitted on.

    Attributes:
        folder: where they are kept; None keeps nothing.
        scratch: where files are written before they are moved there, on any file system; by default `folder`.
            A process that is killed leaves what it was writing here.
        shipped: folder of parameters that come with the project, which are used where nothing else is found (see
            `benchmarks.harness.scores.shipped`); None uses none.
        progress: told how far the training of a solver is that can be interrupted (`LearnedSolver.unfinished`). It is
            taken up where it was by the next fit of the same header in this folder.
    """

    folder: Path | None = None
    scratch: Path | None = None
    shipped: Path | None = None
    progress: ProgressCallback | None = None

    def fit(
        self,
        name: str,
        solver: Solver,
        law: Law,
        steps: Sequence[int],
        seeds: Sequence[int],
        dtype: torch.dtype,
        device: torch.device,
    ) -> Fit:
        """Fit a solver to training tasks of a law under each seed, or find it again.

        Args:
            name: the solver's registry id.
            solver: not fitted yet.
            law: whose training streams it is fitted on.
            steps: numbers of steps that will be asked of it.
            seeds: of training tasks and of everything random in the fit.
            dtype: of training.
            device: of training.
        """
        if not solver.fitting.required:
            solver.prepare(dtype, device)
            return Fit([solver] * len(seeds), None, reused=False)
        headers = [header_of(name, solver, law, steps, seed, dtype, device) for seed in seeds]
        known = self.find(solver, headers)
        if known is None and self.shipped is not None:
            known = self._shipped(solver, headers)
        if known is not None:
            known.solvers[0].prepare(dtype, device)
            return known
        solver.prepare(dtype, device)
        synchronise(device)
        start = time.perf_counter()
        streams = [law.stream(seed, Purpose.TRAIN, dtype, device) for seed in seeds]
        resumable: Any = solver if hasattr(solver, "unfinished") else None
        left = [self._unfinished(resumable, header) for header in headers]
        if resumable is None:
            found = solver.fit_many(streams, steps, seeds)
        else:
            fits = zip(streams, seeds, left, strict=True)
            found = [resumable.fit(stream, steps, seed, self.progress, one) for stream, seed, one in fits]
        solvers = checked_fit(found, len(seeds))
        synchronise(device)
        seconds = time.perf_counter() - start
        for fitted, header in zip(solvers, headers, strict=True):
            self._keep(fitted, header, seconds / len(seeds))
        for one in left:
            if one is not None:
                one.remove()
        return Fit(solvers, seconds, reused=False)

    def find(self, solver: Solver, headers: Sequence[dict[str, str]]) -> Fit | None:
        """What `fit` found before, one solver for each header; None if one of them is not there."""
        found = [self._find(solver, header) for header in headers]
        entries = [entry for entry in found if entry is not None]
        if len(entries) < len(headers):
            return None
        return Fit([entry[0] for entry in entries], sum(entry[1] for entry in entries), reused=True)

    def _shipped(self, solver: Solver, headers: Sequence[dict[str, str]]) -> Fit | None:
        """What comes with the project for these headers; None if one of them has nothing."""
        assert self.shipped is not None
        found = [shipped_parameters(self.shipped, header) for header in headers]
        entries = [entry for entry in found if entry is not None]
        if len(entries) < len(headers):
            return None
        solvers = [dataclasses.replace(solver, parameters=entry.parameters) for entry in entries]  # type: ignore[type-var]
        return Fit(solvers, sum(float(entry.header["train_seconds"]) for entry in entries), reused=True, shipped=True)

    def path(self, header: dict[str, str]) -> Path | None:
        """File of the parameters with that header; None if nothing is kept, or nobody could say what made them."""
        if self.folder is None or header["plugin"] == NO_SOURCE:
            return None
        digest = hashlib.sha256(json.dumps(header, sort_keys=True).encode()).hexdigest()[:16]
        d = json.loads(header["law_settings"])["d"]
        return self.folder / f"{header['solver']}-{header['law']}-d{d}-{digest}.safetensors"

    def _unfinished(self, solver: Any, header: dict[str, str]) -> Any:
        """Where a fit that may be interrupted is kept (see `LearnedSolver.unfinished`); None if nowhere."""
        path = self.path(header)
        return None if path is None or solver is None else solver.unfinished(path, header)

    def _find(self, solver: Solver, header: dict[str, str]) -> tuple[Solver, float] | None:
        path = self.path(header)
        if path is None or not path.is_file():
            return None
        try:
            parameters, kept = checkpoint.load(path)
            if {key: kept.get(key) for key in header} != header:
                return None
            return dataclasses.replace(solver, parameters=parameters), float(kept["train_seconds"])  # type: ignore[type-var]
        except (checkpoint.CheckpointError, KeyError, ValueError):
            return None  # a file that does not fit is trained again and replaced

    def _keep(self, fitted: Solver, header: dict[str, str], seconds: float) -> None:
        path, parameters = self.path(header), getattr(fitted, "parameters", None)
        if path is None or not parameters:
            return
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            checkpoint.save(path, parameters, {**header, "train_seconds": repr(seconds)}, self.scratch)
        except OSError as error:
            raise UserError(f"fitted parameters cannot be written to {path.parent}: {error.strerror}") from None


def header_of(
    name: str, solver: Solver, law: Law, steps: Sequence[int], seed: int, dtype: torch.dtype, device: torch.device
) -> dict[str, str]:
    """Everything that can change the parameters, as text; its hash names the file."""
    foreign = foreign_source(modules_of(solver, law))
    law_settings = {"d": law.d, "N": law.N, "noise_std": law.noise_std, **law.parameters}
    return {
        "solver": name,
        "solver_version": str(solver.version),
        "settings": json.dumps(settings_of(solver), sort_keys=True, default=str),
        "law": law.metadata.name,
        "law_version": str(law.metadata.version),
        "law_settings": json.dumps(law_settings, sort_keys=True),
        "fingerprint": law.fingerprint,
        "steps": json.dumps(list(steps)),
        "seed": str(seed),
        "dtype": str(dtype).removeprefix("torch."),
        "device": device.type if device.type == "cpu" else f"{device.type}, {machine(device)}",
        **{package: version(package) for package in NUMERICAL},
        "source": source_hash(),
        "plugin": NO_SOURCE if foreign is None else foreign,
    }


def modules_of(*things: object) -> set[str]:
    """Modules of the classes, and their bases, of solvers and laws: what source their numbers depend on."""
    return {kind.__module__ for thing in things for kind in type(thing).__mro__}


def settings_of(solver: Any) -> dict[str, Any]:
    """A solver's hyper-parameters: its dataclass fields but for what fitting finds."""
    return {f.name: getattr(solver, f.name) for f in dataclasses.fields(solver) if f.name != "parameters"}
