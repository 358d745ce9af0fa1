"""Times that can be compared: of one task those of one machine, batch and number of threads."""

from __future__ import annotations

from typing import Any

import pandas as pd

from benchmarks.runs.schema import SOLVER, TASK, TIMED


def comparable_times(timings: pd.DataFrame) -> pd.Series:
    """Which rows of `timings.csv` were measured as most of their task were: on the same machine, batch and threads.

    Of several ways in which equally many solves were measured, the last counts.

    Args:
        timings: of one run or several, the last measured at the end.

    Example:
        >>> rows = pd.DataFrame({name: "" for name in [*TASK, *SOLVER]}, index=range(3))
        >>> rows = rows.assign(steps=[1, 2, 1], machine=["a", "a", "b"], batch=8, threads=1, warm_median=1.0)
        >>> comparable_times(rows).tolist()
        [True, True, False]
    """
    timed: Any = timings[timings["warm_median"].notna()]
    cells = timed.drop_duplicates([*TASK, *TIMED, *SOLVER, "steps"], keep="last")
    known: Any = cells.assign(place=range(len(cells))).groupby([*TASK, *TIMED], sort=False, dropna=False)["place"]
    ways = known.agg(["size", "max"]).reset_index().sort_values(["size", "max"])
    chosen = ways.drop_duplicates(TASK, keep="last")[[*TASK, *TIMED]].assign(chosen=True)
    found = timings[[*TASK, *TIMED]].merge(chosen, on=[*TASK, *TIMED], how="left")["chosen"].notna()
    return pd.Series(found.to_numpy(), timings.index)
