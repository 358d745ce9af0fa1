"""Rows of several runs that say the same thing: refused where the tasks were not the same."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.errors import UserError
from benchmarks.runs.read import Run
from benchmarks.runs.schema import LAW


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
