"""Heads with memory weights of their own: trained alike, judged by their losses and by the steps they need."""

from __future__ import annotations

import math

import pytest

from benchmarks.experiments.paper.heads import HEADS, heads_evidence, steps_needed, table
from benchmarks.experiments.paper.verdicts import judge
from tests.experiments.requests import asked


def test_one_head_and_several_are_trained_alike_and_compared():
    (row,) = table(asked(), {("P = 0", 1): 100}, tasks=500)
    assert row["heads"] == HEADS
    # One layer has a closed form, d (d + 1) / (N + d + 1), which no number of heads passes.
    for name in ("log_one", "log_several"):
        assert row[name] == pytest.approx(math.log(30 / 26), abs=0.1)
    assert abs(row["ratio"]) < 0.02
    assert row["steps_one"] <= 100


def test_steps_are_counted_to_the_better_ones_end():
    slow, fast, worse = {0: 1.0, 50: 0.5, 100: 0.0}, {0: 1.0, 50: 0.0, 100: -0.01}, {0: 1.0, 50: 0.5, 100: 0.4}
    assert steps_needed([slow], [fast]) == (100, 50)
    assert steps_needed([worse], [fast]) == (math.inf, 50)


@pytest.mark.parametrize(
    ("several", "said"),
    [
        ((50, 25), "no gain at convergence, 2 to 4 times faster to train"),
        ((200, 200), "no gain at convergence, 2 times slower to train"),
        ((50, 200), "no gain at convergence, and trains no faster"),
        ((math.inf, math.inf), "no gain at convergence, and does not come as far as one in these steps"),
    ],
)
def test_speed_of_training_is_told_beside_the_loss(several, said):
    row = {"kind": "P = 0", "ratio": 0.0, "ratio_low": -0.01, "ratio_high": 0.01, "p_value": 1.0, "tail_limited": False}
    rows = [{**row, "layers": k, "steps_several": s, "steps_one": 100} for k, s in zip((2, 3), several, strict=True)]
    (judged,) = judge(heads_evidence(rows))
    assert judged["verdict"] == said
