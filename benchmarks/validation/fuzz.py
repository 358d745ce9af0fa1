"""Damaged and hostile files, by the thousand: each is read, or refused in one sentence; nothing else happens.

    python -m benchmarks.validation.fuzz --inputs 20000

Suite files, the files of a run, parameter files and names of runs are cut off, overwritten, spliced, and given wrong
types, huge numbers, control characters and path tricks. Every input must end as a value or as a `UserError` (a
`CheckpointError` for parameters) of one line, and no file outside of its own folder may appear.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import shutil
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import torch

from benchmarks.cli.listing import find_runs, lines
from benchmarks.cli.progress import _Lines
from benchmarks.errors import UserError
from benchmarks.harness.resolve import build_cells
from benchmarks.harness.run import run_suite
from benchmarks.runs.read import read_run
from benchmarks.runs.validate import problems
from benchmarks.runs.write import check_name, describe_unfinished
from benchmarks.suites.suite import load_suite
from memformer.core import checkpoint

SUITE = """
schema = 1
description = "all keys"
steps = [1, 2]
seeds = [0, 1]
dtype = "float64"
device = "cpu"
threads = 1
solvers = ["cg", { name = "heavy_ball", steps = [1], tasks = 5, only = { d = 3 } }, "ols"]
[scores]
tasks = 9
time_limit = 60.0
memory_limit = 4.0
[timings]
batch = 5
repeats = 3
budget = 0.25
[[tasks]]
law = "isotropic"
d = 3
N = 8
noise_std = 0.1
[[tasks]]
law = "anisotropic"
d = 3
N = 8
params = { spectrum = "geometric", kappa = 100.0 }
"""

SMALL = """
schema = 1
steps = [1]
seeds = [0]
solvers = ["cg", "steepest_descent"]
[scores]
tasks = 9
[timings]
batch = 5
repeats = 3
[[tasks]]
law = "isotropic"
d = 3
N = 8
"""

NASTY = (
    "", " ", "nan", "-nan", "inf", "-inf", "1e999", "-1", "0", "1e308", "9" * 30, "9" * 5000, "0x10", "1_000", "true",
    "null", "None", "[]", "{}", "[[[[", '""', "'", '"', '"../../../escaped"', '"/tmp/escaped"', '"~/escaped"',
    "../escaped", "/etc/passwd", "1979-05-27", "1979-05-27T07:32:00Z", "\x00", "\x1b[31m", "\x07", "\r\n", "\ufeff",
    "\u202e", "é" * 50, "\ud7ff", "=cmd|' /C calc'!A0", "__import__('os').system('touch escaped')", "${HOME}", "%s%s%n",
    "{{7*7}}", "!!python/object:os.system", "[" * 2000, "{" * 2000, "a" * 10_000, ",", ",,,,", "\t", "#", "=", "\\",
)  # fmt: skip
"""What is put in the place of a word."""

NAMES = (
    "../x",
    "..",
    ".",
    "/x",
    "a/b",
    "a\\b",
    "~",
    "",
    " ",
    "\x00",
    "a\n",
    "-x",
    ".hidden",
    "CON",
    "a" * 300,
    "é",
    "a:b",
)

Read = Callable[[Path], object]


def main() -> None:
    """Fuzz, and print the count."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        counts = fuzz(Path(folder), arguments.inputs, random.Random(arguments.seed))
    shown = ", ".join(f"{kind} {counts[kind]}" for kind in sorted(counts))
    print(f"{arguments.inputs} inputs in {time.perf_counter() - start:.0f} s, no traceback, nothing escaped: {shown}")


def fuzz(folder: Path, inputs: int, random_: random.Random) -> Counter[str]:
    """Try inputs of every kind; returns how many of each kind were read and how many were refused.

    Raises:
        AssertionError: at the first input that ends otherwise, with the exception it raised.
    """
    sources = _sources(folder / "good")
    work = folder / "work"
    counts: Counter[str] = Counter()
    for number in range(inputs):
        if number and number % 1000 == 0:
            print(f"{number} inputs so far", file=sys.stderr, flush=True)
        kind = random_.choice(list(sources))
        good, read = sources[kind]
        shutil.rmtree(work, ignore_errors=True)
        shutil.copytree(good.parent, work)
        path = work / good.name
        path.write_bytes(damaged(good.read_bytes(), random_))
        before = _everything(folder, work)
        counts[f"{kind} {_outcome(kind, path, read)}"] += 1
        assert _everything(folder, work) == before, f"{kind}: a file appeared"
    for name in NAMES:
        counts[f"name {_outcome('name', Path(), lambda _, name=name: check_name(name))}"] += 1
    return counts


def _outcome(kind: str, path: Path, read: Read) -> str:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            read(path)
    except (UserError, checkpoint.CheckpointError) as error:
        said = str(error)
    except Exception as error:
        kept = Path(tempfile.gettempdir()) / f"fuzz-{re.sub(r'[^a-z]', '-', kind)}"
        kept.write_bytes(path.read_bytes() if path.is_file() else b"")
        raise AssertionError(f"{kind}: {type(error).__name__}: {error}; the input is kept as {kept}") from error
    else:
        return "read"
    assert "\n" not in said.strip(), f"{kind}: more than a line: {said}"
    return "refused"


def _sources(folder: Path) -> dict[str, tuple[Path, Read]]:
    """A good file of each kind, alone with what belongs to it, and what reads it."""
    suite = folder / "suite" / "suite.toml"
    suite.parent.mkdir(parents=True)
    suite.write_text(SUITE)
    small = folder / "small.toml"
    small.write_text(SMALL)
    run = run_suite(load_suite(str(small)), folder / "runs", None, ["fuzz"], _Lines(), "run").path
    state = folder / "state" / "state.json"
    state.parent.mkdir()
    state.write_text(json.dumps({"suite_hash": "0123456789ab", "started_at": "2026-01-01T00:00:00+00:00"}))
    parameters = folder / "parameters" / "x.safetensors"
    checkpoint.save(parameters, {"eta": torch.ones(3)}, {"solver": "x", "train_seconds": "1.0"})

    def whole(path: Path) -> None:
        lines_of = list(lines("runs", path.parents[1]))
        assert isinstance(lines_of, list)
        problems(read_run(find_runs([str(path.parent)], path.parents[1])[0]))

    return {
        "suite": (suite, lambda path: build_cells(load_suite(str(path)))),
        "scores": (run / "scores.csv", whole),
        "timings": (run / "timings.csv", whole),
        "meta": (run / "meta.json", whole),
        "losses": (run / "losses.npz", whole),
        "parameters": (parameters, lambda path: checkpoint.load(path, shapes={"eta": (3,)})),
        "state": (state, lambda path: describe_unfinished(path.parent)),
    }


def damaged(content: bytes, random_: random.Random) -> bytes:
    """One to three random changes of a file."""
    for _ in range(random_.randint(1, 3)):
        content = random_.choice(_DAMAGES)(content, random_)
    return content


def _cut(content: bytes, random_: random.Random) -> bytes:
    return content[: random_.randint(0, len(content))]


def _overwrite(content: bytes, random_: random.Random) -> bytes:
    start = random_.randint(0, len(content))
    noise = random_.randbytes(random_.choice([1, 1, 1, 2, 8, 64]))
    return content[:start] + noise + content[start + len(noise) * random_.randint(0, 1) :]


def _splice(content: bytes, random_: random.Random) -> bytes:
    a, b, c = sorted(random_.randint(0, len(content)) for _ in range(3))
    return content[:b] + content[a:b] + content[c:]


def _word(content: bytes, random_: random.Random) -> bytes:
    """A nasty word in the place of a number, a string or a name."""
    words = list(re.finditer(rb'"[^"\n]*"|[\w.+-]+', content))
    if not words:
        return random_.choice(NASTY).encode("utf-8", "surrogatepass")
    word = random_.choice(words)
    nasty = random_.choice(NASTY).encode("utf-8", "surrogatepass")
    return content[: word.start()] + nasty + content[word.end() :]


def _line(content: bytes, random_: random.Random) -> bytes:
    """A line left out, doubled or moved."""
    rows = content.split(b"\n")
    row = rows.pop(random_.randrange(len(rows)))
    for _ in range(random_.randint(0, 2)):
        rows.insert(random_.randint(0, len(rows)), row)
    return b"\n".join(rows)


_DAMAGES = (_cut, _overwrite, _splice, _word, _word, _word, _line)


def _everything(folder: Path, work: Path) -> set[Path]:
    """Every file of the folder but those that are being read."""
    return {path for path in folder.rglob("*") if not path.is_relative_to(work)} | set(Path.cwd().glob("*escaped*"))


if __name__ == "__main__":
    main()
