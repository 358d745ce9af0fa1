"""Rows of several runs that say the same thing: paired by identity, refused where the tasks were not the same."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from benchmarks.errors import UserError
from benchmarks.runs.read import Run
from benchmarks.runs.schema import LAW, NAMED


def refuse_other_tasks(runs: Sequence[Run]) -> None:
    """Refuse runs in which one law drew different tasks.

    Raises:
        UserError: naming the law and what differs.
    """
    seen: dict[tuple[object, ...], tuple[str, int, str]] = {}
    for run in runs:
        laws = run.scores[[*LAW, "draw", "law_version", "fingerprint"]].drop_duplicates()
        for *law, version, fingerprint in laws.itertuples(index=False, name=None):
            name, before, drew = seen.setdefault(tuple(law), (run.name, version, fingerprint))
            where = f"the law {law[0]!r} at d = {law[LAW.index('d')]}"
            for what, one, other in (("version", before, version), ("fingerprint", drew, fingerprint)):
                if one != other:
                    raise UserError(
                        f"{where} has {what} {one} in {name} and {other} in {run.name}: it drew other tasks, "
                        "so their losses cannot be compared"
                    )


def keyed(table: pd.DataFrame, further: Sequence[str]) -> dict[tuple[Any, ...], dict[str, Any]]:
    """Rows by what they say; `row` is their number in the table, and a row of all seeds has the seed None.

    Args:
        table: scores or timings.
        further: columns beyond `benchmarks.runs.schema.NAMED` that tell rows apart.
    """
    numbered = table.assign(row=range(len(table)))
    if "seed" in numbered:
        numbered["seed"] = pd.Series([None if pd.isna(seed) else int(seed) for seed in table["seed"]], dtype=object)
    names = [*NAMED, *further]
    rows: list[dict[Any, Any]] = numbered.to_dict("records")
    return {tuple(row[name] for name in names): row for row in rows}
