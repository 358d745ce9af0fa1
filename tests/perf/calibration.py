"""A reference kernel, timed beside every benchmark: times in its units mean something on another machine too.

On one machine the division does not make numbers steadier; it is for differences between machines.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

BASELINE = Path(__file__).parents[2] / "results/perf/baseline.json"


def make_kernel() -> Callable[[], object]:
    """Small batched products and one larger product, as solvers and training do them, by torch alone."""
    generator = torch.Generator().manual_seed(0)
    H, w = torch.rand(200, 5, 5, generator=generator), torch.rand(200, 5, 1, generator=generator)
    square = torch.rand(160, 160, generator=generator)

    def kernel() -> object:
        x = w
        for _ in range(10):
            x = x - 0.1 * (H @ x)
        return x, square @ square

    return kernel


def least_seconds(call: Callable[[], object], seconds: float = 0.05) -> float:
    """Least time of one call among those that fit into so many seconds."""
    call()
    least, end = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter()
        call()
        least = min(least, time.perf_counter() - start)
    return least


def read_baseline(path: Path = BASELINE) -> dict[str, float]:
    """Committed times in units of the kernel, by benchmark; empty if there are none."""
    return json.loads(path.read_text(encoding="utf-8"))["in_references"] if path.is_file() else {}


def write_baseline(found: dict[str, float], about: dict[str, Any], path: Path = BASELINE) -> None:
    """Keep times in units of the kernel, to be committed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rounded = {name: float(f"{value:.4g}") for name, value in sorted(found.items())}
    path.write_text(json.dumps({**about, "in_references": rounded}, indent=1) + "\n", encoding="utf-8")
