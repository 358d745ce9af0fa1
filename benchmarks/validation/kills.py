"""Kill runs at random moments and resume them: are the final tables those of a run that nobody disturbed?

    python -m benchmarks.validation.kills --kills 100

Each kill is a SIGKILL, at a moment drawn uniformly over the length of an undisturbed run, to the main process, to one
worker, or to all of them at once; half of the runs have two workers, the others none. A main process loses one worker
at most: a cell that loses two is given up, and its row says so. A run that is finished before its moment comes is
checked, and the next one begins.
"""

from __future__ import annotations

import os
import random
import signal
import tempfile
import time
from collections import Counter
from contextlib import suppress
from multiprocessing import get_context
from multiprocessing.context import ForkProcess
from pathlib import Path

import pandas as pd
import psutil
from typer import run

from benchmarks.cli.progress import _Lines
from benchmarks.harness.run import run_suite
from benchmarks.runs.read import read_run
from benchmarks.runs.schema import TIMES, Identity
from benchmarks.suites.suite import load_suite

SUITE = str(Path(__file__).with_suffix(".toml"))

TARGETS = ("main", "worker", "all")


def main(kills: int = 100, seed: int = 0) -> None:
    """Kill, resume, compare, and print the count."""
    with tempfile.TemporaryDirectory() as folder:
        done, finished = study(Path(folder), kills, random.Random(seed))
    counts = ", ".join(f"{done[target]} of {target}" for target in TARGETS)
    print(f"{sum(done.values())} kills ({counts}); {finished} runs finished, every one equal to the undisturbed run")


def study(folder: Path, kills: int, random_: random.Random) -> tuple[Counter[str], int]:
    """Kill `kills` times; returns kills by target and the number of runs that were finished and compared."""
    lengths: dict[int | None, float] = {}
    for jobs, name in ((None, "reference"), (2, "reference2")):
        start = time.monotonic()
        reference = _start(folder, name, jobs)
        reference.join()
        if reference.exitcode != 0:
            raise SystemExit(f"the undisturbed run failed: {(folder / 'said.txt').read_text()}")
        lengths[jobs] = time.monotonic() - start
        print(f"undisturbed, with {jobs or 'no'} workers: {lengths[jobs]:.1f} s", flush=True)
    done: Counter[str] = Counter()
    number = 0
    while sum(done.values()) < kills:
        number += 1
        jobs = random_.choice([None, 2])
        while not _disturbed(folder, f"run{number}", jobs, lengths[jobs], kills, done, random_):
            pass
        check(folder / "results", f"run{number}")
        print(f"run{number} equals the undisturbed run; {sum(done.values())} kills so far", flush=True)
    return done, number


def _disturbed(
    folder: Path, name: str, jobs: int | None, length: float, kills: int, done: Counter[str], random_: random.Random
) -> bool:
    """Run or resume, killing when the moment comes; returns whether the run was finished."""
    process, targets = _start(folder, name, jobs), TARGETS
    while True:
        process.join(random_.uniform(0, length) if sum(done.values()) < kills else None)
        if process.exitcode == 0:
            return True
        assert process.pid is not None
        if process.exitcode is not None:
            raise SystemExit(f"{name} ended with status {process.exitcode}:\n{(folder / 'said.txt').read_text()}")
        workers: list[psutil.Process] = []
        with suppress(psutil.NoSuchProcess):
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
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
        process.join()
        return False


def _start(folder: Path, name: str, jobs: int | None) -> ForkProcess:
    """`run --resume` in a process with a group of its own; forked, because importing takes longer than this suite."""
    process = get_context("fork").Process(target=_run, args=(folder, name, jobs))
    process.start()
    return process


def _run(folder: Path, name: str, jobs: int | None) -> None:
    os.setsid()
    said = os.open(folder / "said.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(said, 1)
    os.dup2(said, 2)
    results = folder / "results"
    run_suite(load_suite(SUITE), results / "runs", results / "parameters", ["kills"], _Lines(), name, jobs, resume=True)


def check(results: Path, name: str) -> None:
    """Stop with a sentence if a run differs from the undisturbed one, or left something behind."""
    whole, mine = (results / "runs" / which for which in ("reference", name))
    for file in ("scores.csv", "losses.npz"):
        if (whole / file).read_bytes() != (mine / file).read_bytes():
            raise SystemExit(f"{file} of {name} differs from that of the undisturbed run")
    timings = [read_run(path).timings.drop(columns=list(TIMES)) for path in (whole, mine)]
    if not timings[0].equals(timings[1]):
        raise SystemExit(f"timings.csv of {name} differs from that of the undisturbed run in more than times")
    scores = pd.read_csv(mine / "scores.csv")
    if scores.duplicated([*Identity.model_fields, "seed", "metric"]).any():
        raise SystemExit(f"scores.csv of {name} holds a row twice")
    left = [path.relative_to(results).as_posix() for path in results.rglob(".*")]
    if left:
        raise SystemExit(f"{name} left {', '.join(left)}")


if __name__ == "__main__":
    run(main)
