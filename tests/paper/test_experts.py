"""Mixtures of experts: heads of a mixture are its experts, and the rule that judges them."""

from __future__ import annotations

import pytest
import torch

from benchmarks.paper.experts import (
    CLAIMS,
    EXPERTS,
    REFERENCE,
    VARIANCES,
    _head,
    experts_figure,
    judge_experts,
    law_at,
)
from memformer.config import MemformerConfig
from memformer.experts import assemble
from memformer.model import forward
from tests.memformer.helpers import assert_close, random_parameters, random_problem


@pytest.mark.parametrize("memory", ["first_order", "conjugate"])
def test_a_head_taken_out_of_a_mixture_is_that_expert(memory):
    config = MemformerConfig(d=3, depth=2, memory=memory)
    experts, problem = random_parameters(config, 3), random_problem(d=3)
    joined = {name: tensor for name, tensor in assemble(config, experts).parameters.items() if name != "gates"}
    for i in range(3):
        alone = {name: _head(tensor, i, name, config) for name, tensor in joined.items()}
        own = {name: tensor[i : i + 1] for name, tensor in experts.items()}
        assert_close(forward(config, alone, problem).weights, forward(config, own, problem).weights)


def test_variances_share_one_rotation():
    one, other = law_at(1.0).second_moment, law_at(3.0).second_moment
    torch.testing.assert_close(3.0 * one, other)


def test_experts_are_judged_where_nobody_was_trained():
    rows = [
        {"layers": 1, "variance": variance, "method": method, "log_mean": 0.0, "log_low": -0.1, "log_high": 0.1}
        | {"ratio": ratio, "ratio_low": ratio - 0.1, "ratio_high": ratio + 0.1}
        for variance in VARIANCES
        for method, ratio in ((REFERENCE, 0.0), *((name, -0.5) for name in CLAIMS))
    ]
    assert {row["verdict"] for row in judge_experts(rows)} == {"holds"}
    for row in rows:
        if row["method"] == "equal gates" and row["variance"] == 3.5:
            row.update(ratio=0.5, ratio_low=0.4, ratio_high=0.6)
        if row["method"] == "gates of each task" and row["variance"] in EXPERTS:
            row.update(ratio=9.0, ratio_low=8.0, ratio_high=10.0)
    judged = {row["claim"]: row for row in judge_experts(rows)}
    assert judged[CLAIMS["equal gates"]]["verdict"] == "does not hold"
    assert judged[CLAIMS["equal gates"]]["fresh"] == "at worst +0.50 [+0.40, +0.60]"
    assert judged[CLAIMS["gates of each task"]]["verdict"] == "holds"
    assert len(experts_figure(rows).axes) == 1
