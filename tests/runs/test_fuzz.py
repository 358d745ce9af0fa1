"""Damaged and hostile files: each is read, or refused in one sentence; nothing else happens.

Suite files, the files of a run, parameter files and names of runs are cut off, overwritten, spliced, and given wrong
types, huge numbers, control characters and path tricks. `make fuzz` tries 21,000 of them, an ordinary run 33 a kind.
"""

from __future__ import annotations

import json
import re
import shutil
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

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
    "../x", "..", ".", "/x", "a/b", "a\\b", "~", "", " ", "\x00", "a\n", "-x", ".hidden", "CON", "a" * 300, "é", "a:b",
)  # fmt: skip

Draw = Callable[[st.SearchStrategy], Any]
Source = tuple[Path, Callable[[Path], object]]
"""A good file, alone in its folder with what belongs to it, and what reads it."""

REFUSED = ("suite", "scores", "timings", "meta", "parameters")
"""Kinds of which 33 damaged files cannot all be read; a run's losses are opened when they are asked for."""


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Source]:
    folder = tmp_path_factory.mktemp("good")
    suite, small, state = folder / "suite/suite.toml", folder / "small/small.toml", folder / "state/state.json"
    for file, text in (
        (suite, SUITE),
        (small, SMALL),
        (state, json.dumps({"suite_hash": "0123456789ab", "started_at": "2026-01-01T00:00:00+00:00"})),
    ):
        file.parent.mkdir()
        file.write_text(text)
    run = run_suite(load_suite(str(small)), folder / "runs", None, ["fuzz"], _Lines(), "run").path
    parameters = folder / "parameters" / "x.safetensors"
    checkpoint.save(parameters, {"eta": torch.ones(3)}, {"solver": "x", "train_seconds": "1.0"})

    def whole(path: Path) -> None:
        assert isinstance(list(lines("runs", path.parents[1])), list)
        problems(read_run(find_runs([str(path.parent)], path.parents[1])[0]))

    of_a_run = {name: (run / name, whole) for name in ("scores.csv", "timings.csv", "meta.json", "losses.npz")}
    return {
        "suite": (suite, lambda path: build_cells(load_suite(str(path)))),
        **{name.partition(".")[0]: source for name, source in of_a_run.items()},
        "parameters": (parameters, lambda path: checkpoint.load(path, shapes={"eta": (3,)})),
        "state": (state, lambda path: describe_unfinished(path.parent)),
    }


@pytest.mark.parametrize("kind", [*REFUSED, "losses", "state"])
def test_a_damaged_file_is_read_or_refused_in_a_sentence(kind: str, sources: dict[str, Source], tmp_path: Path) -> None:
    good, read = sources[kind]
    outcomes: Counter[str] = Counter()

    @given(damaged(good.read_bytes()))
    @settings(max_examples=settings.default.max_examples // 3, deadline=timedelta(seconds=10))
    def attempt(content: bytes) -> None:
        work = tmp_path / "work"
        shutil.rmtree(work, ignore_errors=True)
        shutil.copytree(good.parent, work)
        (work / good.name).write_bytes(content)
        before = everything(tmp_path, work)
        outcomes[outcome(lambda: read(work / good.name))] += 1
        assert everything(tmp_path, work) == before

    attempt()
    assert outcomes["refused"] or kind not in REFUSED


def test_a_single_array_is_no_file_of_losses(sources: dict[str, Source], tmp_path: Path) -> None:
    """What `make fuzz` found: an overwritten head makes numpy read another kind of file."""
    good, _ = sources["losses"]
    shutil.copytree(good.parent, tmp_path / "run")
    with (tmp_path / "run" / good.name).open("wb") as file:
        np.save(file, np.ones(9))
    with pytest.raises(UserError, match="is not a file of arrays: File is not a zip file"):
        read_run(tmp_path / "run").losses(0)


@pytest.mark.parametrize("name", NAMES)
def test_a_hostile_name_of_a_run_is_taken_or_refused_in_a_sentence(name: str) -> None:
    outcome(lambda: check_name(name))


def test_names_that_leave_their_folder_are_refused() -> None:
    assert {outcome(lambda name=name: check_name(name)) for name in ("../x", "..", "/x", "a/b", "\x00")} == {"refused"}


def outcome(read: Callable[[], object]) -> str:
    """`read` or `refused`; anything but one sentence fails the test."""
    said = ""
    try:
        read()
    except (UserError, checkpoint.CheckpointError) as error:
        said = str(error)
    assert "\n" not in said.strip()
    return "refused" if said else "read"


def everything(folder: Path, work: Path) -> set[Path]:
    """Every file of the folder but those that are being read, and what escaped."""
    return {path for path in folder.rglob("*") if not path.is_relative_to(work)} | set(Path.cwd().glob("*escaped*"))


@st.composite
def damaged(draw: Draw, content: bytes) -> bytes:
    """A file after one to three changes."""
    for _ in range(draw(st.integers(1, 3))):
        content = draw(st.sampled_from((cut, overwrite, splice, word, word, word, line)))(draw, content)
    return content


def cut(draw: Draw, content: bytes) -> bytes:
    return content[: draw(st.integers(0, len(content)))]


def overwrite(draw: Draw, content: bytes) -> bytes:
    start, noise = draw(st.integers(0, len(content))), draw(st.binary(min_size=1, max_size=64))
    return content[:start] + noise + content[start + len(noise) * draw(st.booleans()) :]


def splice(draw: Draw, content: bytes) -> bytes:
    a, b, c = sorted(draw(st.integers(0, len(content))) for _ in range(3))
    return content[:b] + content[a:b] + content[c:]


def word(draw: Draw, content: bytes) -> bytes:
    """A nasty word in the place of a number, a string or a name."""
    places = [found.span() for found in re.finditer(rb'"[^"\n]*"|[\w.+-]+', content)] or [(0, len(content))]
    start, end = draw(st.sampled_from(places))
    return content[:start] + draw(st.sampled_from(NASTY)).encode("utf-8", "surrogatepass") + content[end:]


def line(draw: Draw, content: bytes) -> bytes:
    """A line left out, doubled or moved."""
    rows = content.split(b"\n")
    row = rows.pop(draw(st.integers(0, len(rows) - 1)))
    for _ in range(draw(st.integers(0, 2))):
        rows.insert(draw(st.integers(0, len(rows))), row)
    return b"\n".join(rows)
