"""Damaged runs: one clear sentence and exit status 2 from every command that meets what is damaged, no traceback."""

from __future__ import annotations

import io
import json
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks.errors import UserError
from benchmarks.runs.read import read_run
from tests.helpers import SMALL, TUNED, call, mistake
from tests.runs.helpers import command, edit, run


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    run(folder, "a", SMALL.replace('"ols", "heavy_ball"', TUNED))
    return folder


@pytest.fixture
def results(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made, tmp_path / "results")
    return tmp_path / "results"


def array(values: object) -> bytes:
    with io.BytesIO() as file:
        np.save(file, np.asarray(values), allow_pickle=True)
        return file.getvalue()


def claiming(shape: str) -> bytes:
    """An array whose head claims a shape."""
    content = array(np.ones(60, np.float32))
    head = content.replace(b"'shape': (60,), ", f"'shape': {shape}, ".encode())
    assert head != content
    grown = len(head) - len(content)
    return head.replace(b" " * (grown + 1) + b"\n", b" \n", 1) if grown else head


def encrypted(content: bytes) -> bytes:
    """The same zip file with every member marked as encrypted."""
    marked = bytearray(content)
    for signature, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        start = 0
        while (start := content.find(signature, start)) >= 0:
            marked[start + place] |= 1
            start += 4
    return bytes(marked)


def with_first(content: bytes, member: bytes, how: int = zipfile.ZIP_STORED) -> bytes:
    """The same archive with something else in the place of its first array."""
    with zipfile.ZipFile(io.BytesIO(content)) as old, io.BytesIO() as file:
        with zipfile.ZipFile(file, "w", how) as new:
            for number, name in enumerate(old.namelist()):
                new.writestr(name, member if number == 0 else old.read(name))
        return file.getvalue()


LOSSES = {
    "another kind of file": lambda good: array(np.ones(9)),
    "encrypted": encrypted,
    "no zip file": lambda good: b"",
    "cut off": lambda good: good[: len(good) // 2],
    "shorter": lambda good: with_first(good, array(np.ones(7, np.float32))),
    "longer": lambda good: with_first(good, array(np.ones(61, np.float32))),
    "much longer": lambda good: with_first(good, array(np.zeros(10**7, np.float32)), zipfile.ZIP_DEFLATED),
    "of two dimensions": lambda good: with_first(good, array(np.ones((60, 1), np.float32))),
    "a number": lambda good: with_first(good, array(np.float32(1))),
    "words": lambda good: with_first(good, array(["x"] * 60)),
    "float64": lambda good: with_first(good, array(np.ones(60))),
    "objects": lambda good: with_first(good, array([{}] * 60)),
    "of an absurd shape": lambda good: with_first(good, claiming("(99999999999,)")),
    "of a negative shape": lambda good: with_first(good, claiming("(-60,)")),
    "of no shape": lambda good: with_first(good, claiming("'x'")),
    "no array": lambda good: with_first(good, b"hello"),
}


@pytest.mark.parametrize("what", LOSSES)
def test_losses_that_are_damaged_are_refused_in_a_sentence(results: Path, what: str) -> None:
    path = results / "runs/a/losses.npz"
    shutil.copytree(path.parent, results / "runs/b")
    path.write_bytes(LOSSES[what](path.read_bytes()))
    with pytest.raises(UserError, match=r"losses\.npz"):
        read_run(path.parent).losses(0)
    done = command(results, "validate", "a")
    assert done.code == 1
    assert len(done.output.splitlines()) == 1
    for words in (("compare", "a", "b"), ("compare", "b", "a"), ("merge", "b", "a", "--name", "both")):
        assert "losses.npz" in mistake("results", *words, "--results", results)


CELLS = {
    ("law_params", "[1, 2]"): "column law_params: it must be a JSON object (found '[1, 2]')",
    ("law_params", "nothing"): "column law_params: it must be a JSON object",
    ("law_params", "[" * 99_999): "column law_params: it must be a JSON object",
    ("solver_params", "7"): "column solver_params: it must be a JSON object (found '7')",
    ("seed", str(2**63)): "column seed: '9223372036854775808' is no seed",
    ("seed", "-1"): "column seed: '-1' is no seed",
}


@pytest.mark.parametrize("damage", CELLS, ids=lambda pair: f"{pair[0]} {pair[1][:20]}")
@pytest.mark.parametrize("file", ["scores.csv", "timings.csv"])
def test_cells_that_no_reader_could_use_are_refused_in_a_sentence(
    results: Path, file: str, damage: tuple[str, str]
) -> None:
    column, value = damage
    if column == "seed" and file == "timings.csv":
        pytest.skip("times have no seed")
    edit(results / "runs/a" / file, lambda table: table.__setitem__(column, [value, *table[column][1:]]))
    for words in (["leaderboard", "a"], ["views", "pairwise", "a"], ["results", "compare", "a", "a"]):
        said = mistake(*words, "--results", results)
        assert f"{file}, line 2, {CELLS[damage]}" in said


@pytest.mark.parametrize("columns", [["log_low"], ["log_high"], ["gap_low"], ["log_low", "log_high", "gap_high"]])
@pytest.mark.parametrize("form", ["terminal", "markdown", "latex"])
def test_a_number_without_an_interval_is_shown_without(results: Path, columns: list[str], form: str) -> None:
    def empty(table: pd.DataFrame) -> None:
        table[columns] = ""

    edit(results / "runs/a/scores.csv", empty)
    done = call("leaderboard", "a", "--results", results, "--format", form, "--whole")
    assert done.code == 0
    assert "nan" not in done.output
    assert command(results, "validate", "a").code == 1


@pytest.mark.parametrize("suite", [None, [], "core", {"name": 7}])
def test_a_description_with_an_odd_suite_or_odd_sources_is_found(results: Path, suite: object) -> None:
    path = results / "runs/a/meta.json"
    good = json.loads(path.read_text())
    for odd in ({"suite": suite}, {"merged_from": [suite]}, {"merged_from": suite}):
        path.write_text(json.dumps(good | odd))
        done = command(results, "validate", "a")
        assert done.code == 1, odd
        assert len(done.output.splitlines()) == 1
