"""Rows of a real table that are scored are scored once, and nothing is fitted to them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from benchmarks.errors import UserError
from benchmarks.tasks.law import Law
from benchmarks.tasks.real import RealData


def require_apart(scored: Law, training: Law) -> None:
    """Raise UserError if rows of a table that are scored could be among those that something is fitted to."""
    if not isinstance(scored, RealData) or not isinstance(training, RealData):
        return
    mine, theirs = (np.sort(law.table.y) for law in (scored, training))
    cuts = {(law.folds, law.law_seed) for law in (scored, training)}
    if len(cuts) > 1 and np.array_equal(mine, theirs):
        raise UserError(
            f"what is fitted on rows of {training.table.name} would see rows that it is scored on: folds and law_seed "
            "of trained_on must be those of the task"
        )


def require_parts(law: Law, seeds: Sequence[int]) -> None:
    """Raise UserError if two seeds score the same part of a table, whose rows would count twice."""
    if isinstance(law, RealData) and len({seed % law.folds for seed in seeds}) < len(seeds):
        raise UserError(
            f"the seeds {', '.join(map(str, seeds))} score a part of {law.table.name} twice: seed i scores part i "
            f"modulo {law.folds} (folds); give fewer seeds, or more folds"
        )
