"""Odd values in suites end in a sentence; `tests/runs/test_fuzz.py` tries damaged files by the thousand."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.cli.progress import _Lines
from benchmarks.errors import UserError
from benchmarks.harness.resolve import build_cells
from benchmarks.harness.run import run_suite
from benchmarks.suites.suite import load_suite


@pytest.mark.parametrize(
    "value", ["1979-05-27", "1979-05-27T07:32:00Z", "07:32:00", "nan", "inf", '"../../x"', "[1, [2]]", "1e400"]
)
@pytest.mark.parametrize("where", ["params = {{ eta = {} }}", "protocol = {}", "steps = {}"])
def test_odd_values_of_a_solver_are_a_sentence(small_suite: Path, value: str, where: str) -> None:
    entry = f'{{ name = "gradient_descent", {where.format(value)} }}'
    small_suite.write_text(small_suite.read_text().replace('"cg"', entry))
    with pytest.raises(UserError) as caught:
        build_cells(load_suite(str(small_suite)))
    assert "\n" not in str(caught.value)


def test_a_law_too_large_to_be_drawn_is_a_sentence_before_anything_is_written(
    small_suite: Path, tmp_path: Path
) -> None:
    small_suite.write_text(small_suite.read_text().replace("N = 8", f"N = {10**16}"))
    with pytest.raises(UserError, match="no task can be drawn from the law 'isotropic'"):
        run_suite(load_suite(str(small_suite)), tmp_path / "runs", None, ["x"], _Lines(), "huge")
    assert list((tmp_path / "runs").iterdir()) == []
