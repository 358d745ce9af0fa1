"""What `make bench` rests on; the benchmarks themselves do not run with the tests."""

from __future__ import annotations

from pathlib import Path

from tests.perf.calibration import least_seconds, make_kernel, read_baseline, write_baseline


def test_a_baseline_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "perf/baseline.json"
    assert read_baseline(path) == {}
    write_baseline({"b": 2.00001, "a": 0.5}, {"torch": "2"}, path)
    assert read_baseline(path) == {"a": 0.5, "b": 2.0}


def test_the_kernel_does_the_same_work_every_time() -> None:
    first, second = make_kernel()(), make_kernel()()
    assert all(a.equal(b) for a, b in zip(first, second, strict=True))  # type: ignore[call-overload]
    assert least_seconds(make_kernel(), 0.0) == float("inf")
