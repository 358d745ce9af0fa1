"""Memory grows by a few times what a row takes in a table: a run of a million rows is to be handled within 4 GB."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.runs import cells, compare, tables, validate
from benchmarks.runs.read import read_run
from benchmarks.validation.growth_of_runs import write_rows

FEW, MANY = 96, 288

MOST = 3500
"""Bytes a row: of a million, 3.5 GB beside the program. When all rows were models and dictionaries it took 16,000."""


def peak(work: Callable[[], object]) -> int:
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_a_row_takes_little_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (cells, tables):
        monkeypatch.setattr(module, "AT_ONCE", FEW)
    monkeypatch.setattr(validate, "_row", lambda *_: iter(()))  # statistics take time, and no memory that is kept
    monkeypatch.setattr(compare, "log_ratio_interval", lambda *_: (1.0, 1.0, 1.0))
    runs = tmp_path / "results" / "runs"
    for rows in (FEW, MANY):  # what is compiled and imported is there before memory is measured
        write_rows(tmp_path, f"b{rows}", rows, 0.01)
    made = {rows: peak(lambda rows=rows: write_rows(tmp_path, f"a{rows}", rows, 0.0)) for rows in (FEW, MANY)}

    def validated(rows: int) -> None:
        validate.problems(read_run(runs / f"a{rows}"))

    def compared(rows: int) -> None:
        compare.compare_runs(read_run(runs / f"a{rows}"), read_run(runs / f"b{rows}"))

    found = {"written": (made[MANY] - made[FEW]) / (MANY - FEW)}
    for work in (validated, compared):
        few, many = (peak(lambda rows=rows, work=work: work(rows)) for rows in (FEW, MANY))
        found[work.__name__] = (many - few) / (MANY - FEW)
    assert {what: size for what, size in found.items() if size > MOST} == {}
