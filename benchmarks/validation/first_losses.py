"""Keep the losses of a run's first tasks beside its tables, small enough for git, so that its views can be drawn.

python -m benchmarks.validation.first_losses core-reference
"""

from __future__ import annotations

import io
import lzma
import math
from pathlib import Path
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from typer import Argument, run

from benchmarks.runs.read import FIRST, RUNS, read_run
from benchmarks.runs.standing import ROUNDING

TASKS = 500
"""Of each seed."""

BITS = 12
"""Of a float32's 24 significant ones: a relative error of at most 0.025 %. All 24 would be 3.2 MB of `core`, these are
1.7."""


def rounded(losses: NDArray[np.float32]) -> NDArray[np.float32]:
    """Losses with `BITS` significant bits, which compress well.

    Example:
        >>> rounded(np.array([1.0, 1.0001, 3e-9], np.float32)).tolist()
        [1.0, 1.0, 3.0004230211488903e-09]
    """
    mantissa, exponent = np.frexp(losses)
    return np.ldexp(np.round(mantissa * 2**BITS) / 2**BITS, exponent).astype(np.float32)


def keep(path: Path) -> int:
    """Write `FIRST` into a run's folder, of the rows that are shown and were scored on as many tasks as any.

    Losses that are 0 but for rounding are 0 there.

    Returns:
        Its size in bytes.
    """
    done = read_run(path)
    table = done.scores
    most = table["num_tasks"][table["seed"].notna()].max()
    rows = table.loc[table["shown"] & table["seed"].notna() & (table["num_tasks"] == most)]
    arrays = {}
    for row, dtype in rows["dtype"].items():
        if row in done.with_losses:
            losses = done.stored(int(row))[..., :TASKS]  # type: ignore[arg-type]
            arrays[str(row)] = rounded(np.where(losses < math.exp(ROUNDING[dtype]), 0, losses).astype(np.float32))
    file = io.BytesIO()
    np.savez(file, **arrays)  # type: ignore[arg-type]
    (path / FIRST).write_bytes(lzma.compress(file.getvalue()))
    return (path / FIRST).stat().st_size


def main(name: Annotated[str, Argument(help="of the run")]) -> None:
    """Write the file and say how large it is."""
    print(f"{keep(RUNS / name) / 1e6:.2f} MB of losses, the first {TASKS} tasks of each seed")


if __name__ == "__main__":
    run(main)
