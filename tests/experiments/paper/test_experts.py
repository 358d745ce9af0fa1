"""Mixtures of experts: heads of a mixture are its experts, and the rule that judges them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from benchmarks.errors import UserError
from benchmarks.experiments.paper import heads
from benchmarks.experiments.paper.experts_fresh import (
    CLAIMS,
    GATED,
    SHIFTS,
    answers,
    component_shift,
    experts_evidence,
    read_table,
    rotation_shift,
    variance_shift,
)
from benchmarks.experiments.paper.figures import experts_figure
from benchmarks.experiments.paper.verdicts import judge
from benchmarks.tasks.law import Purpose
from memformer.training.recipe import Recipe
from memformer.training.search import Search

SHORT = Recipe(steps=120, tasks=5000, batch=500, search=Search(starts=1))


def test_variances_share_one_rotation():
    laws = variance_shift().laws
    torch.testing.assert_close(3.0 * laws["1"].second_moment, laws["3"].second_moment)


@pytest.mark.parametrize("shift", [make() for makes in SHIFTS.values() for make in makes], ids=lambda shift: shift.id)
def test_losses_are_in_units_of_the_labels(shift):
    """Predicting zero has a loss of 1: the mean square of labels is what the shift says."""
    for name, law in shift.laws.items():
        y = law.stream(0, Purpose.SCORE).sample(20_000).y
        assert y.square().mean().item() == pytest.approx(shift.labels[name], rel=0.1)


def test_tasks_of_several_laws_are_theirs():
    shift = rotation_shift()
    problem = shift.laws["all three"].stream(0, Purpose.SCORE).sample(3000)
    moments = torch.stack([shift.laws[name].second_moment for name in shift.experts])
    assert problem.second_moment is not None
    same = (problem.second_moment[:, None] == moments).all((2, 3))
    assert (same.sum(1) == 1).all(), "each task is of one law"
    assert ((same.double().mean(0) - 1 / 3).abs() < 0.05).all()
    for law, own in zip(moments, same.T, strict=True):
        X = problem.X[own]
        torch.testing.assert_close(torch.einsum("bni,bnj->ij", X, X) / X.shape[0] / X.shape[1], law, rtol=0, atol=0.05)


def test_the_control_of_rotated_experts_has_as_many_parameters():
    shift = replace(rotation_shift(), experts=("rotation 1", "rotation 2"))
    found = {(law, method): losses.mean() for law, method, losses in answers(shift, 1, 0, tasks=200, recipe=SHORT)}
    assert shift.reference == "2 heads trained at all three"
    assert found["all three", shift.reference] < found["all three", "equal gates"], "which was never trained as a whole"
    assert {method for _, method in found} >= {*CLAIMS, *GATED.values(), shift.reference}


def test_every_method_answers_every_law():
    shift = component_shift()
    found = list(answers(shift, 1, 0, tasks=500, recipe=replace(SHORT, steps=300)))
    methods = {method for _, method, _ in found}
    assert {*CLAIMS, *GATED.values(), shift.reference, "trained there", "cg", "pcg"} == methods
    assert len(found) == len(shift.laws) * len(methods)
    mean = {(law, method): losses.mean() for law, method, losses in found}
    assert mean["mixture", "cg"] < 1e-20, "a step solves one dimension"
    for name in shift.experts:
        assert mean[name, "trained there"] < mean[name, shift.reference]


def test_a_mixture_gains_nothing_over_one_gate_under_a_change_of_scale():
    """The control of the paper's experiment: one expert with one gate, fitted alike."""
    shift = replace(variance_shift(), laws=dict(list(variance_shift().laws.items())[2::2]), experts=("1.5", "2.5"))
    shift = replace(shift, one="2.5", judged=("3.5",))
    mean = {(law, method): losses.mean() for law, method, losses in answers(shift, 2, 0, tasks=600, recipe=SHORT)}
    for law in shift.judged:
        for gated, control in list(GATED.items())[:1]:
            assert abs(np.log(mean[law, gated] / mean[law, control])) < 0.02, (law, gated)
            assert mean[law, gated] < 0.9 * mean[law, shift.reference], "which is no comparison of like with like"


def test_experts_are_judged_where_nobody_was_trained(tmp_path):
    shift = variance_shift()
    rows = [
        {"experiment": shift.id, "layers": 1, "law": law, "method": method}
        | {"log_mean": 0.0, "log_low": -0.1, "log_high": 0.1, "against": GATED.get(method, shift.reference)}
        | {"ratio": ratio, "ratio_low": ratio - 0.1, "ratio_high": ratio + 0.1, "p_value": 1e-9, "tail_limited": False}
        for law in shift.laws
        for method, ratio in ((shift.reference, 0.0), *((name, -0.5) for name in CLAIMS))
    ]
    assert {row["verdict"] for row in judge(experts_evidence(shift, rows))} == {"holds"}
    for row in rows:
        if row["method"] == "equal gates" and row["law"] == "3.5":
            row.update(ratio=0.5, ratio_low=0.4, ratio_high=0.6)
        if row["method"] == "gates of each task" and row["law"] in shift.experts:
            row.update(ratio=9.0, ratio_low=8.0, ratio_high=10.0)
    equal, *_, own = judge(experts_evidence(shift, rows))
    assert equal["verdict"] == "refuted (lower in 3 of 4, higher in 1 of 4)"
    assert equal["fresh"].endswith("to +0.500 [+0.400, +0.600], against trained at 2")
    assert own["verdict"] == "holds"
    assert len(experts_figure(shift, rows).axes) == 1
    pd.DataFrame(rows).to_csv(tmp_path / "experts.csv", index=False)
    assert read_table(tmp_path / "experts.csv") == rows
    pd.DataFrame(rows).drop(columns="against").to_csv(tmp_path / "experts.csv", index=False)
    with pytest.raises(UserError, match="'run paper' makes it anew"):
        read_table(tmp_path / "experts.csv")


def test_a_table_of_another_experiment_is_a_sentence():
    rows = [{"method": method, "law": "mixture"} for method in CLAIMS]
    with pytest.raises(UserError, match=r"experts.csv has no rows of h-var, equal gates"):
        experts_evidence(variance_shift(), rows)


@pytest.mark.parametrize(("reads", "what"), [(read_table, "mixtures of experts"), (heads.read_table, "heads")])
@pytest.mark.parametrize("text", ["", "a,b\n1,2,3\n4\n", "layers\nfew\n"])
def test_what_is_no_table_is_a_sentence(reads, what, text, tmp_path):
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(UserError, match=f"t.csv is not a table of {what}"):
        reads(tmp_path / "t.csv")
