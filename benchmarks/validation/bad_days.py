"""Bad days: runs that are killed at random moments and resumed, and runs that start while others prune.

    python -m benchmarks.validation.bad_days

Kills: each is a SIGKILL, at a moment drawn uniformly over the length of an undisturbed run, to the main process, to one
worker, or to all of them at once; whether a run has two workers or none is drawn at random. A main process loses one
worker at most: a cell that loses two is given up, and its row says so. A run that is finished before its moment comes
is compared with the undisturbed one in every column but times, and the next one begins.

Starts: processes start runs, each under a name of its own, and others call `results prune --yes` all the while. Every
third start is killed, and the next one of that place resumes its run. A run that comes to its end must be whole.
"""

from __future__ import annotations

import math
import os
import random
import signal
import sys
import tempfile
import time
import tomllib
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import partial
from multiprocessing import get_context
from multiprocessing.context import ForkProcess
from pathlib import Path

import psutil
from typer import run

from benchmarks.cli.main import app
from benchmarks.cli.progress import _Lines
from benchmarks.harness.resolve import build_cells
from benchmarks.harness.run import run_suite
from benchmarks.reports.template import render
from benchmarks.reports.write import Report
from benchmarks.runs.environment import describe
from benchmarks.runs.read import list_runs, read_run
from benchmarks.runs.schema import TIMES
from benchmarks.runs.validate import problems
from benchmarks.suites.suite import Suite

SUITES = {
    name: Suite.model_validate({"timings": None, **content})
    for name, content in tomllib.loads(Path(__file__).with_suffix(".toml").read_text("utf-8")).items()
}

TARGETS = ("main", "worker", "all")

Place = Generator[bool, None, None]  # one process after another; yields while one is at it

STARTERS, PRUNERS = 4, 2
"""Processes at a time."""


def main(kills: int = 100, seconds: float = 20.0, seed: int = 0, output: Path = Path("results/studies")) -> None:
    """Kill, resume, compare; start beside prunes; write the page and print what it says."""
    random_ = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        done, finished = killed_runs(Path(folder), kills, random_)
    targets = ", ".join(f"{done[target]} of {target}" for target in TARGETS)
    print(f"{sum(done.values())} kills ({targets}); {finished} runs finished, every one equal to the undisturbed run")
    with tempfile.TemporaryDirectory() as folder:
        starts = starts_beside_prunes(Path(folder), seconds, random_)
    print(", ".join(f"{number} {what}" for what, number in starts.items()), f"in {seconds:g} s; 0 broken")
    facts = {"kills": sum(done.values()), "targets": targets, "finished": finished, "seconds": f"{seconds:g}", **starts}
    facts |= {"starters": STARTERS, "pruners": PRUNERS, "machine": describe()}
    Report(texts={"bad_days.md": render("benchmarks.validation", "bad_days.md.jinja", **facts)}).write(output)


def killed_runs(
    folder: Path, kills: int, random_: random.Random, suite: Suite = SUITES["kills"], workers: Sequence[int] = (0, 2)
) -> tuple[Counter[str], int]:
    """Kill `kills` times; returns kills by target and the number of runs that were finished and compared.

    Raises:
        SystemExit: with a sentence, if a run fails or differs from the undisturbed one.
    """
    lengths: dict[int, float] = {}
    build_cells(suite)  # so that no process has to import what it needs

    def started(name: str, jobs: int) -> AbstractContextManager[ForkProcess]:
        return _started(folder, name, partial(_run, folder, suite, name, jobs, own_parameters=True))

    for jobs in workers:
        name = f"reference{jobs or ''}"
        began = time.monotonic()
        with started(name, jobs) as reference:
            reference.join()
        _refuse_failure(folder, reference)
        lengths[jobs] = time.monotonic() - began
    done, number = Counter[str](), 0
    while sum(done.values()) < kills:
        number += 1
        jobs, whole = random_.choice(workers), False
        while not whole:
            with started(f"run{number}", jobs) as process:
                whole = _disturbed(folder, process, TARGETS if jobs else ("main",), lengths[jobs], kills, done, random_)
        check(folder / "results", f"run{number}")
        print(f"run{number} equals the undisturbed run; {sum(done.values())} kills so far", flush=True)
    return done, number


def _disturbed(
    folder: Path,
    process: ForkProcess,
    targets: tuple[str, ...],
    length: float,
    kills: int,
    done: Counter[str],
    random_: random.Random,
) -> bool:
    """Whether a run is finished before its moment comes; if not, all that is left is to kill its main process.

    A run without workers has children, too: git, for one.
    """
    while True:
        process.join(random_.uniform(0, length) if sum(done.values()) < kills else None)
        if process.exitcode == 0:
            return True
        if process.exitcode is not None:
            _refuse_failure(folder, process)
        assert process.pid is not None
        workers = psutil.Process(process.pid).children()
        target = random_.choice(targets if workers else ("main",))
        if target == "worker":
            with suppress(psutil.NoSuchProcess):
                random_.choice(workers).kill()
                done[target] += 1
            targets = ("main", "all")
            continue  # the main process goes on, and may be disturbed again
        done[target] += 1
        if target == "all":
            with suppress(ProcessLookupError):  # it has no group of its own yet
                os.killpg(process.pid, signal.SIGKILL)
        return False


def check(results: Path, name: str) -> None:
    """Stop with a sentence if a run differs from the undisturbed one, or left something behind."""
    whole, mine = (results / "runs" / which for which in ("reference", name))
    for file in ("scores.csv", "losses.npz"):
        if (whole / file).read_bytes() != (mine / file).read_bytes():
            raise SystemExit(f"{file} of {name} differs from that of the undisturbed run")
    timings = [read_run(path).timings.drop(columns=list(TIMES)) for path in (whole, mine)]
    if not timings[0].equals(timings[1]):
        raise SystemExit(f"timings.csv of {name} differs from that of the undisturbed run in more than times")
    _refuse_problems(mine)
    left = [path.relative_to(results).as_posix() for path in results.rglob(".*")]
    if left:
        raise SystemExit(f"{name} left {', '.join(left)}")


def starts_beside_prunes(folder: Path, seconds: float, random_: random.Random) -> Counter[str]:
    """Start, kill and resume runs while others prune; returns how many of each.

    Raises:
        SystemExit: with a sentence, if a start or a prune fails, or a run that came to its end is not whole.
    """
    done = Counter[str](started=0, killed=0, whole=0, prunes=0, removed=0)
    build_cells(SUITES["starts"])
    end = time.monotonic() + seconds
    places = [_starter(folder, f"run{number}", end, done, random_) for number in range(STARTERS)]
    places += [_pruner(folder, f"prune{number}", end, done) for number in range(PRUNERS)]
    try:
        while places:
            places = [place for place in places if next(place, None)]
            time.sleep(0.001)
    finally:
        for place in places:
            place.close()
    runs = list_runs(folder / "results/runs")
    if len(runs) < done["whole"]:
        raise SystemExit(f"{done['whole']} runs came to their end, and {len(runs)} are there")
    for path in runs:
        _refuse_problems(path)
    return done


def _starter(folder: Path, place: str, end: float, done: Counter[str], random_: random.Random) -> Place:
    """Runs one after another, every third start killed."""
    number, length = 0, 0.5
    while (began := time.monotonic()) < end:
        name = f"{place}-{number}"
        moment = began + random_.uniform(0, length) if random_.random() < 1 / 3 else math.inf
        with _started(folder, name, partial(_run, folder, SUITES["starts"], name)) as process:
            done["started"] += 1
            while process.is_alive() and time.monotonic() < moment:
                yield True
            if process.exitcode is None:
                done["killed"] += 1
                continue
        _refuse_failure(folder, process)
        number, length = number + 1, time.monotonic() - began
        done["whole"] += 1


def _pruner(folder: Path, name: str, end: float, done: Counter[str]) -> Place:
    """`results prune --yes` one after another."""
    while time.monotonic() < end:
        with _started(folder, name, partial(_prune, folder)) as process:
            while process.is_alive():
                yield True
        _refuse_failure(folder, process)
        done["prunes"] += 1
        done["removed"] += int(_said(folder, name).rpartition("removed ")[2].split()[0])


@contextmanager
def _started(folder: Path, name: str, work: Callable[[], object]) -> Iterator[ForkProcess]:
    """Work in a process with a group of its own, killed in the end; forked, because importing takes longer."""
    process = get_context("fork").Process(target=_alone, args=(folder / f"{name}.txt", work), name=name)
    process.start()
    try:
        yield process
    finally:
        process.kill()
        process.join()


def _alone(said: Path, work: Callable[[], object]) -> None:
    os.setsid()
    sys.stdout = sys.stderr = said.open("w")
    for stream in (1, 2):
        os.dup2(sys.stderr.fileno(), stream)
    work()


def _run(folder: Path, suite: Suite, name: str, jobs: int = 0, own_parameters: bool = False) -> None:
    results = folder / "results"
    parameters = results / "parameters" / (name if own_parameters else "")
    run_suite(suite, results / "runs", parameters, ["bad_days"], _Lines(), name, jobs or None, resume=True)


def _prune(folder: Path) -> None:
    app(["results", "prune", "--yes", "--results", str(folder / "results")])


def _said(folder: Path, name: str) -> str:
    return (folder / f"{name}.txt").read_text()


def _refuse_failure(folder: Path, process: ForkProcess) -> None:
    if process.exitcode != 0:
        raise SystemExit(f"{process.name} ended with status {process.exitcode}:\n{_said(folder, process.name)}")


def _refuse_problems(run: Path) -> None:
    for problem in problems(read_run(run)):
        raise SystemExit(f"{run.name}: {problem}")


if __name__ == "__main__":
    run(main)
