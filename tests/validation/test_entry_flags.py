"""The study of flags: an honest entry, and one that knew tasks, on a few versions; the rows are those of the board."""

from __future__ import annotations

import numpy as np

from benchmarks import api
from benchmarks.statistics import summarise
from benchmarks.validation.entry_flags import KNOWN, pairs, simulated, version


def test_who_knew_every_task_of_a_version_is_flagged_and_who_knew_none_is_not() -> None:
    found = {(row["entry"], row["knew of one version"]): row for row in pairs(2)}
    assert {known for _, known in found} == set(KNOWN)
    assert found["momentum", "all"]["versions with a flag"] == "100.0%"
    assert found["pseudoinverse", "all"]["versions with a flag"] == "100.0%"
    assert found["momentum", "nothing"]["differences"] == 8


def test_a_simulated_row_is_what_the_board_would_have() -> None:
    (row, *_) = simulated("one", api.solver("cg"), 7, ["nothing"])["nothing"].rows
    strata = [api.losses(api.solver("cg"), api.law("isotropic"), seed, 2000, [1])[0] for seed in version(7).seeds(2)]
    same = summarise(strata)
    np.testing.assert_allclose([row.log_loss, row.low, row.high], [same.log_mean, same.log_low, same.log_high])
