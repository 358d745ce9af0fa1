"""What experiments that train share: settings in TOML with a quick form, jobs with progress, floors, and writing."""

from __future__ import annotations

import tomllib
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module, resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import pandas as pd
from joblib import Parallel, delayed
from pydantic import BaseModel

from baselines.krylov import law_preconditioner
from baselines.lfom_optimal import LfomOptimal, draw_moments
from benchmarks.errors import UserError
from benchmarks.harness.passes import Progress
from benchmarks.harness.workers.limits import pinned_threads
from benchmarks.reports.style import figure, save
from benchmarks.tasks.law import Law, Purpose

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Experiment = Callable[[bool, Path, int, Progress], list[Path]]
"""Takes whether to be quick (a minute's worth), the folder that its own folder lies in, how many processes share the
work, and whom to tell; returns the files it wrote. Raises UserError if they cannot be written."""

EXPERIMENTS = {
    "memory": (
        "benchmarks.experiments.memory.command:ablate",
        "which memory reaches its floor, and after how many steps",
    ),
    "learnability": (
        "benchmarks.experiments.learnability.command:learn",
        "excess risk against the number of training tasks",
    ),
}
"""What `run` knows beside suites: id, where it is, and what it finds out."""

Settings = TypeVar("Settings", bound=BaseModel)
Job = TypeVar("Job")
Found = TypeVar("Found")


def load_experiment(name: str) -> Experiment:
    """One of `EXPERIMENTS`."""
    module, _, function = EXPERIMENTS[name][0].partition(":")
    return getattr(import_module(module), function)


def settings_text(room: str) -> str:
    """`settings.toml` of a room, as written."""
    return resources.files(room).joinpath("settings.toml").read_text(encoding="utf-8")


def read_settings(model: type[Settings], room: str, quick: bool) -> Settings:
    """The settings of a room: its `settings.toml`, with what its table `quick` says in place where `quick`."""
    content = tomllib.loads(settings_text(room))
    shorter = content.pop("quick")
    return model.model_validate({**content, **(shorter if quick else {})})


def carry_out(
    title: str,
    function: Callable[[Job], Found],
    jobs: Sequence[Job],
    names: Sequence[str],
    processes: int,
    progress: Progress,
) -> list[Found]:
    """`function` of every job, each on one thread, in the order of the jobs however many processes share them."""
    progress.start(title, len(jobs))
    found: list[Found] = []
    results: Any = Parallel(n_jobs=processes, return_as="generator")(delayed(_pinned)(function, job) for job in jobs)
    with warnings.catch_warnings():
        # joblib starts a worker anew whose memory has grown; here it grows with the number of training tasks.
        warnings.filterwarnings("ignore", "A worker stopped while some jobs were given to the executor")
        for name, result in zip(names, results, strict=True):
            found.append(result)
            progress.advance(name)
    return found


def _pinned(function: Callable[[Job], Found], job: Job) -> Found:
    with pinned_threads(1):
        return function(job)


def best_fixed_method(law: Law, tasks: int, num_steps: int, preconditioned: bool) -> LfomOptimal:
    """The best fixed coefficients of a law for up to `num_steps` steps, from a stream that nothing else uses.

    Args:
        law: whose.
        tasks: that the coefficients are computed from: the method lies about `num_steps / tasks` of its loss above
            the true floor.
        num_steps: largest number of steps.
        preconditioned: with the inverse of the law's second moment as preconditioner.
    """
    stream = law.stream(0, Purpose.TRUTH)
    preconditioner = law_preconditioner(stream) if preconditioned else None
    return LfomOptimal(preconditioned).fitted(*draw_moments(stream, tasks), num_steps, preconditioner)


@dataclass(frozen=True)
class Report:
    """What an experiment found, ready to be written.

    Attributes:
        tables: rows by name of file, without `.csv`.
        figures: by name of file, without `.svg`.
        text: Markdown by name of file.
    """

    tables: Mapping[str, Sequence[Mapping[str, Any]]]
    figures: Mapping[str, Figure]
    text: Mapping[str, str]

    def write(self, folder: Path) -> list[Path]:
        """Write everything, figures as SVG; the same report gives the same files.

        Raises:
            UserError: if the folder cannot be written.
        """
        written = []
        try:
            for name, rows in self.tables.items():
                written.append(folder / f"{name}.csv")
                pd.DataFrame(rows).to_csv(written[-1], index=False, float_format="%.4g", lineterminator="\n")
            for name, drawn in self.figures.items():
                written += save(drawn, folder, name, png=False)
            for name, text in self.text.items():
                written.append(folder / name)
                written[-1].write_text(text, encoding="utf-8")
        except OSError as error:
            raise _cannot_write(folder, error) from None
        return written


def make_folder(results: Path, name: str, quick: bool) -> Path:
    """The folder `results/NAME`, or `results/NAME-quick`, made; fails before an hour's work and not after it.

    Raises:
        UserError: if it cannot be made, or matplotlib is not installed.
    """
    figure(1.0, 1.0)
    folder = results / (f"{name}-quick" if quick else name)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _cannot_write(folder, error) from None
    return folder


def _cannot_write(folder: Path, error: OSError) -> UserError:
    return UserError(f"the report cannot be written to {folder}: {error.strerror}")
