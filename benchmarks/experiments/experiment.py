"""The one interface of all experiments: what `memformer-bench run ID` knows of each, and gives it.

An experiment is a folder here, with an `Experiment` in it, and a line in `EXPERIMENTS`. A suite that is run as it is
has the same interface.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import import_module, resources
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel

from benchmarks.errors import UserError
from benchmarks.harness.passes import Progress
from benchmarks.harness.run import Finished
from benchmarks.harness.workers.pool import map_ordered
from benchmarks.reports.style import figure
from benchmarks.reports.write import Report, make_folder
from benchmarks.runs.read import Run, read_run
from benchmarks.suites.suite import Suite, built_in_suites, load_suite
from memformer.core.checks import near

EXPERIMENTS = {
    "paper": "benchmarks.experiments.paper.command:PAPER",
    "memory": "benchmarks.experiments.memory.command:MEMORY",
    "learnability": "benchmarks.experiments.learnability.command:LEARNABILITY",
    "real": "benchmarks.experiments.real.report:REAL",
    "scaling": "benchmarks.experiments.scaling.report:SCALING",
    "transfer": "benchmarks.experiments.transfer.command:TRANSFER",
    "diversity": "benchmarks.experiments.diversity.command:DIVERSITY",
    "literature": "benchmarks.experiments.literature.command:LITERATURE",
}
"""Every experiment: its id, and where it is."""

SUITE_OPTIONS = frozenset({"plugin", "name", "scheduler", "resume", "refit"})
"""Options of `run` that say how a suite is run."""

Settings = TypeVar("Settings", bound=BaseModel)
Item = TypeVar("Item")
Found = TypeVar("Found")


@dataclass(frozen=True)
class Request:
    """What a person asked for.

    Attributes:
        results: folder of results.
        quick: whether the short form is wanted.
        only: what `--only` chose; nothing is everything.
        jobs: processes, None to choose.
        progress: told what happens.
        run_suite: runs a suite on so many processes (None to choose) with the other options of the command line.
    """

    results: Path
    quick: bool
    only: Sequence[str]
    jobs: int | None
    progress: Progress
    run_suite: Callable[[Suite, int | None], Finished]

    @property
    def processes(self) -> int:
        """Processes of work that is worth one for each core."""
        return self.jobs or os.cpu_count() or 1

    def map(
        self, title: str, function: Callable[[Item], Found], items: Sequence[Item], names: Sequence[str]
    ) -> list[Found]:
        """`function` of every item, each on one thread, in order; the names of finished ones are shown.

        Returns:
            A list, the same however many processes share the work.
        """
        self.progress.start(title, len(items))
        return map_ordered(function, items, self.processes, lambda place: self.progress.advance(names[place]))

    def folder(self, name: str) -> Path:
        """`results/NAME`, made; fails before an hour's work and not after it.

        The short form and parts have folders of their own, `NAME-quick` and `NAME-PART`: the whole stays as it is.

        Raises:
            UserError: if it cannot be made.
        """
        return make_folder(self.results / "-".join([name, *["quick"] * self.quick, *sorted(set(self.only))]))


@dataclass(frozen=True)
class Experiment:
    """Something that `run` can do.

    Attributes:
        id: what `run` calls it; its folder under results/ has that name.
        summary: one line on what it finds out.
        carry_out: does all of it; says where its files are, what failed, and what raised an alarm.
        options: those of `run` that it takes, beside `--results` and `--jobs`.
        choices: ids that `--only` chooses among.
        settings: what it varies, for people.
        kind: what it is, for people.
    """

    id: str
    summary: str
    carry_out: Callable[[Request], Finished]
    options: frozenset[str] = frozenset({"quick"})
    choices: Callable[[], Sequence[str]] = tuple
    settings: Callable[[], str] = str
    kind: str = "experiment"

    def refuse(self, given: Iterable[str]) -> None:
        """Refuse options that it does not take.

        Raises:
            UserError: says which, and what takes them.
        """
        wrong = next((option for option in given if option not in self.options), None)
        if wrong is not None:
            takers = [one.id for one in map(load_experiment, EXPERIMENTS) if wrong in one.options]
            if wrong == "quick":
                suites_too = (name.removesuffix("-quick") for name in built_in_suites() if name.endswith("-quick"))
                takers += [name for name in suites_too if name not in EXPERIMENTS]
            suites = ["suites"] if wrong in SUITE_OPTIONS else []
            raise UserError(f"the {self.kind} {self.id} takes no --{wrong}; it is for {', '.join(takers + suites)}")

    def describe(self) -> str:
        """What it does, its options, and its settings."""
        taken = ", ".join(f"--{option}" for option in [*sorted(self.options), "jobs", "results"])
        parts = [f"{self.kind} {self.id}: {self.summary}", f"options of `run`: {taken}"]
        if "only" in self.options:
            parts.append(f"--only chooses among {', '.join(self.choices())}")
        return "\n".join(parts) + "\n\n" + self.settings().rstrip()


def load_experiment(name: str) -> Experiment:
    """One of `EXPERIMENTS`, imported now."""
    module, _, attribute = EXPERIMENTS[name].partition(":")
    return getattr(import_module(module), attribute)


def find_experiment(name: str) -> Experiment:
    """What `run NAME` does: an experiment, or a suite as it is."""
    if name in EXPERIMENTS:
        return load_experiment(name)
    short = {"quick"} if f"{name}-quick" in built_in_suites() else set()
    return Experiment(name, "", partial(_run_alone, name), SUITE_OPTIONS | short, kind="suite")


def _run_alone(name: str, request: Request) -> Finished:
    return request.run_suite(_suite_of(name, request), request.jobs)


def _suite_of(name: str, request: Request) -> Suite:
    """The suite of that name, or its quick form."""
    return load_suite(f"{name}-quick" if request.quick else name)


def suite_experiment(name: str, summary: str, report: Callable[[Run], Report]) -> Experiment:
    """An experiment that runs the suite of its name, or its quick form, and reports on the run."""

    def carry_out(request: Request) -> Finished:
        finished = request.run_suite(_suite_of(name, request), request.jobs)
        try:
            folder = request.folder(name)
            report(read_run(finished.path)).write(folder)
        except UserError as error:  # the run is there all the same; a view of it can be had later
            why = f"no report was written: {error}; 'memformer-bench views {name}' makes it from the run"
            return Finished(finished.path, [*finished.failures, why], finished.alarms)
        return Finished(folder, finished.failures, finished.alarms)

    return Experiment(name, summary, carry_out, SUITE_OPTIONS | {"quick"})


def choose(what: str, only: Sequence[str], known: Sequence[str]) -> list[str]:
    """Those of `known` that `--only` names, in their order; all, if it names none.

    Raises:
        UserError: if it names another.

    Example:
        >>> choose("the paper", ["b"], ["a", "b", "c"]), choose("the paper", [], ["a"])
        (['b'], ['a'])
    """
    unknown = next((name for name in only if name not in known), None)
    if unknown is not None:
        raise UserError(f"{what} has no {unknown!r}; there are {', '.join(known)}{near(unknown, known)}")
    return [name for name in known if not only or name in only]


def need_figures() -> None:
    """Fail at once, and not after an hour's work, where no figure can be drawn.

    Raises:
        UserError: if matplotlib is not installed.
    """
    figure(1.0, 1.0)


def settings_text(room: str, name: str = "settings.toml") -> str:
    """`settings.toml`, or another file, of an experiment's package, as written."""
    return resources.files(room).joinpath(name).read_text(encoding="utf-8")


def read_toml(room: str, name: str) -> dict[str, Any]:
    """What a TOML file of an experiment's package says."""
    return tomllib.loads(resources.files(room).joinpath(name).read_text(encoding="utf-8"))


def read_settings(model: type[Settings], room: str, quick: bool) -> Settings:
    """The settings of an experiment: its `settings.toml`, with what its table `quick` says in place where `quick`."""
    content = read_toml(room, "settings.toml")
    shorter = content.pop("quick")
    return model.model_validate({**content, **(shorter if quick else {})})
