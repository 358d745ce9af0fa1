"""Keep the losses of a run's first tasks beside its tables, small enough for git, so that its views can be drawn.

python -m benchmarks.validation.first_losses core-reference
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from typer import Argument, run

from benchmarks.runs.read import FIRST, RUNS, read_run

TASKS = 250
"""Of each seed."""

BITS = 8
"""Of a float32's 24 significant ones: a relative error of at most 0.4 %."""


def rounded(losses: NDArray[np.float32]) -> NDArray[np.float32]:
    """Losses with `BITS` significant bits, which compress well.

    Example:
        >>> rounded(np.array([1.0, 1.001, 3e-9], np.float32)).tolist()
        [1.0, 1.0, 2.9976945370435715e-09]
    """
    mantissa, exponent = np.frexp(losses)
    return np.ldexp(np.round(mantissa * 2**BITS) / 2**BITS, exponent).astype(np.float32)


def keep(path: Path) -> int:
    """Write `FIRST` into a run's folder, of the rows that are shown and were scored on as many tasks as any.

    Returns:
        Its size in bytes.
    """
    done = read_run(path)
    most = done.scores["num_tasks"][done.scores["seed"].notna()].max()
    table = done.scores
    rows = table.loc[table["shown"] & table["seed"].notna() & (table["num_tasks"] == most)].index
    arrays = {str(row): rounded(done.stored(int(row))[..., :TASKS]) for row in rows if int(row) in done.with_losses}
    np.savez_compressed(path / FIRST, **arrays)  # type: ignore[arg-type]
    return (path / FIRST).stat().st_size


def main(name: Annotated[str, Argument(help="of the run")]) -> None:
    """Write the file and say how large it is."""
    print(f"{keep(RUNS / name) / 1e6:.2f} MB of losses, the first {TASKS} tasks of each seed")


if __name__ == "__main__":
    run(main)
