"""The published protocol: the very numbers of independent re-runs of the notebooks."""

from __future__ import annotations

from statistics import fmean, stdev

import pytest
import torch

from benchmarks.experiments.paper.classical import baseline, extracted
from benchmarks.experiments.paper.curves import by_layers
from benchmarks.experiments.paper.entries import (
    Component,
    MixtureEntry,
    PaperExperiment,
    Pretraining,
    Stage,
    experiments,
    published,
)
from benchmarks.experiments.paper.experts_published import mix
from benchmarks.experiments.paper.notebook_tasks import FIT_SEED, first_rows, rotation, tasks
from benchmarks.experiments.paper.replicate import replicate

BY_ID = {experiment.id: experiment for experiment in experiments()}
CLASSICAL = [(e, entry) for e in BY_ID.values() for entry in e.baselines]


@pytest.mark.parametrize(("experiment", "entry"), CLASSICAL, ids=[f"{e.id}-{b.curve}" for e, b in CLASSICAL])
def test_untrained_curves_are_those_of_the_notebooks(experiment, entry):
    losses = by_layers(baseline(experiment, entry), experiment.id, entry.curve)
    reference = published()[experiment.published][entry.curve]
    assert [fmean(values) for values in losses.values()] == pytest.approx(reference["mean"], abs=2e-3)
    assert [fmean(values) for values in losses.values()] == pytest.approx(reference["figure"], abs=0.06)
    if entry.tasks == "seeds":
        assert [stdev(values) for values in losses.values()] == pytest.approx(reference["std"], abs=2e-3)


def test_a_trained_curve_is_that_of_the_notebook():
    """One layer, scalar Q, conjugate memory: 0.8063 with a standard deviation of 0.0001 over seeds."""
    experiment = BY_ID["a"]
    entry = experiment.models[0]
    points = list(replicate(experiment.model_copy(update={"models": [entry]}), 1))
    losses = by_layers(points, "a", entry.curve)[1]
    reference = published()["a_cgd_scalar"][entry.curve]
    assert fmean(losses) == pytest.approx(reference["mean"][0], abs=5e-4)
    fresh = by_layers(points, "a", entry.curve, "fresh")[1]
    assert fmean(fresh) == pytest.approx(reference["fresh_mean"][0], abs=0.03)


def test_ten_tasks_are_fitted_better_than_fresh_ones():
    experiment = BY_ID["g"]
    points = list(extracted(experiment, experiment.extracted[0].model_copy(update={"epochs": 300})))
    shown, fresh = (by_layers(points, "g", "LFOM B=10", kind) for kind in ("published", "fresh"))
    assert all(fresh[k][0] > shown[k][0] + 0.5 for k in shown)


def test_parts_of_a_batch_have_models_of_their_own():
    experiment = BY_ID["l-b9"]
    few = {"pretraining": Pretraining(steps=3), "tuning": Stage(steps=3)}
    entry = experiment.models[0].model_copy(update=few)
    experiment = experiment.model_copy(update={"models": [entry]})
    points = list(replicate(experiment, 2))
    assert len(by_layers(points, "l-b9", entry.curve)[2]) == 5
    assert points == list(replicate(experiment, 2)), "the same seed gives the same digits"


def test_a_stage_that_curves_share_is_run_once(monkeypatch):
    runs, experiment = [], BY_ID["c"]
    monkeypatch.setattr(
        "benchmarks.experiments.paper.replicate.descend", lambda c, p, stage, *_, **__: runs.append(stage) or p
    )
    list(replicate(experiment.model_copy(update={"seeds": 1}), 1))
    assert [stage.steps for stage in runs] == [900, 1000, 1000]


def test_an_expert_fits_its_component_and_gates_choose_it():
    """One layer, two experts: the mixture on the first one's component does as well as that expert alone."""
    near, far = Component(variance=1.0), Component(variance=4.0)
    few, more = Stage(steps=60, rate=0.03), Stage(steps=150, rate=0.03)
    entries = [
        MixtureEntry(curve=curve, experts=experts, tested=[near], training=few, tuning=more)
        for curve, experts in {"both": [far, near], "one": [near]}.items()
    ]
    experiment = PaperExperiment(id="x", title="", published="", scales=[1.0], seeds=2, rotated=False, mixtures=entries)
    points = list(mix(experiment, 1))
    both, one = (fmean(by_layers(points, "x", curve)[1]) for curve in ("both", "one"))
    assert both == pytest.approx(one, abs=0.05)
    assert one < -1.0, "far below what predicting zero leaves"


def test_components_have_their_means_and_variances():
    parts = [Component(mean=2.5, variance=0.5, share=0.2), Component(mean=-1.0, variance=2.0, share=0.8)]
    problem = tasks(0, 4000, 20, [1.0], None, parts)
    first = problem.X.mean(dim=(1, 2)) > 1.2
    assert first.float().mean().item() == pytest.approx(0.2, abs=0.05)
    assert problem.X[first].var().item() == pytest.approx(0.5, rel=0.1)
    assert problem.w_star is not None
    assert problem.w_star[~first].mean().item() == pytest.approx(-1.0, abs=0.1)


def test_tasks_are_noiseless_and_rotations_orthogonal():
    U = rotation(3, 5)
    torch.testing.assert_close(U @ U.mT, torch.eye(5), atol=1e-5, rtol=0)
    problem = tasks(FIT_SEED, 50, 20, [1.0, 1.0, 0.5, 0.25, 1.0], U)
    plain = tasks(FIT_SEED, 50, 20, [1.0, 1.0, 0.5, 0.25, 1.0])
    torch.testing.assert_close(problem.y, plain.y, atol=1e-4, rtol=1e-4)
    assert first_rows(problem, 19).N == 19


@pytest.mark.parametrize("experiment", BY_ID.values(), ids=list(BY_ID))
def test_every_curve_has_a_published_one(experiment: PaperExperiment):
    curves = published()[experiment.published]
    redone = [e.curve for e in [*experiment.models, *experiment.mixtures, *experiment.extracted, *experiment.baselines]]
    assert {*redone, *experiment.borrowed} == set(curves)
