"""Tables of runs in Parquet, for those who analyse them elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from benchmarks.errors import UserError, install
from benchmarks.runs.read import Run
from benchmarks.runs.schema import SCHEMA_VERSION


def export_runs(runs: Sequence[Run], folder: Path) -> list[Path]:
    """Write `scores.parquet` and `timings.parquet`, with the columns `run` and `measured_at` before the others.

    The schema version stands in the files' metadata, under `memformer_bench_schema`.

    Raises:
        UserError: if pyarrow is missing, or the folder cannot be written.
    """
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise UserError(f"export needs pyarrow; install it with: {install('pyarrow')}") from None
    written = []
    for name in ("scores", "timings"):
        whence = ["run", "measured_at"]
        keys = [(run.name, str(run.meta.get("measured_at", ""))) for run in runs]
        table = pd.concat([getattr(run, name) for run in runs], keys=keys, names=whence).reset_index(whence)
        arrow = pyarrow.Table.from_pandas(table, preserve_index=False)
        labelled = {**(arrow.schema.metadata or {}), b"memformer_bench_schema": str(SCHEMA_VERSION).encode()}
        path = folder / f"{name}.parquet"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            parquet.write_table(arrow.replace_schema_metadata(labelled), path)
        except OSError as error:
            raise UserError(f"{path} cannot be written: {error.strerror or error}") from None
        written.append(path)
    return written
