"""`make bench`: what the benchmarks of the hot paths share, and the summary in units of the reference kernel."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from tests.perf.calibration import least_seconds, make_kernel, read_baseline, write_baseline

Timed = Callable[[Callable[[], object]], None]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--write-baseline", action="store_true", help="keep these times as results/perf/baseline.json")


@pytest.fixture
def timed(benchmark: Any) -> Timed:
    """Benchmark a call, and the reference kernel before and after it."""

    def run(call: Callable[[], object]) -> None:
        torch.set_num_threads(1)
        kernel = make_kernel()
        before = least_seconds(kernel)
        benchmark(call)
        if benchmark.stats is not None:  # None where benchmarks are disabled
            reference = min(before, least_seconds(kernel))
            benchmark.extra_info["reference_seconds"] = reference
            benchmark.extra_info["in_references"] = benchmark.stats.stats.min / reference

    return run


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    session = getattr(config, "_benchmarksession", None)
    done = [bench for bench in getattr(session, "benchmarks", []) if "in_references" in bench.extra_info]
    if not done:
        return
    baseline = read_baseline()
    terminalreporter.section("least time in units of the reference kernel, and against the committed baseline")
    for bench in sorted(done, key=lambda bench: bench.fullname):
        units, known = bench.extra_info["in_references"], baseline.get(bench.name)
        ratio = "" if known is None else f"{units / known:6.2f} x"
        terminalreporter.write_line(f"{bench.name:55} {units:10.3g} {ratio}")
    if config.getoption("--write-baseline", False):
        found = {bench.name: bench.extra_info["in_references"] for bench in done}
        write_baseline(found, {"torch": torch.__version__, "statistic": "least time / least time of the kernel"})
