"""Unfinished runs: no start, sweep or prune harms a live one, however their steps fall between each other's."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from benchmarks.cli.progress import _Lines
from benchmarks.harness.run import run_suite
from benchmarks.runs import prune
from benchmarks.runs.write import NameTaken, RunWriter, sweep
from benchmarks.suites.suite import load_suite
from tests.helpers import SMALL, mistake

OPERATIONS = {"open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.utime", "os.listdir", "os.scandir"}
OPERATIONS |= {"fcntl.flock", "shutil.rmtree"}


class Between:
    """Something that another process does, whole, just before the n-th operation on files of what is being watched."""

    def __init__(self) -> None:
        self.act: Callable[[], object] | None = None
        self.left = 0
        sys.addaudithook(self._hook)  # stays for the life of the process, so there is one of these

    def _hook(self, event: str, arguments: tuple[object, ...]) -> None:
        if self.act is None or event not in OPERATIONS:
            return
        self.left -= 1
        if self.left == 0:
            act, self.act = self.act, None
            act()

    @contextmanager
    def doing(self, act: Callable[[], object], before: int) -> Iterator[None]:
        self.act, self.left = act, before
        try:
            yield
        finally:
            self.act = None


@pytest.fixture(scope="module")
def between() -> Between:
    return Between()


def pruned(results: Path) -> None:
    for path, _, _ in prune.left_over(results):
        prune.remove(path)


OTHERS: dict[str, Callable[[Path], object]] = {
    "sweep": lambda results: sweep(results / "runs"),
    "prune": pruned,
    "another start": lambda results: RunWriter(results / "runs", "other").__exit__(),
}
LEFT = {"nothing": [], "an empty folder": [""], "a lock": ["lock"], "a lock and no cell": ["lock", "cells/"]}


def leave(hidden: Path, what: list[str]) -> None:
    """What a process left that was killed."""
    for name in what:
        path = hidden / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir(exist_ok=True) if not name or name.endswith("/") else path.touch()


@pytest.mark.parametrize("other", OTHERS)
@pytest.mark.parametrize("left", LEFT)
def test_a_start_survives_whatever_another_process_does_between_its_steps(
    between: Between, tmp_path: Path, other: str, left: str
) -> None:
    """Every place between two operations on files is tried: 4 of 8,200 starts lost their cells to a sweep."""
    for number in range(1, 1000):
        results = tmp_path / str(number)
        leave(results / "runs/.unfinished-one", LEFT[left])
        with between.doing(lambda folder=results: OTHERS[other](folder), number):
            writer = RunWriter(results / "runs", "one")
            done = between.act is None
        with writer:
            OTHERS[other](results)
            (writer.cells / "cell").write_text("work of hours")
            OTHERS[other](results)
            assert (writer.cells / "cell").exists()
            assert writer.scratch.is_dir()
        assert (results / "runs/.unfinished-one/cells/cell").exists()
        shutil.rmtree(results)
        if not done:
            break
    assert number > 10


@pytest.mark.parametrize("remove", ["sweep", "prune"])
def test_a_run_that_starts_while_the_folder_of_its_name_is_removed_is_whole(
    between: Between, tmp_path: Path, remove: str
) -> None:
    for number in range(1, 1000):
        results, started = tmp_path / str(number), []
        leave(results / "runs/.unfinished-one", ["lock", "cells/"])

        def start(runs: Path = results / "runs", started: list[RunWriter] = started) -> None:
            with suppress(NameTaken):  # the other process has its lock at that moment
                started.append(RunWriter(runs, "one"))
                (started[0].cells / "cell").write_text("work of hours")

        with between.doing(start, number):
            OTHERS[remove](results)
            done = between.act is None
        for writer in started:
            with writer:
                assert (writer.cells / "cell").exists()
                assert writer.scratch.is_dir()
        shutil.rmtree(results)
        if not done:
            break
    assert number > 10


def test_what_was_being_removed_when_a_process_was_killed_goes(tmp_path: Path) -> None:
    grave = tmp_path / "runs" / f".removed-{'0' * 32}" / "cells"
    grave.mkdir(parents=True)
    (tmp_path / "runs" / ".removed-notes").mkdir()
    sweep(tmp_path / "runs")
    assert os.listdir(tmp_path / "runs") == [".removed-notes"]


@pytest.fixture
def suites(tmp_path: Path) -> tuple[Path, Path]:
    paths = tmp_path / "one.toml", tmp_path / "two.toml"
    for path, seeds in zip(paths, ("[0]", "[1]"), strict=True):
        path.write_text(SMALL.replace("[0, 1]", seeds))
    return paths


def test_a_second_resume_beside_a_live_run_is_refused(suites: tuple[Path, Path], tmp_path: Path) -> None:
    """It began a second full run."""
    one, two = suites
    suite = load_suite(str(one))
    runs = tmp_path / "results/runs"
    with RunWriter(runs, "live") as writer:
        writer.describe({"suite_hash": suite.content_hash, "started_at": "2026-01-01T00:00:00+00:00"})
        said = mistake("run", one, "--resume", folder=tmp_path)
        assert said == "another process is writing the run 'live'; wait for it, or choose another name"
        assert os.listdir(runs) == [".unfinished-live"]
        run_suite(load_suite(str(two)), runs, None, ["x"], _Lines(), resume=True)  # of another suite there is none
    assert len(os.listdir(runs)) == 1


def test_a_run_that_was_left_is_resumed_even_beside_a_live_one(suites: tuple[Path, Path], tmp_path: Path) -> None:
    suite, runs = load_suite(str(suites[0])), tmp_path / "runs"
    state = {"suite_hash": suite.content_hash, "started_at": "2026-01-01T00:00:00+00:00"}
    with RunWriter(runs, "left") as writer:
        writer.describe(state)
        (writer.cells / "cell").touch()
    with RunWriter(runs, "live") as writer:
        writer.describe(state | {"started_at": "2026-02-02T00:00:00+00:00"})
        assert run_suite(suite, runs, None, ["x"], _Lines(), resume=True).path.name == "left"


def test_another_suite_does_not_take_over_the_folder_of_a_name(suites: tuple[Path, Path], tmp_path: Path) -> None:
    """Its finished cells were thrown away."""
    one, two = suites
    suite, runs = load_suite(str(one)), tmp_path / "results/runs"
    with RunWriter(runs, "mine") as writer:
        writer.describe({"suite_hash": suite.content_hash, "started_at": "2026-01-01T00:00:00+00:00"})
        (writer.cells / "cell").write_text("work of hours")
    said = mistake("run", two, "--name", "mine", "--resume", folder=tmp_path)
    assert "the unfinished run 'mine' is of another suite" in said
    assert (runs / ".unfinished-mine/cells/cell").exists()
    assert run_suite(suite, runs, None, ["x"], _Lines(), "mine", resume=True).path.name == "mine"
