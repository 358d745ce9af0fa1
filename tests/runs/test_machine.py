"""The store as a state machine: runs begin, crash, are resumed, pruned, merged and compared in any order.

Whatever the order, a finished cell is never lost but by `prune`, a name never belongs to two, every complete run is a
good one, and merging and comparing know every seed. `make fuzz` tries more orders.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from benchmarks.errors import UserError
from benchmarks.runs import prune, unfinished
from benchmarks.runs.cells import rows_of
from benchmarks.runs.compare import compare_runs
from benchmarks.runs.merge import merge_runs
from benchmarks.runs.read import Run, list_runs, read_run
from benchmarks.runs.schema import ScoreRow, TimingRow
from benchmarks.runs.validate import problems
from benchmarks.runs.write import Part, RunWriter, sweep, unfinished_runs
from tests.helpers import SMALL, TUNED
from tests.runs.helpers import run

SEEDS = {"zero": {0}, "one": {1}, "pair": {0, 1}}
SCORED_BY, TIMED_BY = ("solver", "steps", "metric"), ("solver", "steps", "batch")
POOLED = -1
"""In place of a seed, in the row of all seeds."""

NAMES = st.sampled_from(("a", "b"))


def said(table: pd.DataFrame, *columns: str) -> Counter[tuple[Any, ...]]:
    """How many rows of a table say the same in some columns."""
    return Counter(zip(*(table[name].fillna(POOLED) for name in columns), strict=True))


class Killed(BaseException):
    """What ends a process in the middle of what it writes."""


@pytest.fixture(scope="module", autouse=True)
def templates(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Real runs, whose rows the machine writes."""
    folder = tmp_path_factory.mktemp("templates")
    text = SMALL.replace('"cg", "ols", "heavy_ball"', f'"cg", {TUNED}').replace("[1, 2]", "[2]")
    for kind, seeds in SEEDS.items():
        Store.templates[kind] = read_run(run(folder, kind, text.replace("[0, 1]", str(sorted(seeds)))))
    patience, unfinished.PATIENCE = unfinished.PATIENCE, 0.0  # nobody else is looking at these folders
    yield
    unfinished.PATIENCE = patience


@dataclass
class Begun:
    """An unfinished run: its suite, its cells, and its writer while a process is at it."""

    kind: str
    cells: int = 0
    writer: RunWriter | None = None


class Store(RuleBasedStateMachine):
    templates: dict[str, Run] = {}

    def __init__(self) -> None:
        super().__init__()
        self.results = Path(tempfile.mkdtemp())
        self.runs = self.results / "runs"
        self.begun: dict[str, Begun] = {}
        self.complete: dict[str, set[int]] = {}
        self.known: dict[str, Run] = {}

    def teardown(self) -> None:
        for one in self.begun.values():
            self.kill(one)
        shutil.rmtree(self.results)

    @staticmethod
    def kill(one: Begun) -> None:
        """End the process: its lock goes, nothing is tidied."""
        if one.writer is not None:
            one.writer._lock.release()
            one.writer = None

    def read(self, name: str) -> Run:
        """A complete run, which stays as it is: read once."""
        if name not in self.known:
            self.known[name] = read_run(self.runs / name)
        return self.known[name]

    def live(self, name: str) -> RunWriter | None:
        return self.begun[name].writer if name in self.begun else None

    @initialize(kinds=st.sampled_from([("zero", "one"), ("one", "pair"), ("pair",), ()]))
    def earlier_runs(self, kinds: tuple[str, ...]) -> None:
        for name, kind in zip("ab", kinds, strict=False):
            shutil.copytree(self.templates[kind].path, self.runs / name)
            self.complete[name] = SEEDS[kind]
        if len(kinds) > 1:
            self.merge_into("c", ["a", "b"])

    @rule(name=NAMES, kind=st.sampled_from(sorted(SEEDS)), resume=st.booleans(), cells=st.integers(0, 1))
    def start(self, name: str, kind: str, resume: bool, cells: int) -> None:
        """A process begins or resumes a run, and finishes a cell of it, or is not as far yet."""
        left = self.begun.get(name)
        refused = name in self.complete or self.live(name) is not None
        refused |= left is not None and left.cells > 0 and not (resume and left.kind == kind)
        try:
            writer = RunWriter(self.runs, name, resume)
            try:
                writer.describe({"suite_hash": kind, "started_at": str(len(self.begun))})
            except UserError:
                writer.__exit__()
                raise
        except UserError:
            assert refused
            return
        assert not refused
        one = self.begun[name] = Begun(kind, left.cells if left else 0, writer)
        for _ in range(cells):
            (writer.cells / f"{one.cells}.json").write_text("work of hours")
            one.cells += 1

    @precondition(lambda self: any(one.writer for one in self.begun.values()))
    @rule(
        data=st.data(), end=st.sampled_from(("kill", "interrupt", "kill while writing", "kill when written", "finish"))
    )
    def end(self, data: Any, end: str) -> None:
        name = data.draw(st.sampled_from([name for name in self.begun if self.live(name)]))
        one = self.begun[name]
        writer = one.writer
        assert writer is not None
        if end == "kill":
            self.kill(one)
            return
        if end == "interrupt":
            writer.__exit__()
            one.writer = None
            if not one.cells:
                del self.begun[name]
            return
        template = self.templates[one.kind]
        timings = [
            TimingRow.model_validate({k: v for k, v in row.items() if k != "row"}) for row in rows_of(template.timings)
        ]
        try:
            writer.write(self.parts(template, end == "kill while writing"), timings, template.meta)
        except Killed:
            self.kill(one)
            return
        self.complete[name] = SEEDS[one.kind]
        if end == "finish":
            writer.__exit__()
            del self.begun[name]
        else:
            self.kill(one)

    @staticmethod
    def parts(template: Run, die: bool) -> Iterator[Part]:
        for row in rows_of(template.scores):
            number = row.pop("row")
            yield [ScoreRow.model_validate(row)], {0: template.stored(number)} if number in template.with_losses else {}
            if die:
                raise Killed

    @rule()
    def sweep(self) -> None:
        sweep(self.runs)
        self.forget(lambda name, one: name in self.complete or not one.cells)

    @rule()
    def prune(self) -> None:
        for path, _, _ in prune.left_over(self.results):
            assert prune.remove(path)
        self.forget(lambda name, one: True)

    def forget(self, gone: Any) -> None:
        """What nobody writes and is not needed is no longer there."""
        self.begun = {name: one for name, one in self.begun.items() if one.writer or not gone(name, one)}

    @precondition(lambda self: len(self.complete) > 1 and "c" not in self.complete)
    @rule(data=st.data(), name=NAMES | st.just("c"))
    def merge(self, data: Any, name: str) -> None:
        names = data.draw(st.lists(st.sampled_from(sorted(self.complete)), min_size=2, max_size=3, unique=True))
        self.merge_into(name, names)

    def merge_into(self, name: str, names: list[str]) -> None:
        refused = name in self.complete or (name in self.begun and (self.begun[name].writer or self.begun[name].cells))
        try:
            merge_runs([self.read(one) for one in names], self.runs, name)
        except UserError:
            assert refused
            return
        assert not refused
        self.complete[name] = set().union(*(self.complete[one] for one in names))
        self.begun.pop(name, None)
        self.is_whole(self.read(name))

    @precondition(lambda self: self.complete)
    @rule(data=st.data())
    def compare(self, data: Any) -> None:
        first, second = (data.draw(st.sampled_from(sorted(self.complete))) for _ in range(2))
        changes = compare_runs(self.read(first), self.read(second))
        known = self.complete[first] <= self.complete[second]
        assert changes.fails("loss") != known
        assert not changes.worse["loss"]
        assert not changes.fails("status")

    @precondition(lambda self: self.complete)
    @rule(data=st.data())
    def remove(self, data: Any) -> None:
        name = data.draw(st.sampled_from(sorted(self.complete)))
        if name not in self.begun:
            shutil.rmtree(self.runs / name)
            del self.complete[name]
            self.known.pop(name, None)

    @precondition(lambda self: self.complete)
    @rule()
    def check(self) -> None:
        for name in self.complete:
            run = read_run(self.runs / name)
            assert problems(run) == []
            self.is_whole(run)

    def is_whole(self, run: Run) -> None:
        """Each cell of a complete run has, by every metric, a row and losses of every seed, and its times."""
        like, seeds = self.templates["pair"], self.complete[run.name]
        found = said(run.scores, *SCORED_BY, "seed")
        pooled = {POOLED} if len(seeds) > 1 else set()
        assert found == Counter((*cell, seed) for cell in said(like.scores, *SCORED_BY) for seed in seeds | pooled)
        assert run.with_losses == {row["row"] for row in rows_of(run.scores) if row["seed"] is not None}
        assert said(run.timings, *TIMED_BY) == said(like.timings, *TIMED_BY)

    @invariant()
    def what_is_there_is_what_was_done(self) -> None:
        assert {path.name for path in list_runs(self.runs)} == set(self.complete)
        hidden = {path.name.removeprefix(unfinished.UNFINISHED) for path in unfinished_runs(self.runs)}
        assert hidden == set(self.begun)
        for name, one in self.begun.items():
            cells = self.runs / f"{unfinished.UNFINISHED}{name}" / "cells"
            assert len(os.listdir(cells)) == one.cells
        if self.runs.is_dir():
            assert not [name for name in os.listdir(self.runs) if name.startswith(".removed")]


TestStore = Store.TestCase
TestStore.settings = settings(
    max_examples=max(4, (settings.default.max_examples - 100) // 8), stateful_step_count=20, deadline=None
)
