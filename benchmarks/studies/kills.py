"""Kill runs at random moments and resume them: are the final tables those of a run that nobody disturbed?

    python -m benchmarks.studies.kills --kills 100

Each kill is a SIGKILL, at a moment drawn uniformly over the length of an undisturbed run, to the main process, to one
worker, or to all of them at once. A run that is finished before its moment comes is checked and the next one begins.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import pandas as pd

from benchmarks.schema import TIMES, Identity
from benchmarks.store import read_run

SUITE = """
schema = 1
steps = [1, 2]
seeds = [0, 1]
solvers = ["cg", "cgls", "steepest_descent", "barzilai_borwein", "pcg", "ridge", "bayes", "ols"]
[scores]
tasks = 200
[timings]
batch = 20
repeats = 3
[[tasks]]
law = "isotropic"
d = 3
N = 8
noise_std = 0.1
[[tasks]]
law = "anisotropic"
d = 3
N = 8
"""

TARGETS = ("main", "worker", "all")


def main() -> None:
    """Kill, resume, compare, and print the count."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--within", type=float, help="latest moment in seconds; by default an undisturbed run's length")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        done, finished = study(Path(folder), arguments.kills, random.Random(arguments.seed), arguments.within)
    counts = ", ".join(f"{done[target]} of {target}" for target in TARGETS)
    print(f"{sum(done.values())} kills ({counts}); {finished} runs finished, every one equal to the undisturbed run")


def study(folder: Path, kills: int, random_: random.Random, within: float | None = None) -> tuple[Counter[str], int]:
    """Kill `kills` times; returns kills by target and the number of runs that were finished and compared."""
    suite = folder / "tiny.toml"
    suite.write_text(SUITE)
    start = time.monotonic()
    reference = _start(folder, "reference")
    if reference.wait() != 0:
        raise SystemExit("the undisturbed run failed")
    length = within or time.monotonic() - start
    print(f"an undisturbed run takes {time.monotonic() - start:.1f} s", flush=True)
    done: Counter[str] = Counter()
    number = 0
    while sum(done.values()) < kills:
        number += 1
        while not _disturbed(folder, f"run{number}", length, kills, done, random_):
            pass
        check(folder / "results", f"run{number}")
        print(f"run{number} equals the undisturbed run after {sum(done.values())} kills", flush=True)
    return done, number


def _disturbed(folder: Path, name: str, length: float, kills: int, done: Counter[str], random_: random.Random) -> bool:
    """Run or resume, killing when the moment comes; returns whether the run was finished."""
    process = _start(folder, name)
    while True:
        try:
            status = process.wait(random_.uniform(0, length) if sum(done.values()) < kills else None)
        except subprocess.TimeoutExpired:
            target = random_.choice(TARGETS)
            if target == "worker":
                workers = _children(process.pid)
                if workers:
                    done[target] += _kill(random_.choice(workers))
                continue  # the main process goes on, and may be disturbed again
            done[target] += 1
            if target == "all":
                os.killpg(process.pid, signal.SIGKILL)
            else:
                process.kill()
            process.wait()
            return False
        if status != 0:
            raise SystemExit(f"{name} ended with status {status}:\n{(folder / 'errors.txt').read_text()}")
        return True


def _start(folder: Path, name: str) -> subprocess.Popen[bytes]:
    line = [sys.executable, "-m", "benchmarks.cli", "run", "tiny.toml", "--name", name, "--jobs", "2", "--resume"]
    with open(folder / "errors.txt", "wb") as errors:
        return subprocess.Popen(line, cwd=folder, stdout=errors, stderr=errors, start_new_session=True)


def _children(process: int) -> list[int]:
    try:
        return [int(word) for word in Path(f"/proc/{process}/task/{process}/children").read_text().split()] + [
            int(word)
            for task in os.listdir(f"/proc/{process}/task")
            if int(task) != process
            for word in Path(f"/proc/{process}/task/{task}/children").read_text().split()
        ]
    except OSError:
        return []


def _kill(process: int) -> int:
    try:
        os.kill(process, signal.SIGKILL)
    except ProcessLookupError:
        return 0
    return 1


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
    main()
